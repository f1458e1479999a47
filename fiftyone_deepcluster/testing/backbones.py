"""What a backbone keeps to."""

from __future__ import annotations

from typing import Any

import torch

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone
from fiftyone_deepcluster.backbones.input_norms import make_input_norm
from fiftyone_deepcluster.backbones.layers import layers_of
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.testing.checks import PartCheck, option_checks, require, run_checks

SIDES = (28, 64, 224)
"""Sides of images, in pixels, that are tried: a backbone refuses sides too small for it by an OptionsError."""


def check_backbone(backbone: Backbone | type[Backbone] | str | dict[str, Any]) -> None:
    """PartCheck a backbone at the smallest of ``SIDES`` that it takes.

    Args:
        backbone: object, class, name, or dict with name and options.

    Raises:
        AssertionError: the first check that fails, and why.
        OptionsError: there is no such backbone.
    """
    run_checks(BACKBONES, backbone, BACKBONE_CHECKS)


def every_image_gets_features(backbone: Backbone) -> None:
    """(B, C, H, W) becomes (B, dim) of finite numbers, for gray images and for those in color."""
    for channels in (1, 3):
        network, size = _network(backbone, channels)
        found = network.eval().features(_images(2, channels, size))
        shape = tuple(found.shape)
        require(shape == (2, network.dim), f"two images give {shape}, not (2, {network.dim}) as dim says")
        require(bool(torch.isfinite(found).all()), "features are not finite")
    relu = network.backbone.relu_before_head
    require(isinstance(relu, bool), f"relu_before_head={relu!r} is neither True nor False")


def an_image_does_not_depend_on_its_batch(backbone: Backbone) -> None:
    """In evaluation mode an image gets the same features alone and among others, in every call."""
    network, size = _network(backbone, 1)
    images = _images(3, 1, size)
    with torch.no_grad():
        together = network.eval().features(images)
        alone = network.features(images[1:2])
    close = torch.allclose(together[1:2], alone, rtol=1e-3, atol=1e-4)
    require(close, "an image's features in evaluation mode differ alone and in a batch")


def it_can_be_trained(backbone: Backbone) -> None:
    """Gradients reach the weights, where there are any."""
    network, size = _network(backbone, 1)
    weights = [weight for weight in network.backbone.parameters() if weight.requires_grad]
    if weights:
        network.train().features(_images(4, 1, size)).square().sum().backward()
        require(any(weight.grad is not None for weight in weights), "no gradient reaches the weights")


def weights_come_from_the_generator(backbone: Backbone) -> None:
    """The same seed of torch gives the same weights, and a state dict fits the same backbone."""
    (one, _), (two, _) = _network(backbone, 1), _network(backbone, 1)
    ours, theirs = one.state_dict(), two.state_dict()
    same = ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    require(same, "two backbones from the same seed of torch differ; draw weights by torch")
    two.load_state_dict(ours)


def missing_weights_are_refused(backbone: Backbone) -> None:
    """A file that is not there is an OptionsError: weights are never ignored."""
    size = _network(backbone, 3)[1]
    channels = int(make_input_norm(backbone.input_norm, 3).out_channels)  # type: ignore[arg-type]
    try:
        with seeded_torch(1):
            backbone.build(channels, size, "/no/such/file.pt")
    except OptionsError:
        return
    raise AssertionError(
        "weights='/no/such/file.pt' is taken; load the file (backbones.weights.load_file), or raise an OptionsError"
    )


def its_layers_have_names(backbone: Backbone) -> None:
    """Probes, filters and encoders can ask for its layers."""
    network, size = _network(backbone, 1)
    layers = layers_of(network, _images(1, 1, size))
    require(layers, "no layer is found in the module")


def _network(backbone: Backbone, channels: int) -> tuple[Network, int]:
    """Of random weights, for the smallest images that the backbone takes, and their side."""
    refused = ""
    for size in SIDES:
        input_norm = make_input_norm(backbone.input_norm, channels)
        try:
            with seeded_torch(1):
                module = backbone.build(int(input_norm.out_channels), size, None)  # type: ignore[arg-type]
        except OptionsError as error:
            refused = str(error)
            continue
        network = Network(input_norm, module, relu_before_head=bool(module.relu_before_head))
        network.seed_dropout(1)
        return network, size
    raise AssertionError(f"it takes no images of {' or '.join(map(str, SIDES))} pixels: {refused}")


def _images(n: int, channels: int, size: int) -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0))


BACKBONE_CHECKS: tuple[PartCheck[Backbone], ...] = (
    *option_checks(BACKBONES),
    every_image_gets_features,
    an_image_does_not_depend_on_its_batch,
    it_can_be_trained,
    weights_come_from_the_generator,
    missing_weights_are_refused,
    its_layers_have_names,
)
"""In the order in which ``check_backbone`` runs them."""
