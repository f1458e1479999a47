"""Give a run another key."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs


class RenameClusteringRun(foo.Operator):
    """Renames a run; its fields, brain runs and files follow."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Name, label and risk."""
        return foo.OperatorConfig(
            name="rename_clustering_run",
            label="Rename clustering run",
            description="Give a clustering run another name; its fields, brain runs and files follow.",
            icon="edit",
            dynamic=True,
            risk_level=types.RiskLevel.MEDIUM,
            category=foo.Categories.CURATE,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Which run, and its new name."""
        from fiftyone_deepcluster.dataset.io.fields import FieldNames
        from fiftyone_deepcluster.dataset.runs.run import finished_runs, load_run

        inputs = types.Object()
        key = shared_inputs.add_run(inputs, ctx, finished_runs(ctx.dataset))
        if key:
            inputs.str("new_key", label="New name", description="Also the name of its fields.")
            new_key = ctx.params.get("new_key")
            if new_key:
                patches_field = load_run(ctx.dataset, key).patches_field
                shared_inputs.check_new_key(
                    inputs, "new_key", ctx.dataset, FieldNames(new_key, patches_field)
                )
            else:
                inputs.get_property("new_key").invalid = True
        return shared_inputs.form(inputs, "Rename clustering run", "Rename")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Rename it."""
        from fiftyone_deepcluster.dataset.runs.run import rename_run

        run = rename_run(ctx.dataset, shared_inputs.key_of(ctx), ctx.params.get("new_key") or "")
        ctx.ops.reload_dataset()
        ctx.ops.notify(f"The run is called {run.key} now", variant="success")
        return {"key": run.key}
