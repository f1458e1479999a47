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
        from fiftyone_deepcluster.dataset.results.probes import stored_layers

        inputs = types.Object()
        run = findings.add_finished_run(inputs, ctx)
        if run is not None:
            layers = stored_layers(run) or {}
            _add_layer(inputs, ctx, layers)
            _add_units(inputs, ctx, layers)
            about = "Of gradient ascent."
            shared_inputs.add_number(
                inputs, ctx, "steps", _STEPS, (1, _MOST_STEPS), label="Steps", description=about
            )
        return shared_inputs.form(inputs, "Draw filters", "Draw")

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The units of a run's network."""
        steps = values.number(ctx.params, "steps", _STEPS, least=1, most=_MOST_STEPS)
        layer, units = values.text(ctx.params, "layer"), _units(ctx)
        return findings.analysis(ctx, "draw_filters", layer=layer, units=units, ascent={"steps": steps})


def _add_layer(inputs: types.Object, ctx: foo.ExecutionContext, layers: dict[str, int]) -> None:
    """Add the layer input, with the stored layers as choices: loading the network would block the form."""
    from fiftyone_deepcluster.backbones.layers import check_layer

    known = types.AutocompleteView()
    for name, units in layers.items():
        known.add_choice(name, label=f"{name} · {units:,} units")
    about = "Layer name such as conv3. Empty: the last convolution."
    later = " The layers of this run are offered here once it was probed, or units of it were drawn."
    inputs.str("layer", view=known, label="Layer", description=about if layers else f"{about}{later}")
    with shared_inputs.complaining(inputs, "layer"):
        layer = values.text(ctx.params, "layer")
        if layers and layer is not None:
            check_layer([*layers], layer)


def _add_units(inputs: types.Object, ctx: foo.ExecutionContext, layers: dict[str, int]) -> None:
    """Add the input of the units, which a stored layer must have."""
    from fiftyone_deepcluster.analysis.unit_images import check_in_layer

    about = "Unit indices such as 0, 5, 17. Empty: 16 evenly spaced units."
    inputs.str("units", label="Units", description=about)
    if inputs.get_property("layer").invalid:
        return
    with shared_inputs.complaining(inputs, "units"):
        units, layer = _units(ctx), values.text(ctx.params, "layer")
        if units is not None and layer in layers:
            check_in_layer(layer, layers[layer], units)


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
