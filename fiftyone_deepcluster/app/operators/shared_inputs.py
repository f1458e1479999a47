"""Inputs that several operators share: choosing a run, a field, a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.runs.run import Run


def config(
    name: str, label: str, description: str, icon: str, *, writes: bool = False, **more: Any
) -> foo.OperatorConfig:
    """Of an operator with a form that follows what is typed.

    Args:
        name: its last part.
        label: what the App calls it.
        description: one sentence.
        icon: of Material's.
        writes: whether it changes fields or samples.
        more: as ``OperatorConfig`` has it.
    """
    return foo.OperatorConfig(
        name=name,
        label=label,
        description=description,
        icon=icon,
        dynamic=True,
        risk_level=types.RiskLevel.MEDIUM if writes else types.RiskLevel.LOW,
        category=foo.Categories.CURATE,
        **more,
    )


def job_config(
    name: str, label: str, description: str, icon: str, *, writes: bool = False
) -> foo.OperatorConfig:
    """``config`` of an operator that may take minutes: run at once with progress, or scheduled."""
    return config(
        name,
        label,
        description,
        icon,
        writes=writes,
        execute_as_generator=True,
        allow_immediate_execution=True,
        allow_delegated_execution=True,
        resolve_execution_options_on_change=False,
    )


def form(inputs: types.Object, label: str, button: str = "Execute") -> types.Property:
    """A finished form with its title and the text of its button."""
    return types.Property(inputs, view=types.PromptView(label=label, submit_button_label=button))


def add_run(inputs: types.Object, ctx: foo.ExecutionContext, keys: list[str]) -> str | None:
    """A choice among runs; says so where there is none. Returns the chosen key."""
    if not keys:
        nothing = types.Warning(
            label="No clustering run here", description='Start one with "Cluster images".'
        )
        inputs.view("nothing", nothing)
        inputs.str("key", view=types.HiddenView()).invalid = True
        return None
    chosen = ctx.params.get("key") or keys[-1]
    add_choice(inputs, "key", keys, default=keys[-1], label="Run")
    if chosen not in keys:
        inputs.get_property("key").invalid = True
        inputs.get_property("key").error_message = f"there is no run {chosen!r}"
        return None
    return chosen


def add_choice(
    inputs: types.Object, name: str, values: list[Any], *, none: str = "", **about: Any
) -> types.Property:
    """A dropdown of plain values, and first of nothing where ``none`` says what that means."""
    dropdown = types.DropdownView()
    if none:
        dropdown.add_choice("", label=none)
    for value in values:
        dropdown.add_choice(value, label=str(value))
    return inputs.enum(name, dropdown.values(), view=dropdown, **about)


def add_cluster(inputs: types.Object, ctx: foo.ExecutionContext, run: Run) -> str | None:
    """A choice among the clusters of a run, with their sizes. Returns the chosen name."""
    dropdown = types.DropdownView()
    for info in run.clusters(n_exemplars=0):
        dropdown.add_choice(info.name, label=f"{info.name} · {info.size:,} images")
    inputs.enum("cluster", dropdown.values(), view=dropdown, label="Cluster")
    return ctx.params.get("cluster")


def complain(inputs: types.Object, name: str, error: Exception | str) -> None:
    """Show what is wrong at an input; the form cannot be sent until it is mended."""
    place = inputs.get_property(name)
    place.invalid = True
    place.error_message = str(error)


def check_new_key(inputs: types.Object, at: str, dataset: fo.Dataset, names: FieldNames) -> None:
    """Complain at an input where a run cannot have the key that was typed."""
    from fiftyone_deepcluster.dataset.io.fields import check_free, check_key
    from fiftyone_deepcluster.errors import DeepClusterError

    try:
        check_key(names.key)
        check_free(dataset, names)
    except DeepClusterError as error:
        complain(inputs, at, error)


def key_of(ctx: foo.ExecutionContext) -> str:
    """The run that an operator was called for.

    Raises:
        InputError: none was given, and there is not exactly one.
    """
    from fiftyone_deepcluster.errors import InputError

    key = ctx.params.get("key")
    if key:
        return str(key)
    keys = known_keys(ctx.dataset)
    if len(keys) == 1:
        return keys[0]
    if not keys:
        raise InputError("no run was named, and this dataset has none yet; make one with cluster_images")
    raise InputError(f"no run was named; give key=, one of: {', '.join(keys)}")


def known_keys(dataset: fo.Dataset, at_work: bool = True) -> list[str]:
    """Keys of finished runs, of those that broke off, and of those that were or, if wished, are at work."""
    from fiftyone_deepcluster.dataset.runs import status
    from fiftyone_deepcluster.dataset.runs.run import list_runs

    kept = list_runs(dataset)
    states = status.read_states(dataset)
    keys = [*kept, *(key for key in states if key not in kept)]
    return keys if at_work else [key for key in keys if key not in states or not states[key].busy]
