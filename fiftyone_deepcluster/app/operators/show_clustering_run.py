"""Operator: show a run in the App."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs
from fiftyone_deepcluster.dataset.display.workspace import CLUSTERS_PANEL


class ShowClusteringRun(foo.Operator):
    """Shows the run's images in the grid, colored by cluster, and opens the Clusters panel."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and risk level."""
        return shared_inputs.config(
            "show_clustering_run",
            "Show clustering run",
            "Show the images of a run, sorted by cluster, with the Clusters panel.",
            "visibility",
            "low",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: select a run."""
        from fiftyone_deepcluster.dataset.runs.run import finished_runs

        inputs = types.Object()
        shared_inputs.add_run(inputs, ctx, finished_runs(ctx.dataset))
        return shared_inputs.form(inputs, "Show clustering run", "Show")

    @shared_inputs.errors_in_app_words
    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Set view, active field and panel."""
        from fiftyone_deepcluster.dataset.runs.run import load_run

        run = load_run(ctx.dataset, shared_inputs.key_of(ctx))
        ctx.ops.set_view(run.view())
        ctx.ops.set_active_fields(fields=[run.patches_field or run.key])
        ctx.ops.close_panel(name=CLUSTERS_PANEL)  # an open panel ignores the state passed to it
        ctx.ops.open_panel(CLUSTERS_PANEL, layout="horizontal", state={"state": {"run": run.key}})
        return {"key": run.key, "n_images": run.record.n_images, "n_clusters": run.n_clusters}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        """The run, and its numbers of images and clusters."""
        number = types.Number(int=True)
        return shared_inputs.result(
            ctx, "Clustering run", key=types.String(), n_images=number, n_clusters=number
        )
