"""Neighbours of a run's images, learnt and before training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import findings
from fiftyone_deepcluster.app.operators import inputs as shared
from fiftyone_deepcluster.app.operators.progress import find_out_and_show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fiftyone_deepcluster.core.progress import Observer


class FindNeighbours(foo.Operator):
    """Finds the nearest images of every image, in what was learnt and before."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Name, label, and how it may run."""
        return shared.job_config(
            "find_neighbours",
            "Find neighbours",
            "Find the nearest images of every image of a run, in what it learnt and before training; the "
            "Clusters panel shows those of the selected image.",
            "join_inner",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Which run, and classes to score neighbours by."""
        inputs = types.Object()
        run = findings.add_run(inputs, ctx)
        if run is not None:
            findings.add_label_field(inputs, ctx, run, none="do not score")
        return shared.form(inputs, "Find neighbours", "Find")

    def execute(self, ctx: foo.ExecutionContext) -> Iterator[Any]:
        """Find them, telling progress.

        Yields:
            Messages to the App.
        """
        from fiftyone_deepcluster.dataset.results.neighbours import index_neighbours, retrieval_score

        key, field = shared.key_of(ctx), ctx.params.get("label_field") or None

        def work(observer: Observer) -> str:
            n = index_neighbours(ctx.dataset, key, observer=observer)
            if field is not None:
                retrieval_score(ctx.dataset, key, field, observer=observer)
            return (
                f"Neighbours of {n:,} images are known: select one image, and the Clusters panel shows them"
            )

        yield from find_out_and_show(ctx, key, "finding neighbours of", work)
