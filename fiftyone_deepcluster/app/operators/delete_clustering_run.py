"""Operator: delete a run and everything it created."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from bson import json_util
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs, values
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.runs.interrupted import Interrupted
    from fiftyone_deepcluster.dataset.runs.run import Run


class DeleteClusteringRun(foo.Operator):
    """Deletes a run after confirmation."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and risk level."""
        return shared_inputs.config(
            "delete_clustering_run",
            "Delete clustering run",
            "Delete a run and exactly what it created: fields, brain runs, files, edit log. Cannot be undone.",
            "delete",
            "dangerous",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run, summary of what will be deleted, confirmation checkbox."""
        inputs = types.Object()
        key = shared_inputs.add_run(inputs, ctx, shared_inputs.known_keys(ctx.dataset, at_work=False))
        if key:
            what = _what(ctx.dataset, key)
            inputs.view("what", types.Warning(label="This will be deleted", description=what))
            inputs.bool("confirm", default=False, label="Delete permanently", view=types.CheckboxView())
            if not values.switch(ctx.params, "confirm"):
                inputs.get_property("confirm").invalid = True
        return shared_inputs.form(inputs, "Delete clustering run", "Delete")

    @shared_inputs.errors_in_app_words
    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Delete the run.

        Raises:
            InputError: not confirmed.
        """
        from fiftyone_deepcluster.dataset.runs.run import delete_run

        key = shared_inputs.key_of(ctx)
        if not values.switch(ctx.params, "confirm"):
            raise InputError(f"deleting {key!r} was not confirmed; set confirm=True")
        shown = _is_in_view(ctx, key)
        delete_run(ctx.dataset, key)
        if shown:
            ctx.ops.clear_view()
        ctx.ops.reload_dataset()
        ctx.ops.notify(f"Run {key} deleted", variant="success")
        return {"deleted": key}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        """The deleted run."""
        return shared_inputs.result(ctx, "Run deleted", deleted=types.String())


def _is_in_view(ctx: foo.ExecutionContext, key: str) -> bool:
    """Whether the App's view, with its filters, may use a field or a brain run of a run; without them it is lost."""
    stages = json_util.dumps(ctx.view._serialize(include_uuids=False))
    return re.search(rf"(?<!\w){re.escape(key)}(_\w+)?(?!\w)", stages) is not None


def _what(dataset: fo.Dataset, key: str) -> str:
    """Summary of what is deleted and what is kept."""
    from fiftyone_deepcluster.dataset.runs.run import finished_runs, interrupted_runs, load_run

    if key in finished_runs(dataset):
        return _what_of(load_run(dataset, key))
    return _what_is_left(interrupted_runs(dataset).get(key))


def _what_of(run: Run) -> str:
    from fiftyone_deepcluster.dataset.review.review import review

    fields = ", ".join(root for root in run.fields.roots() if run.dataset.get_field(root) is not None)
    edits = len(review(run.dataset, run.key).log())
    log = f", and the log of {counted(edits, 'edit')}" if edits else ""
    return (
        f"The fields {fields} of {run.fields.counted(run.n_samples)}; the brain runs {run.fields.viz_key} and "
        f"{run.fields.sim_key}; the record of {counted(len(run.rounds), 'round')}; its checkpoint and model{log}. "
        "Images, and labels written to other fields, are kept."
    )


def _what_is_left(left: Interrupted | None) -> str:
    """Summary for an interrupted run; ``left`` is None if it left no data."""
    if left is None:
        return "The record that it failed or was cancelled; it left no other data."
    parts = [f"the fields {', '.join(left.fields)}"] if left.fields else []
    if left.resumable:
        parts.append(f"the checkpoint of {counted(left.rounds, 'round')}, from which it could be resumed")
    what = ", and ".join(parts) or "its files"
    return f"Data of the interrupted run: {what}. Images, and labels in other fields, are kept."
