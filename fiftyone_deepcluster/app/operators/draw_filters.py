"""Operator: visualize the units of a run's network by activation maximization."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import findings, shared_inputs, values
from fiftyone_deepcluster.app.operators.job_operator import JobOperator
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.dataset.runs.run import Run

_INDEX = re.compile("[0-9]{1,9}")
_STEPS, _MOST_STEPS = 300, 10_000


class DrawFilters(JobOperator):
    """Draws images that maximize the activation of units, beside the images with the highest activations."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and execution options."""
        return shared_inputs.job_config(
            "draw_filters",
            "Draw filters",
            "Visualize the units of a layer: an image optimized to maximize each unit's activation, and the images "
            "of the run with the highest activations. Stored with the run.",
            "texture",
            "medium",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run, layer, units and number of steps."""
        inputs = types.Object()
        run = findings.add_finished_run(inputs, ctx)
        if run is not None:
            _add_layer(inputs, run)
            inputs.str(
                "units",
                label="Units",
                description="Unit indices such as 0, 5, 17. Empty: 16 evenly spaced units.",
            )
            try:
                _units(ctx)
            except InputError as error:
                shared_inputs.complain(inputs, "units", error)
            inputs.int(
                "steps",
                default=_STEPS,
                min=1,
                max=_MOST_STEPS,
                label="Steps",
                description="Of gradient ascent.",
            )
        return shared_inputs.form(inputs, "Draw filters", "Draw")

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The units of a run's network."""
        steps = values.number(ctx.params, "steps", _STEPS, least=1, most=_MOST_STEPS)
        layer, units = values.text(ctx.params, "layer"), _units(ctx)
        return findings.analysis(ctx, "draw_filters", layer=layer, units=units, ascent={"steps": steps})


def _add_layer(inputs: types.Object, run: Run) -> None:
    """Add the layer input, with stored layer names as choices: loading the network would block the form."""
    from fiftyone_deepcluster.dataset.results.probes import stored_layers

    known = types.AutocompleteView()
    for name, units in (stored_layers(run) or {}).items():
        known.add_choice(name, label=f"{name} · {units:,} units")
    inputs.str(
        "layer",
        view=known,
        label="Layer",
        description="Layer name such as conv3. Empty: the last convolution. An unknown name lists the existing layers.",
    )


def _units(ctx: foo.ExecutionContext) -> list[int] | None:
    """Unit indices entered in the form; None if empty.

    Raises:
        InputError: an entry is not a number.
    """
    given = values.nested(ctx.params, "units")
    if isinstance(given, list):
        return [arguments.whole_number("units", unit, 0) for unit in given] or None
    words = (values.long_text(ctx.params, "units") or "").replace(",", " ").split()
    wrong = [word for word in words if not _INDEX.fullmatch(word)]
    if wrong:
        raise InputError(f"{arguments.short(wrong[0])} is not a unit index; enter integers such as 0, 5, 17")
    return [int(word) for word in words] or None
