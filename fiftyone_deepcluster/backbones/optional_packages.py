"""Libraries of models that are installed on request, by an extra of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fiftyone_deepcluster.core.arguments import reason_of
from fiftyone_deepcluster.errors import MissingDependencyError, OptionsError

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.adapt import Cut


def import_library(name: Literal["timm", "transformers"]) -> Any:
    """The module ``name``, which an extra of the same name installs.

    Raises:
        MissingDependencyError: it is not installed, or cannot be imported.
    """
    try:
        if name == "timm":
            import timm

            return timm
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            f"the backbone {name!r} needs the package {name} ({error}); "
            f'pip install "fiftyone-deepcluster[{name}]"'
        ) from error
    return transformers


def check_size(module: Cut, model: str, shape: tuple[int, int, int], patch: object) -> None:
    """Set ``module.dim`` by a forward pass of one black image.

    Args:
        module: left in training mode.
        model: name of the model, for messages.
        shape: channels, height and width of the images.
        patch: side of the patches of the model in pixels, if it has any.

    Raises:
        OptionsError: the model does not accept images of this shape.
    """
    import torch

    side = max(patch) if isinstance(patch, tuple | list) and patch else patch
    what = f"a multiple of {side}, such as {side * 16}" if isinstance(side, int) else "224"
    try:
        if isinstance(side, int) and shape[1] % side:
            raise ValueError(f"its patches have {side} pixels")
        with torch.no_grad():
            module.dim = module.eval()(torch.zeros(1, *shape)).shape[1]
    except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError, IndexError) as error:
        reason = reason_of(error)
        raise OptionsError(
            f"model={model!r} does not accept images of {shape[1]} pixels ({reason}); set image_size to {what}, or "
            "choose another model"
        ) from error
    module.train()
