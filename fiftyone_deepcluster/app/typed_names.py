"""Checks of file and model names while they are typed into a form, without loading anything."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from fiftyone_deepcluster.backbones.base import BACKBONES, PRETRAINED, TORCHVISION_NAME, is_weights_path
from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.disk import is_refused
from fiftyone_deepcluster.core.registry import is_built_in
from fiftyone_deepcluster.errors import MissingDependencyError


def name_problems(method: dict[str, Any]) -> dict[tuple[str, ...], str]:
    """Problems of the weights and the backbone's model of a method, by the path of the input in the form.

    Args:
        method: name and options of the method, as ``forms.part_values`` gives them.
    """
    at = ("method", str(method.get("name")))
    found: dict[tuple[str, ...], str] = {}
    backbone = method.get("backbone")
    library = str(backbone.get("name")) if isinstance(backbone, dict) else ""
    model = None
    if isinstance(backbone, dict) and library in _CHECKS:
        model = str(backbone.get("model", BACKBONES.get(library).model_fields["model"].default))
        problem = _CHECKS[library](model)
        if problem:
            found[(*at, "backbone", library, "model")] = problem
            model = None
    weights = method.get("weights")
    if isinstance(weights, str) and weights:
        problem = _weights_problem(weights, library, model)
        if problem:
            found[(*at, "weights")] = problem
    return found


def _torchvision_problem(model: str) -> str:
    import torchvision
    from torchvision.models import list_models

    from fiftyone_deepcluster.core.option_errors import suggest

    known = list_models(module=torchvision.models)
    return (
        ""
        if model in known
        else f"torchvision has no image classifier {short(model)}; {suggest(model, known)}"
    )


def _timm_problem(model: str) -> str:
    from fiftyone_deepcluster.backbones.timm import timm_name_problem

    try:
        return timm_name_problem(model)
    except MissingDependencyError as error:
        return str(error)


def _transformers_problem(model: str) -> str:
    from fiftyone_deepcluster.backbones.transformers import no_model_folder

    try:
        return no_model_folder(model)
    except MissingDependencyError as error:
        return str(error)


_CHECKS = {
    "torchvision": _torchvision_problem,
    "timm": _timm_problem,
    "transformers": _transformers_problem,
}
"""Checks of a model's name by the name of the backbone."""


def _weights_problem(weights: str, library: str, model: str | None) -> str:
    with suppress(OSError, ValueError):  # not a valid path
        if is_refused(Path(weights)):
            return f"the file {short(weights)} belongs to another user; make it readable"
        if Path(weights).is_file():
            return ""
    others = library in _CHECKS and library != "torchvision"
    if (others and weights == PRETRAINED) or _may_be_own_name(weights, library):
        return ""
    if others or not TORCHVISION_NAME.fullmatch(weights):
        name = PRETRAINED if others else "a name such as IMAGENET1K_V1"
        return f"there is no file {short(weights)}; give the path of a state dict, or {name}"
    if model is None:
        return ""
    from torchvision.models import get_model_weights

    known = [*get_model_weights(model).__members__, "DEFAULT"]
    return (
        ""
        if weights in known
        else f"{model} has no weights {short(weights)}; give one of {', '.join(known)}, or a file"
    )


def _may_be_own_name(weights: str, library: str) -> bool:
    """Whether a backbone of another package may have weights of this name."""
    backbone = BACKBONES.get(library) if library else None
    return backbone is not None and not is_built_in(backbone) and not is_weights_path(weights, backbone)
