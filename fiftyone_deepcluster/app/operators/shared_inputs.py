"""Inputs shared by several operators: run, field and cluster selectors."""

from __future__ import annotations

from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import values
from fiftyone_deepcluster.app.wording import in_app_words
from fiftyone_deepcluster.errors import DeepClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.runs.run import Run


_T = TypeVar("_T")
_R = TypeVar("_R")
Risk: TypeAlias = Literal["low", "medium", "high", "dangerous"]


def config(name: str, label: str, description: str, icon: str, risk: Risk, **more: Any) -> foo.OperatorConfig:
    """Configuration of an operator with a dynamic form.

    Args:
        name: operator name without the plugin's name.
        label: display name in the App.
        description: one sentence.
        icon: name of a Material icon.
        risk: what it may do. ``low``: reads only. ``medium``: adds files, fields or samples, or makes changes that can
            be undone. ``high``: replaces results if asked to, or reads files outside of the dataset.
            ``dangerous``: deletes permanently.
        more: further arguments of ``OperatorConfig``.
    """
    return foo.OperatorConfig(
        name=name,
        label=label,
        description=description,
        icon=icon,
        dynamic=True,
        risk_level=risk,
        category=foo.Categories.CURATE,
        **more,
    )


def job_config(name: str, label: str, description: str, icon: str, risk: Risk) -> foo.OperatorConfig:
    """``config`` of an operator that may take minutes: started in the background, or scheduled."""
    return config(
        name,
        label,
        description,
        icon,
        risk,
        allow_immediate_execution=True,
        allow_delegated_execution=True,
        resolve_execution_options_on_change=False,
    )


def form(inputs: types.Object, label: str, button: str = "Execute") -> types.Property:
    """Form with a title and a submit button."""
    return types.Property(inputs, view=types.PromptView(label=label, submit_button_label=button))


def from_app(ctx: foo.ExecutionContext) -> bool:
    """Whether a form in the App executes the operator: the App sends its layout, a script does not."""
    return ctx.spaces is not None


def errors_in_app_words(
    execute: Callable[[_T, foo.ExecutionContext], _R],
) -> Callable[[_T, foo.ExecutionContext], _R]:
    """Decorator of ``execute``: errors that the App shows have the words of its forms; scripts get them as they are."""

    @wraps(execute)
    def wrapped(self: _T, ctx: foo.ExecutionContext) -> _R:
        try:
            return execute(self, ctx)
        except DeepClusterError as error:
            if not from_app(ctx):
                raise
            raise DeepClusterError(in_app_words(error)) from error

    return wrapped


def result(ctx: foo.ExecutionContext, label: str, **fields: types.BaseType) -> types.Property | None:
    """Schema of an operator's result, for scripts and agents.

    None in the App's dialog, where a notification shows the result: a schema would add a page to the dialog.

    Args:
        ctx: context of the operator.
        label: what the result is.
        fields: type of each value, by its name.
    """
    if from_app(ctx):
        return None
    outputs = types.Object()
    for name, kind in fields.items():
        outputs.define_property(name, kind, label=name.replace("_", " ").capitalize())
    return types.Property(outputs, view=types.View(label=label))


def add_run(inputs: types.Object, ctx: foo.ExecutionContext, keys: list[str]) -> str | None:
    """Add a run selector, or a warning if there is no run; return the selected key."""
    if not keys:
        nothing = types.Warning(
            label="No clustering run in this dataset", description='Start one with "Cluster images".'
        )
        inputs.view("nothing", _first_at_work(ctx.dataset) or nothing)
        inputs.str("key", view=types.HiddenView()).invalid = True
        return None
    chosen = values.text(ctx.params, "key") or keys[-1]
    add_choice(inputs, "key", keys, default=keys[-1], label="Run")
    if chosen not in keys:
        state = _runs_at_work(ctx.dataset).get(chosen)
        why = f"the run {chosen!r} is {state}; {_WAIT}" if state else f"there is no run {chosen!r}"
        complain(inputs, "key", why)
        return None
    return chosen


_WAIT = "wait for it, or cancel it"


def _first_at_work(dataset: fo.Dataset) -> types.Warning | None:
    """Warning that there is a run, which cannot be chosen yet; None if no run is queued or running."""
    for key, state in _runs_at_work(dataset).items():
        return types.Warning(label=f"The run {key!r} is {state}", description=_WAIT.capitalize())
    return None


def _runs_at_work(dataset: fo.Dataset) -> dict[str, str]:
    """Runs that are queued or running, and which of the two, by key."""
    from fiftyone_deepcluster.dataset.runs import status
    from fiftyone_deepcluster.dataset.runs.job_names import is_run

    states = status.read_states(dataset)
    return {key: state.status for key, state in states.items() if state.busy and is_run(key)}


def add_choice(
    inputs: types.Object, name: str, choices: list[Any], *, none: str = "", **about: Any
) -> types.Property:
    """Add a dropdown of plain values; ``none``, if given, is the label of an empty first choice."""
    dropdown = types.DropdownView()
    if none:
        dropdown.add_choice("", label=none)
    for value in choices:
        dropdown.add_choice(value, label=str(value))
    return inputs.enum(name, dropdown.values(), view=dropdown, **about)


def add_cluster(inputs: types.Object, ctx: foo.ExecutionContext, run: Run) -> str | None:
    """Add a selector of a run's clusters, with their sizes; return the selected name."""
    dropdown = types.DropdownView()
    for info in run.clusters(n_exemplars=0):
        dropdown.add_choice(info.name, label=f"{info.name} · {run.fields.counted(info.size)}")
    inputs.enum("cluster", dropdown.values(), view=dropdown, label="Cluster", required=True)
    return values.text(ctx.params, "cluster")


def target_of(ctx: foo.ExecutionContext) -> fo.core.collections.SampleCollection:
    """Samples to use; of a grouped dataset, the selected slice or the slice shown in the grid."""
    samples = ctx.target_view()
    if samples.media_type != "group":
        return samples
    shown = values.text(ctx.params, "group_slice") or ctx.group_slice or ctx.dataset.default_group_slice
    return samples.select_group_slices(shown)


def complain(inputs: types.Object, name: str, error: Exception | str) -> None:
    """Show an error at an input; the form cannot be submitted until it is resolved."""
    place = inputs.get_property(name)
    place.invalid = True
    place.error_message = in_app_words(error)


@contextmanager
def complaining(inputs: types.Object, name: str) -> Iterator[None]:
    """Show at an input what is raised within: the checks of the call, made while values are entered."""
    try:
        yield
    except DeepClusterError as error:
        complain(inputs, name, error)


def add_number(
    inputs: types.Object,
    ctx: foo.ExecutionContext,
    name: str,
    default: int,
    bounds: tuple[int, int | None],
    **about: Any,
) -> int | None:
    """Add an input of a whole number, checked as ``values.number`` does: the App itself checks the bounds only.

    Returns:
        The number; None if it is none, or out of bounds.
    """
    least, most = bounds
    inputs.int(name, default=default, min=least, max=most, **about)
    with complaining(inputs, name):
        return values.number(ctx.params, name, default, least=least, most=most)
    return None


def add_replace(inputs: types.Object, ctx: foo.ExecutionContext, description: str) -> bool:
    """Add the switch to replace what has the name already.

    Args:
        inputs: inputs of the form.
        ctx: context of the form.
        description: what is replaced.

    Returns:
        Whether it is on.
    """
    inputs.bool("overwrite", default=False, label="Replace", description=description, view=types.SwitchView())
    return values.switch(ctx.params, "overwrite")


def check_new_key(inputs: types.Object, at: str, dataset: fo.Dataset, names: FieldNames) -> None:
    """Show an error at an input if the key is invalid or already in use."""
    from fiftyone_deepcluster.dataset.io.fields import check_free, check_key

    with complaining(inputs, at):
        check_key(names.key)
        check_free(dataset, names)


def key_of(ctx: foo.ExecutionContext) -> str:
    """Key of the run that the operator was called for; by default the dataset's only run.

    Raises:
        InputError: no key was given, and the dataset does not have exactly one run.
    """
    from fiftyone_deepcluster.errors import InputError

    key = values.text(ctx.params, "key")
    if key:
        return key
    keys = known_keys(ctx.dataset)
    if len(keys) == 1:
        return keys[0]
    if not keys:
        raise InputError("no run was given, and this dataset has none yet; create one with cluster_images")
    raise InputError(f"no run was given; set key to one of: {', '.join(keys)}")


def known_keys(dataset: fo.Dataset, at_work: bool = True) -> list[str]:
    """Keys of all runs with a result or a state; ``at_work=False`` excludes those queued or running."""
    from fiftyone_deepcluster.dataset.runs import status
    from fiftyone_deepcluster.dataset.runs.job_names import is_run
    from fiftyone_deepcluster.dataset.runs.run import list_runs

    kept = list_runs(dataset)
    states = {key: state for key, state in status.read_states(dataset).items() if is_run(key)}
    keys = [*kept, *(key for key in states if key not in kept)]
    return keys if at_work else [key for key in keys if key not in states or not states[key].busy]
