"""Any classifier of torchvision: options and module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone
from fiftyone_deepcluster.core.option_errors import suggest
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from torch import nn

_WITH_SIDE_CLASSIFIERS = ("googlenet", "inception_v3")


@BACKBONES.register
class Torchvision(Backbone):
    """Any classification model of torchvision, to the features before its classifier."""

    name: Literal["torchvision"] = "torchvision"
    model: str = Field("mobilenet_v2", description="Name as torchvision spells it, e.g. squeezenet1_0.")

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.build``."""
        return torchvision_backbone(self.model, channels, size, weights)


def torchvision_backbone(name: str, channels: int, size: int, weights: str | None) -> nn.Module:
    """Any torchvision classifier without its last layer.

    Features are AlexNet's and VGG's fc7 after its ReLU (4096), GoogLeNet's pool5 (1024), a ResNet's average.

    Raises:
        OptionsError: torchvision has no such classifier, its last layer is not found, or it takes no images of
            this size.
    """
    import torch
    import torchvision
    from torchvision.models import get_model, list_models

    from fiftyone_deepcluster.backbones.adapt import Cut, adapt_first_conv, cut_classifier
    from fiftyone_deepcluster.backbones.weights import load_torchvision

    known = list_models(module=torchvision.models)  # others detect, segment or look at videos
    if name not in known:
        raise OptionsError(
            f"model={name!r} is no classifier of images in torchvision; {suggest(name, known)}"
        )
    if name in _WITH_SIDE_CLASSIFIERS:
        model: nn.Module = _without_side_classifiers(name, channels, weights)
    else:
        model = get_model(name, weights=None)
        load_torchvision(model, name, weights)
    adapt_first_conv(model, channels)
    cut_classifier(model, name)
    try:
        with torch.no_grad():
            dim = model.eval()(torch.zeros(1, channels, size, size)).flatten(1).shape[1]
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OptionsError(
            f"model={name!r} takes no images of {size} pixels ({reason}); give image_size=224, which most were made "
            "for, or choose another model"
        ) from error
    return Cut(model.train(), dim, relu_before_head=False)


def _without_side_classifiers(name: str, channels: int, weights: str | None) -> nn.Module:
    """GoogLeNet or Inception v3, which answer with several classifiers in training: only the backbone's way is kept.

    torchvision's weights of both were learned on pixels in -1..1, which the model makes of the usual ones.
    """
    from torchvision.models import get_model

    from fiftyone_deepcluster.backbones.weights import initialize, load_torchvision

    usual = weights is not None and channels == 3
    model = get_model(name, weights=None, init_weights=False, transform_input=usual)
    if weights is None:
        initialize(model)
    load_torchvision(model, name, weights)
    model.aux_logits = False
    for side in ("aux1", "aux2", "AuxLogits"):
        if hasattr(model, side):
            setattr(model, side, None)
    return model  # type: ignore[no-any-return]
