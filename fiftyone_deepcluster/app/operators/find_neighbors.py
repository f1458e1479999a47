"""Operator: nearest neighbors of a run's images, before and after training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import findings, shared_inputs, values
from fiftyone_deepcluster.app.operators.progress import analyze_and_show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fiftyone_deepcluster.core.progress import Observer


class FindNeighbors(foo.Operator):
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

    def execute(self, ctx: foo.ExecutionContext) -> Iterator[Any]:
        """Find the neighbors, reporting progress.

        Yields:
            Messages to the App.
        """
        from fiftyone_deepcluster.dataset.results.neighbors import index_neighbors, retrieval_score

        key, field = shared_inputs.key_of(ctx), values.text(ctx.params, "label_field")

        def work(observer: Observer) -> str:
            n = index_neighbors(ctx.dataset, key, observer=observer)
            if field is not None:
                retrieval_score(ctx.dataset, key, field, observer=observer)
            return (
                f"Neighbors of {n:,} images found: select an image to see its neighbors in the Clusters panel"
            )

        yield from analyze_and_show(ctx, key, "finding neighbors of", work)
