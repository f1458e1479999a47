"""Operator: table of all runs of a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.runs.interrupted import Interrupted
    from fiftyone_deepcluster.dataset.runs.run import Run

_COLUMNS = {
    "key": "Run",
    "method": "Method",
    "n_images": "Images",
    "n_clusters": "Clusters",
    "rounds": "Rounds",
    "stopped": "Stopped",
    "created": "Created (UTC)",
}


class ListClusteringRuns(foo.Operator):
    """Lists runs with method, size and date."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and risk level."""
        return foo.OperatorConfig(
            name="list_clustering_runs",
            label="List clustering runs",
            description="Show all clustering runs of this dataset with method, size and date.",
            icon="list",
            risk_level=types.RiskLevel.LOW,
            category=foo.Categories.CURATE,
        )

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """One row per run: finished runs, oldest first, then interrupted runs."""
        from fiftyone_deepcluster.dataset.runs.run import finished_runs, interrupted_runs, load_run

        rows = [_row(load_run(ctx.dataset, key)) for key in finished_runs(ctx.dataset)]
        return {"runs": rows + [_broken_row(left) for left in interrupted_runs(ctx.dataset).values()]}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        """Table of runs."""
        outputs = types.Object()
        table = types.TableView()
        for key, label in _COLUMNS.items():
            table.add_column(key, label=label)
        outputs.list("runs", types.Object(), view=table, label="Runs")
        return types.Property(outputs, view=types.View(label="Clustering runs"))


def _row(run: Run) -> dict[str, Any]:
    return {
        "key": run.key,
        "method": run.record.method,
        "n_images": run.record.n_images,
        "n_clusters": run.n_clusters,
        "rounds": len(run.rounds),
        "stopped": run.stop_reason.value if run.stop_reason else "",
        "created": f"{run.created:%Y-%m-%d %H:%M}",
    }


def _broken_row(left: Interrupted) -> dict[str, Any]:
    rounds = f"{left.rounds} of {left.planned}" if left.planned else ""
    return {
        "key": left.key,
        "method": left.method,
        "n_images": "",
        "n_clusters": "",
        "rounds": rounds,
        "stopped": left.state,
        "created": "",
    }
