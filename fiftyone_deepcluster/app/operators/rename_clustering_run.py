"""Operator: rename a run."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs, values


class RenameClusteringRun(foo.Operator):
    """Renames a run with its fields, brain runs and files."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and risk level."""
        return shared_inputs.config(
            "rename_clustering_run",
            "Rename clustering run",
            "Rename a clustering run with its fields, brain runs and files.",
            "edit",
            "medium",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run and new name."""
        from fiftyone_deepcluster.dataset.io.fields import FieldNames
        from fiftyone_deepcluster.dataset.runs.run import finished_runs, load_run

        inputs = types.Object()
        key = shared_inputs.add_run(inputs, ctx, finished_runs(ctx.dataset))
        if key:
            inputs.str(
                "new_key", label="New name", description="Also the name of the run's fields.", required=True
            )
            new_key = values.text(ctx.params, "new_key")
            if new_key:
                patches_field = load_run(ctx.dataset, key).patches_field
                shared_inputs.check_new_key(
                    inputs, "new_key", ctx.dataset, FieldNames(new_key, patches_field)
                )
            else:
                inputs.get_property("new_key").invalid = True
        return shared_inputs.form(inputs, "Rename clustering run", "Rename")

    @shared_inputs.errors_in_app_words
    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Rename the run."""
        from fiftyone_deepcluster.dataset.runs.run import rename_run

        new_key = values.needed_text(ctx.params, "new_key")
        run = rename_run(ctx.dataset, shared_inputs.key_of(ctx), new_key)
        ctx.ops.reload_dataset()
        ctx.ops.notify(f"Run renamed to {run.key}", variant="success")
        return {"key": run.key}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        """The run's new name."""
        return shared_inputs.result(ctx, "Run renamed", key=types.String())
