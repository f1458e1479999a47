"""Give a run another key."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import inputs as shared


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
        from fiftyone_deepcluster.dataset.runs import list_runs

        inputs = types.Object()
        if shared.add_run(inputs, ctx, list_runs(ctx.dataset)):
            inputs.str("new_key", label="New name", description="Also the name of its fields.")
            new_key = ctx.params.get("new_key")
            if not new_key:
                shared.complain(inputs, "new_key", "give the run a name")
            elif not new_key.isidentifier():
                shared.complain(inputs, "new_key", "use letters, digits and _, no digit first")
            elif ctx.dataset.has_field(new_key) or ctx.dataset.has_run(new_key):
                shared.complain(inputs, "new_key", f"{new_key!r} is taken")
        return shared.form(inputs, "Rename clustering run", "Rename")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Rename it."""
        from fiftyone_deepcluster.dataset.runs import rename_run

        run = rename_run(ctx.dataset, shared.key_of(ctx), ctx.params.get("new_key") or "")
        ctx.ops.reload_dataset()
        ctx.ops.notify(f"The run is called {run.key} now", variant="success")
        return {"key": run.key}
