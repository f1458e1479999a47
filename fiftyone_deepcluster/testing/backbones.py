"""Checks for backbones."""

from __future__ import annotations

from typing import Any

import torch

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone
from fiftyone_deepcluster.backbones.input_norms import channels_after
from fiftyone_deepcluster.backbones.layers import layers_of
from fiftyone_deepcluster.backbones.network import Network, build_network
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.testing.checks import PartCheck, option_checks, require, run_checks

SIDES = (28, 64, 224)
"""Image sides to try, in pixels: a backbone must raise OptionsError for sides too small for it."""


def check_backbone(backbone: Backbone | type[Backbone] | str | dict[str, Any]) -> None:
    """Check a backbone at the smallest of ``SIDES`` that it accepts.

    Args:
        backbone: object, class, name, or dict with name and options.

    Raises:
        AssertionError: a check failed; the message has its name and the reason.
        OptionsError: there is no such backbone.
    """
    run_checks(BACKBONES, backbone, BACKBONE_CHECKS)


def every_image_gets_features(backbone: Backbone) -> None:
    """Gray and color images (B, C, H, W) give finite features (B, dim)."""
    for channels in (1, 3):
        network, size = _network(backbone, channels)
        found = network.eval().features(_images(2, channels, size))
        shape = tuple(found.shape)
        require(
            shape == (2, network.dim),
            f"two images give features {shape} instead of (2, {network.dim})",
        )
        require(bool(torch.isfinite(found).all()), "features contain NaN or infinite values")
    relu = network.backbone.relu_before_head
    require(isinstance(relu, bool), f"relu_before_head={relu!r} is not a bool; set True or False")


def an_image_does_not_depend_on_its_batch(backbone: Backbone) -> None:
    """In evaluation mode, an image has the same features alone and in a batch."""
    network, size = _network(backbone, 1)
    images = _images(3, 1, size)
    with torch.no_grad():
        together = network.eval().features(images)
        alone = network.features(images[1:2])
    close = torch.allclose(together[1:2], alone, rtol=1e-3, atol=1e-4)
    require(close, "in evaluation mode, an image has other features alone than in a batch")


def it_can_be_trained(backbone: Backbone) -> None:
    """Gradients reach the weights, if there are any."""
    network, size = _network(backbone, 1)
    weights = [weight for weight in network.backbone.parameters() if weight.requires_grad]
    if weights:
        network.train().features(_images(4, 1, size)).square().sum().backward()
        require(any(weight.grad is not None for weight in weights), "no weight receives a gradient")


def weights_come_from_the_generator(backbone: Backbone) -> None:
    """The same torch seed gives the same weights, and a state dict fits the same backbone."""
    (one, _), (two, _) = _network(backbone, 1), _network(backbone, 1)
    first, second = one.state_dict(), two.state_dict()
    same = first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    require(same, "two backbones with the same torch seed differ; draw weights from torch's generator")
    two.load_state_dict(first)


def missing_weights_are_refused(backbone: Backbone) -> None:
    """A missing weights file raises OptionsError: weights must not be ignored."""
    size = _network(backbone, 3)[1]
    channels = channels_after(backbone.input_norm, 3)
    try:
        with seeded_torch(1):
            backbone.build(channels, size, "/no/such/file.pt")
    except OptionsError:
        return
    raise AssertionError(
        "weights='/no/such/file.pt' is accepted; load the file (backbones.weights.load_file), or raise an OptionsError"
    )


def its_layers_have_names(backbone: Backbone) -> None:
    """Layers are found by name, for probes, filters and encoders."""
    network, size = _network(backbone, 1)
    layers = layers_of(network, _images(1, 1, size))
    require(layers, "no layers were found in the module")


def _network(backbone: Backbone, channels: int) -> tuple[Network, int]:
    """A network with random weights for the smallest side that the backbone accepts, and that side."""
    refused = ""
    for size in SIDES:
        try:
            with seeded_torch(1):
                network = build_network(backbone, backbone.input_norm, (channels, size))
        except OptionsError as error:
            refused = str(error)
            continue
        network.seed_dropout(1)
        return network, size
    raise AssertionError(f"it does not accept images of {' or '.join(map(str, SIDES))} pixels: {refused}")


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
"""All checks, in the order in which ``check_backbone`` runs them."""
