"""Operator: show a run in the App."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs
from fiftyone_deepcluster.app.operators.progress import open_panel, shown_field


class ShowClusteringRun(foo.Operator):
    """Shows the run's images in the grid, colored by cluster, and opens the Clusters panel."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and risk level."""
        return foo.OperatorConfig(
            name="show_clustering_run",
            label="Show clustering run",
            description="Show the images of a run, sorted by cluster, with the Clusters panel.",
            icon="visibility",
            dynamic=True,
            risk_level=types.RiskLevel.LOW,
            category=foo.Categories.CURATE,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: select a run."""
        from fiftyone_deepcluster.dataset.runs.run import finished_runs

        inputs = types.Object()
        shared_inputs.add_run(inputs, ctx, finished_runs(ctx.dataset))
        return shared_inputs.form(inputs, "Show clustering run", "Show")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Set view, active field and panel."""
        from fiftyone_deepcluster.dataset.runs.run import load_run

        run = load_run(ctx.dataset, shared_inputs.key_of(ctx))
        ctx.ops.set_view(run.view())
        ctx.ops.set_active_fields(fields=[shown_field(run)])
        for _ in open_panel(ctx, run.key):
            pass  # each message is queued when it is created
        return {"key": run.key, "n_images": run.record.n_images, "n_clusters": run.n_clusters}
