"""Any torchvision classifier as a backbone: options and module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone
from fiftyone_deepcluster.core.arguments import reason_of
from fiftyone_deepcluster.core.option_errors import suggest
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from torch import nn

_WITH_SIDE_CLASSIFIERS = ("googlenet", "inception_v3")


@BACKBONES.register
class Torchvision(Backbone):
    """Any torchvision classification model, without its classifier."""

    name: Literal["torchvision"] = "torchvision"
    model: str = Field("mobilenet_v2", description="torchvision model name, e.g. squeezenet1_0.")

    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.make_module``."""
        return torchvision_backbone(self.model, channels, size, weights)


def torchvision_backbone(name: str, channels: int, size: int, weights: str | None) -> nn.Module:
    """Any torchvision classifier without its last layer.

    Features are fc7 after its ReLU for AlexNet and VGG (4096), pool5 for GoogLeNet (1024), the pooled maps of a ResNet.

    Raises:
        OptionsError: torchvision has no such classifier, its last layer is not found, or it does not accept images
            of this size.
    """
    import torch
    import torchvision
    from torchvision.models import get_model, list_models

    from fiftyone_deepcluster.backbones.adapt import Cut, adapt_first_conv, cut_classifier
    from fiftyone_deepcluster.backbones.weights import load_torchvision

    known = list_models(module=torchvision.models)  # others are for detection, segmentation or video
    if name not in known:
        raise OptionsError(
            f"model={name!r} is not an image classifier of torchvision; {suggest(name, known)}"
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
        reason = reason_of(error)
        raise OptionsError(
            f"model={name!r} does not accept images of {size} pixels ({reason}); set image_size=224, which most models "
            "expect, or choose another model"
        ) from error
    return Cut(model.train(), dim, relu_before_head=False)


def _without_side_classifiers(name: str, channels: int, weights: str | None) -> nn.Module:
    """GoogLeNet or Inception v3 without their auxiliary classifiers.

    torchvision's weights of both expect pixels in -1..1, to which the model converts ImageNet-normalized ones.
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
