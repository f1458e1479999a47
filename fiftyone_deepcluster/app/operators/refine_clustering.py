"""Operator: continue a reviewed run as a new run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs, values
from fiftyone_deepcluster.app.operators.job_operator import JobOperator
from fiftyone_deepcluster.core.words import counted, part_of

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.dataset.runs.run import Run

_CHANGES = ("rounds", "reviewed_weight")


class RefineClustering(JobOperator):
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
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run, what is reviewed, name of the new run, number of rounds, weight of reviewed images."""
        from fiftyone_deepcluster.dataset.refining import DEFAULT_WEIGHT
        from fiftyone_deepcluster.dataset.runs.run import finished_runs, load_run

        inputs = types.Object()
        key = shared_inputs.add_run(inputs, ctx, finished_runs(ctx.dataset))
        if key is not None:
            _add_progress(inputs, ctx, key)
            _add_new_key(inputs, ctx, key)
            inputs.int("rounds", min=1, label="Rounds", description="Empty: up to 5.")
            inputs.float(
                "reviewed_weight",
                label="Weight of reviewed images",
                description=f"In the loss; 1: as all other images. Empty: {DEFAULT_WEIGHT:g}.",
            )
            _add_complaints(inputs, ctx, load_run(ctx.dataset, key))
        return shared_inputs.form(inputs, "Refine clustering", "Refine")

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The new run."""
        from fiftyone_deepcluster.dataset.background import Job
        from fiftyone_deepcluster.dataset.refining import check_refine
        from fiftyone_deepcluster.dataset.runs.refine_job import check_decided
        from fiftyone_deepcluster.dataset.runs.run import load_run

        key = shared_inputs.key_of(ctx)
        run, changes = load_run(ctx.dataset, key), values.given(ctx.params, *_CHANGES)
        check_refine(run, changes)
        check_decided(run)
        new_key = ctx.params["new_key"] = _new_key(ctx, key)
        arguments = {"key": key, "new_key": new_key, **changes}
        return Job("refine", ctx.dataset, new_key, arguments, run.record.method, changes.get("rounds", 0))


def _add_complaints(inputs: types.Object, ctx: foo.ExecutionContext, run: Run) -> None:
    """Show what the call would refuse, at the run and at what is entered."""
    from fiftyone_deepcluster.dataset.refining import check_refine
    from fiftyone_deepcluster.dataset.runs.refine_job import check_decided

    with shared_inputs.complaining(inputs, "key"):
        check_refine(run, {})
        check_decided(run)
        for name, value in values.given(ctx.params, *_CHANGES).items():
            with shared_inputs.complaining(inputs, name):
                check_refine(run, {name: value})


def _new_key(ctx: foo.ExecutionContext, key: str) -> str:
    from fiftyone_deepcluster.dataset.runs.run import free_key

    return values.name_or(ctx.params, "new_key", free_key(ctx.dataset, key))


def _add_new_key(inputs: types.Object, ctx: foo.ExecutionContext, key: str) -> None:
    """Add the input of the new run's name, validated while typing."""
    from fiftyone_deepcluster.dataset.runs import storage
    from fiftyone_deepcluster.dataset.runs.run import free_key

    inputs.str(
        "new_key", default=free_key(ctx.dataset, key), label="New name", description="Name of the new run."
    )
    names = storage.fields_of(ctx.dataset, key)
    new_names = type(names)(_new_key(ctx, key), names.patches_field)
    shared_inputs.check_new_key(inputs, "new_key", ctx.dataset, new_names)


def _add_progress(inputs: types.Object, ctx: foo.ExecutionContext, key: str) -> None:
    """Add the numbers of reviewed clusters and images."""
    from fiftyone_deepcluster.dataset.review.review import review

    done = review(ctx.dataset, key).progress()
    clusters = part_of(done.n_reviewed, done.n_clusters, "cluster", "is reviewed", "are reviewed")
    images = f"{done.n_images_reviewed:,} of {counted(done.n_images, 'image')}"
    text = f"{clusters}, {images}. These images keep their cluster, and so do images that were moved."
    inputs.view("reviewed", types.Notice(label=text))
