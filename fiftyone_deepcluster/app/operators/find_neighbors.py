"""Operator: nearest neighbors of a run's images, before and after training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import findings, shared_inputs, values
from fiftyone_deepcluster.app.operators.job_operator import JobOperator

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.background import Job


class FindNeighbors(JobOperator):
    """Finds the nearest neighbors of every image in the learned and the initial features."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and execution options."""
        return shared_inputs.job_config(
            "find_neighbors",
            "Find neighbors",
            "Find the nearest neighbors of every image of a run, in the features before and after training; the "
            "Clusters panel shows the neighbors of the selected image. Stored with the run.",
            "join_inner",
            "medium",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run, and class field for the retrieval score."""
        inputs = types.Object()
        run = findings.add_finished_run(inputs, ctx)
        if run is not None:
            findings.add_label_field(inputs, ctx, run, none="no retrieval score")
        return shared_inputs.form(inputs, "Find neighbors", "Find")

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The search in a run."""
        return findings.analysis(ctx, "find_neighbors", label_field=values.text(ctx.params, "label_field"))
