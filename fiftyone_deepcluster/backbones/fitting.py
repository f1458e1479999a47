"""Loads a state dict completely, with a short message where it belongs to another model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from fiftyone_deepcluster.core.arguments import some_of
from fiftyone_deepcluster.errors import OptionsError

_COUNTER = "num_batches_tracked"
"""Buffer of batch norm that torch sets itself where a file of an older release lacks it."""


def load_completely(module: nn.Module, state: Mapping[str, torch.Tensor], failed: str) -> None:
    """Load a state dict with exactly the names and shapes of the module's own.

    Args:
        module: modified in place.
        state: weights by name.
        failed: beginning of the message: which weights do not fit which model.

    Raises:
        OptionsError: the state dict does not fit.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        own = module.state_dict()
        missing = [name for name in own if name not in state and not name.endswith(_COUNTER)]
        unexpected = [name for name in state if name not in own]
        sizes = [
            size_problem(name, state[name].shape, value.shape)
            for name, value in own.items()
            if name in state and state[name].shape != value.shape
        ]
        raise OptionsError(misfit(failed, missing, unexpected, sizes)) from error


def size_problem(name: str, found: Sequence[int], needed: Sequence[int]) -> str:
    """A weight of another shape in words."""
    return f"{name} of {tuple(found)} instead of {tuple(needed)}"


def misfit(failed: str, missing: Sequence[str], unexpected: Sequence[str], sizes: Sequence[str]) -> str:
    """Message about a state dict of another model: the first names of each kind, their numbers, and the way out.

    Args:
        failed: beginning of the message.
        missing: names that the model has and the state dict lacks.
        unexpected: names of the state dict that the model lacks.
        sizes: weights of another shape, from ``size_problem``.
    """
    kinds = {"missing": missing, "unexpected": unexpected, "of another size": sizes}
    problems = [f"{kind}: {some_of(names)}" for kind, names in kinds.items() if names]
    reason = f" ({'; '.join(problems)})" if problems else ""
    return (
        f"{failed}{reason}; give a file with model.state_dict() of this model, or set the backbone to the model of "
        "the file"
    )
