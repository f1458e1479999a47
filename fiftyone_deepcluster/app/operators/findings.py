"""Inputs shared by the operators that analyze a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import fields, shared_inputs, values
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.dataset.runs.run import Run


def add_finished_run(inputs: types.Object, ctx: foo.ExecutionContext) -> Run | None:
    """Add a selector of finished runs; return the selected run."""
    from fiftyone_deepcluster.dataset.runs.run import finished_runs, load_run

    key = shared_inputs.add_run(inputs, ctx, finished_runs(ctx.dataset))
    return load_run(ctx.dataset, key) if key else None


def add_label_field(inputs: types.Object, ctx: foo.ExecutionContext, run: Run, none: str = "") -> None:
    """Add a selector of class fields; ``none`` is the label of the empty choice, if allowed."""
    known = fields.class_fields(ctx.dataset, run.patches_field)
    if not known and not none:
        nothing = types.Warning(
            label="No field with classes in this dataset",
            description="Add a Classification field with the known class of some images first.",
        )
        inputs.view("no_classes", nothing)
        inputs.str("label_field", view=types.HiddenView())
        shared_inputs.complain(inputs, "label_field", "this dataset has no field with classes; add one first")
        return
    truth = run.settings.get("truth_field")
    default = truth if truth in known else (known[0] if known and not none else None)
    shared_inputs.add_choice(
        inputs,
        "label_field",
        known,
        none=none,
        default=default,
        label="Labels",
        description="Known classes. Used for evaluation only, never for training.",
    )


def analysis(ctx: foo.ExecutionContext, verb: str, **arguments: Any) -> Job:
    """A job about a finished run.

    Raises:
        RunNotFoundError: there is no such run.
    """
    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.dataset.runs.run import load_run

    run = load_run(ctx.dataset, shared_inputs.key_of(ctx))
    return Job(verb, ctx.dataset, run.key, {"key": run.key, **arguments})


def label_field_of(ctx: foo.ExecutionContext) -> str:
    """The class field that the operator was called with.

    Raises:
        InputError: no field was given.
    """
    field = values.text(ctx.params, "label_field")
    if field is None:
        known = ", ".join(fields.class_fields(ctx.dataset)) or "this dataset has none yet"
        raise InputError(f"no field with classes was given; set label_field to one of: {known}")
    return field
