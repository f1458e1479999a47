"""Any model of the library timm as a backbone: options and module."""

from __future__ import annotations

import difflib
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, PRETRAINED, Backbone, InputNormName
from fiftyone_deepcluster.backbones.downloads import download_problem
from fiftyone_deepcluster.core.arguments import some_of
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch
    from torch import nn

_LOCAL = "local-dir:"
"""How timm's names of models on this computer begin."""

_HUB = ("hf-hub:", "hf_hub:", _LOCAL)


@BACKBONES.register
class Timm(Backbone):
    """Any model of the library timm, without its classifier; needs the extra timm."""

    input_norm: ClassVar[InputNormName] = "model"
    pretrained_norm: ClassVar[InputNormName] = "model"

    name: Literal["timm"] = "timm"
    model: str = Field(
        "vit_small_patch14_dinov2.lvd142m",
        description="Name in timm with the tag of the pre-trained weights, e.g. convnext_tiny.in12k_ft_in1k.",
    )

    @property
    def model_folder(self) -> str:
        """See ``Backbone.model_folder``."""
        return self.model.removeprefix(_LOCAL) if self.model.startswith(_LOCAL) else ""

    def in_folder(self, folder: str) -> Timm:
        """See ``Backbone.in_folder``."""
        return self.model_copy(update={"model": f"{_LOCAL}{folder}"})

    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.make_module``."""
        return timm_backbone(self.model, channels, size, weights)


def timm_backbone(name: str, channels: int, size: int, weights: str | None) -> nn.Module:
    """A model of timm without its classifier; its features are those after timm's own pooling.

    A vision transformer interpolates its position embeddings to the size of the images (``dynamic_img_size``); a model
    with a fixed input size is built for it (``img_size``).

    Raises:
        OptionsError: timm has no such model or weights, the weights do not fit, they could not be downloaded, or the
            model does not accept images of this size.
        MissingDependencyError: timm is not installed.
    """
    from fiftyone_deepcluster.backbones.adapt import Cut
    from fiftyone_deepcluster.backbones.optional_packages import check_size, import_library
    from fiftyone_deepcluster.backbones.stored_weights import values_of
    from fiftyone_deepcluster.backbones.weights import read_state

    timm = import_library("timm")
    problem = timm_name_problem(name)
    if problem:
        raise OptionsError(problem)
    given = values_of(weights)
    state = None if given in (None, PRETRAINED) else read_state(str(given))
    with _files(timm, name, given):
        model = _create(timm, name, (channels, size), pretrained=given == PRETRAINED)
    if state is not None:
        _load(model, state, channels, f"weights={weights!r} does not fit timm's {name}")
    module = Cut(model, 0, relu_before_head=False)
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    check_size(module, name, (channels, size, size), patch)
    config = model.pretrained_cfg
    module.pixel_mean, module.pixel_std = tuple(config["mean"]), tuple(config["std"])
    return module


def timm_name_problem(name: str) -> str:
    """Why timm has no model ``name``, with the nearest names; empty if there is one, or if the hub must know.

    Raises:
        MissingDependencyError: timm is not installed.
    """
    from fiftyone_deepcluster.backbones.optional_packages import import_library

    timm = import_library("timm")
    if name.startswith(_HUB):
        return ""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = timm.list_models()
        near = difflib.get_close_matches(architecture, known, n=3)
        hint = (
            f"did you mean {' or '.join(map(repr, near))}?" if near else "timm.list_models() gives its models"
        )
        return f"model={name!r} is not a model of timm; {hint}"
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and name not in tagged:
        return f"model={name!r}: timm's {architecture} has no weights {tag!r}; " + (
            f"choose one of: {some_of(tagged, 30)}" if tagged else f"write {architecture!r}"
        )
    return ""


def _files(timm: Any, name: str, weights: str | None) -> AbstractContextManager[None]:
    """The context in which a model's files are downloaded.

    Raises:
        OptionsError: they could not be downloaded; here, or within the context.
    """
    from fiftyone_deepcluster.backbones.downloads import check_download, hub_files

    prefix, _, repository = name.partition(":")
    what = f"the {'weights' if weights == PRETRAINED else 'configuration'} of timm's model={name!r}"
    if f"{prefix}:" in _HUB[:2]:
        return hub_files(
            what, repository.partition("@")[0], "give 'local-dir:' and the path of their folder as model"
        )
    config = timm.get_pretrained_cfg(name) if weights == PRETRAINED and not name.startswith(_HUB) else None
    if config is not None and config.hf_hub_id:
        return hub_files(what, config.hf_hub_id, "give the path of the file as weights")
    if config is not None and config.url:
        check_download(config.url, what)
    return nullcontext()


def _create(timm: Any, name: str, shape: tuple[int, int], *, pretrained: bool) -> Any:
    """The model for images of (channels, side), by the first way of giving it the side that its class knows."""
    channels, size = shape
    ways: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"img_size": size}, {})
    for way in ways:
        try:
            model = timm.create_model(name, pretrained=pretrained, num_classes=0, in_chans=channels, **way)
            if "dynamic_img_size" not in way or getattr(model, "dynamic_img_size", False):
                return model  # some classes of older releases ignore unknown arguments
        except TypeError as error:
            if way and "unexpected keyword" in str(error):
                continue
            raise
        except (OSError, RuntimeError, ValueError, AssertionError) as error:
            reason = download_problem(error)
            if pretrained or name.startswith(_HUB):
                raise OptionsError(
                    f"the weights of model={name!r} could not be loaded ({reason}); choose a model with pre-trained "
                    "weights (timm.list_models(pretrained=True)), or give the path of a local file as weights"
                ) from error
            raise OptionsError(
                f"model={name!r} cannot be built for images of {size} pixels ({reason}); set image_size=224, or choose "
                "another model"
            ) from error
    raise AssertionError("unreachable: the last way has no keyword")


def _load(model: Any, state: dict[str, torch.Tensor], channels: int, failed: str) -> None:
    """Load a state dict of timm's model, with or without its classifier, or of one of our checkpoints.

    Raises:
        OptionsError: it does not fit; the message starts with ``failed``.
    """
    from fiftyone_deepcluster.backbones.fitting import load_completely

    ours = "backbone.model."
    state = {key.removeprefix(ours): value for key, value in state.items() if key.startswith(ours)} or dict(
        state
    )
    own = model.state_dict()
    classifiers = tuple(f"{part}." for part in _names(model.pretrained_cfg.get("classifier")))
    state = {key: value for key, value in state.items() if key in own or not key.startswith(classifiers)}
    for first in _names(model.pretrained_cfg.get("first_conv")):
        weight = state.get(f"{first}.weight")
        if channels != 3 and weight is not None and weight.ndim == 4 and weight.shape[1] == 3:
            from timm.models import adapt_input_conv

            state[f"{first}.weight"] = adapt_input_conv(channels, weight)
    load_completely(model, state, failed)


def _names(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, tuple | list) else ()
