"""Input of the name of a new run, and what becomes of a run that has this name already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs, values
from fiftyone_deepcluster.app.params import ClusterCall, parse_call
from fiftyone_deepcluster.errors import DeepClusterError, RunError, RunExistsError

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.dataset.runs.interrupted import Interrupted
    from fiftyone_deepcluster.dataset.runs.kept_rounds import Fate


def add_run_name(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    """Add the input of the run's name, validated while typing."""
    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.runs import status
    from fiftyone_deepcluster.dataset.runs.run import finished_runs, free_key, interrupted_runs

    default = free_key(ctx.dataset)
    key = values.name_or(ctx.params, "key", default)
    inputs.str(
        "key",
        default=default,
        label="Name",
        description="Name of the run, and of the field that the clusters are written to.",
    )
    left = interrupted_runs(ctx.dataset).get(key)
    state = status.read_states(ctx.dataset).get(key)
    if state is not None and (state.status == "running" or (state.status == "queued" and state.background)):
        shared_inputs.complain(
            inputs,
            "key",
            f"the run {key!r} is {state.status}; wait for it, cancel it, or choose another name",
        )
    elif key in finished_runs(ctx.dataset):
        _add_overwrite(inputs, ctx, key)
    elif left is not None and not left.copied:
        _add_interrupted(inputs, ctx, left)
    else:
        names = FieldNames(key, values.text(ctx.params, "patches_field"))
        shared_inputs.check_new_key(inputs, "key", ctx.dataset, names)


def _add_overwrite(inputs: types.Object, ctx: foo.ExecutionContext, key: str) -> None:
    from fiftyone_deepcluster.dataset.runs.kept_edits import check_may_replace

    if not shared_inputs.add_replace(inputs, ctx, f"Replace the run {key!r}."):
        shared_inputs.complain(
            inputs, "key", f"the run {key!r} exists already; choose another name, or replace it"
        )
        return
    try:
        check_may_replace(ctx.dataset, key)
    except RunExistsError as error:
        shared_inputs.complain(inputs, "key", error)
        return
    inputs.view(
        "overwritten",
        types.Warning(
            label=f"The run {key!r} will be replaced",
            description="Its clusters are deleted when the new run is finished; labels in other fields are kept.",
        ),
    )


def _add_interrupted(inputs: types.Object, ctx: foo.ExecutionContext, left: Interrupted) -> None:
    """Say what becomes of an interrupted run; completed rounds are discarded only if that is asked for."""
    label = f"The run {left.key!r} was interrupted {left.progress}"
    try:
        fate = _fate(ctx, left.key)
    except RunError as error:
        _add_discard(inputs, ctx, left, str(error))
        return
    if fate == "kept":
        _add_discard(
            inputs,
            ctx,
            left,
            f"the run {left.key!r} was interrupted {left.progress}, with other images or options; resume it in the "
            "tab Runs of the Clusters panel, choose another name, or discard it",
        )
    elif fate is not None:
        inputs.view("left", types.Notice(label=label, description=_FATES[fate]))


def _add_discard(inputs: types.Object, ctx: foo.ExecutionContext, left: Interrupted, reason: str) -> None:
    """Add a switch to discard an interrupted run; the name is invalid for a reason while it is off."""
    if not shared_inputs.add_replace(inputs, ctx, f"Discard the interrupted run {left.key!r}."):
        shared_inputs.complain(inputs, "key", reason)
        return
    label = f"The run {left.key!r} was interrupted {left.progress}"
    about = "Its completed rounds are deleted, and a new run starts."
    inputs.view("left", types.Warning(label=label, description=about))


_FATES: dict[Fate, str] = {
    "none": "Nothing of it is left but its fields: a new run starts.",
    "resumed": "Images and options are the same: it is resumed after its last completed round.",
    "replaced": "It has no completed round: a new run starts.",
}


def _fate(ctx: foo.ExecutionContext, key: str) -> Fate | None:
    """What executing the form does with the interrupted run; None while another value is invalid.

    Raises:
        RunError: the job of the interrupted run cannot be read.
    """
    from fiftyone_deepcluster.dataset.runs.kept_rounds import fate_of

    try:
        job = parse_call(ctx.params, ctx.dataset).planned(shared_inputs.target_of(ctx))
    except DeepClusterError:  # shown at the value
        return None
    return fate_of(ctx.dataset, job, key)


def check_interrupted(ctx: foo.ExecutionContext, call: ClusterCall) -> None:
    """Refuse a call that would discard completed rounds, before anything is noted about it.

    Raises:
        RunExistsError: there are some, and replacing is not asked for.
    """
    from fiftyone_deepcluster.dataset.runs.kept_rounds import check_discards_nothing
    from fiftyone_deepcluster.dataset.runs.run import interrupted_runs

    if not call.overwrite and call.key in interrupted_runs(ctx.dataset):
        planned = call.planned(shared_inputs.target_of(ctx))
        check_discards_nothing(ctx.dataset, planned, call.key)
