"""Operator: continue a reviewed run as a new run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs, values
from fiftyone_deepcluster.app.operators.start import run_or_start
from fiftyone_deepcluster.app.running import enqueue

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.background import RunCall


class RefineClustering(foo.Operator):
    """Continues a reviewed run as a new run."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and execution options."""
        return shared_inputs.job_config(
            "refine_clustering",
            "Refine clustering",
            "Continue a reviewed run: reviewed and moved images keep their clusters, rejected images are in none, and "
            "the other images are clustered again. The result is a new run.",
            "auto_fix_high",
            "medium",
            in_background=True,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run, what is reviewed, name of the new run, number of rounds."""
        from fiftyone_deepcluster.dataset.runs.run import finished_runs

        inputs = types.Object()
        key = shared_inputs.add_run(inputs, ctx, finished_runs(ctx.dataset))
        if key is not None:
            _add_progress(inputs, ctx, key)
            _add_new_key(inputs, ctx, key)
            inputs.int("rounds", min=1, label="Number of rounds", description="Empty: up to 5.")
        return shared_inputs.form(inputs, "Refine clustering", "Refine")

    def resolve_delegation(self, ctx: foo.ExecutionContext) -> None:
        """Never force delegation; if it is requested, record the run as queued so that the panel shows it."""
        from fiftyone_deepcluster.dataset.runs import storage

        if ctx.requesting_delegated_execution and not ctx.delegated:
            key = shared_inputs.key_of(ctx)
            method = storage.header_of(ctx.dataset, key)[0].method
            enqueue(ctx, _new_key(ctx, key), method, values.number(ctx.params, "rounds", 0, least=0))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any] | None:
        """Refine the run: in the background if called from the form, else in this process."""

        def read() -> tuple[RunCall, str, int]:
            from fiftyone_deepcluster.dataset.background import RunCall
            from fiftyone_deepcluster.dataset.runs import storage

            key = shared_inputs.key_of(ctx)
            new_key, rounds = _new_key(ctx, key), values.nested(ctx.params, "rounds")
            arguments = {"key": key, "new_key": new_key} | ({} if rounds is None else {"rounds": rounds})
            method = storage.header_of(ctx.dataset, key)[0].method
            return RunCall("refine", ctx.dataset, new_key, arguments), method, int(rounds or 0)

        return run_or_start(ctx, read)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        """Schema of the result."""
        return shared_inputs.result(ctx, "Clustering run", key=types.String(), background=types.Boolean())


def _new_key(ctx: foo.ExecutionContext, key: str) -> str:
    from fiftyone_deepcluster.dataset.runs.run import free_key

    return values.text(ctx.params, "new_key") or free_key(ctx.dataset, key)


def _add_new_key(inputs: types.Object, ctx: foo.ExecutionContext, key: str) -> None:
    """Add the input of the new run's name, validated while typing."""
    from fiftyone_deepcluster.dataset.runs import storage
    from fiftyone_deepcluster.dataset.runs.run import free_key

    inputs.str("new_key", default=free_key(ctx.dataset, key), label="Name of the new run")
    names = storage.fields_of(ctx.dataset, key)
    new_names = type(names)(_new_key(ctx, key), names.patches_field)
    shared_inputs.check_new_key(inputs, "new_key", ctx.dataset, new_names)


def _add_progress(inputs: types.Object, ctx: foo.ExecutionContext, key: str) -> None:
    """Add the numbers of reviewed clusters and images."""
    from fiftyone_deepcluster.dataset.review.review import review

    done = review(ctx.dataset, key).progress()
    images = f"{done.n_images_reviewed:,} of {done.n_images:,} images"
    text = (
        f"{done.n_reviewed} of {done.n_clusters} clusters are reviewed, {images}. They keep their cluster, and so do "
        "images that were moved."
    )
    inputs.view("reviewed", types.Notice(label=text))
