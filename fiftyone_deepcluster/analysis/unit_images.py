"""Visualization of a layer's units: images that maximize a unit, and images of the dataset with the highest activation.

Regularized gradient ascent in the pixels, as Caron et al. (2018), section 4.2, after Yosinski et al. (2015):
start from noise, follow the normalized gradient, decay towards gray, and blur every few steps. The activation
of a unit is its mean over the map, after the activation function. A unit with zero activation on the noise has no
gradient there; its value before the activation function is maximized instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ConfigDict, Field

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.given_values import GivenValues
from fiftyone_deepcluster.errors import CancelledError, InputError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.backbones.layers import Layer
    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.features.corpus import Corpus

N_TOP = 9
"""Top images per unit, as in the paper."""

_TOGETHER = 32
"""Units per batch of gradient ascent."""


class Ascent(GivenValues):
    """Options of the gradient ascent.

    The released code blurs by 0.3 pixels every 5 of many thousand steps, at 224 pixels. With some hundred steps,
    and on small images, stronger blur is needed to obtain more than noise.

    Attributes:
        steps: number of gradient ascent steps.
        rate: root mean square change of a pixel in the first step, in the range 0..1; it decays to a tenth.
        decay: decay towards gray, in addition to the gradient of the activation.
        blur: standard deviation in pixels of the Gaussian.
        blur_every: steps between blurs.
        seed: of the noise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: int = Field(300, ge=1, le=100_000)
    rate: float = Field(0.02, gt=0, le=1)
    decay: float = Field(1e-5, ge=0)
    blur: float = Field(1.0, ge=0, le=10)
    blur_every: int = Field(4, ge=1)
    seed: int = Field(51, ge=0)


@dataclass(frozen=True)
class UnitImages:
    """Images that maximize the units of a layer.

    Attributes:
        units: (U,) indices of the units.
        images: (U, H, W, C) float32 in 0..1.
        activations: (U,) float32, of the images.
        start: (U,) float32, of the initial noise.
        silent: (U,) bool, units with zero activation on the noise: their values before the activation
            function were maximized, and both activations are these values.
    """

    units: NDArray[np.int64]
    images: NDArray[np.float32]
    activations: NDArray[np.float32]
    start: NDArray[np.float32]
    silent: NDArray[np.bool_]


@dataclass(frozen=True)
class TopImages:
    """The images of the dataset with the highest activation of each unit.

    Attributes:
        rows: (U, n) rows in the corpus, highest activation first.
        activations: (U, n) float32, means over the map.
    """

    rows: NDArray[np.int64]
    activations: NDArray[np.float32]


def spread_units(layer: Layer, n: int) -> NDArray[np.int64]:
    """At most ``n`` units of a layer, evenly spaced."""
    return np.unique(np.linspace(0, layer.units - 1, min(n, layer.units)).round().astype(np.int64))


def check_units(layer: Layer, units: Sequence[int]) -> NDArray[np.int64]:
    """The units as an array.

    Raises:
        InputError: not a list of integers, empty, or a unit that the layer does not have.
    """
    given = arguments.listed(units)
    if given is None:
        raise InputError(
            f"units={arguments.short(units)} is not a list; give indices of units, such as [0, 1]"
        )
    chosen = [arguments.whole_number("units", unit, 0) for unit in given]
    check_in_layer(layer.name, layer.units, chosen)
    return np.array(chosen, np.int64)


def check_in_layer(layer: str, n_units: int, units: Sequence[int]) -> None:
    """Raise InputError if there are no units, or one that the layer, which has ``n_units``, does not have."""
    wrong = [unit for unit in units if unit >= n_units]
    if not units or wrong:
        what = f"has {wrong[0]}" if wrong else "is empty"
        raise InputError(f"units {what}; the layer {layer!r} has the units 0 to {n_units - 1}")


def maximize(corpus: Corpus, layer: Layer, units: NDArray[np.int64], ascent: Ascent) -> UnitImages:
    """Compute a maximizing image of each unit by gradient ascent from noise.

    Args:
        corpus: its network, image size, channels and observer are used; no image is read.
        layer: layer of the network.
        units: (U,) indices.
        ascent: steps, learning rate, regularization.

    Raises:
        CancelledError: the observer requested cancellation.
    """
    import torch

    corpus.network.eval()
    noise = _noise(corpus, len(units), ascent.seed)
    chosen = torch.from_numpy(units).to(noise.device)
    silent = _silent(corpus.network, layer, noise, chosen)
    images, reached, start = noise.clone(), torch.zeros(len(units)), torch.zeros(len(units))
    corpus.observer.phase("filters", len(units) * ascent.steps)
    for raw in (False, True):
        for rows in (silent == raw).nonzero()[:, 0].split(_TOGETHER):
            if len(rows):
                at = rows.to(noise.device)
                excite = _excitement(corpus.network, layer, chosen[at], raw)
                images[at], reached[rows], start[rows] = _gradient_ascent(
                    excite, noise[at], ascent, corpus.observer
                )
    pixels = images.permute(0, 2, 3, 1).cpu().numpy()
    return UnitImages(units, pixels, reached.numpy(), start.numpy(), silent.numpy())


def top_images(corpus: Corpus, layer: Layer, units: NDArray[np.int64], n: int = N_TOP) -> TopImages:
    """The ``n`` images of the corpus whose mean activation over the map of each unit is largest.

    Streamed: only the best images so far are kept.
    """
    import torch

    from fiftyone_deepcluster.backbones.layers import capture_outputs

    corpus.network.eval()
    device = corpus.compute.device
    chosen = torch.from_numpy(units).to(device)
    best = torch.full((len(units), 0), 0.0, device=device)
    rows = torch.zeros((len(units), 0), dtype=torch.int64, device=device)
    corpus.observer.phase("top images", len(corpus))
    with torch.inference_mode():
        for batch in corpus.plain_batches(np.arange(len(corpus))):
            (found,) = capture_outputs(
                corpus.network, batch.images, [layer], lambda output: _means(output)[:, chosen]
            )
            best = torch.cat([best, found.T], 1)
            rows = torch.cat([rows, batch.rows.to(device).expand(len(units), -1)], 1)
            best, order = best.topk(min(n, best.shape[1]), dim=1)
            rows = rows.gather(1, order)
    return TopImages(rows.cpu().numpy(), best.cpu().numpy())


def activations(
    network: Network, layer: Layer, images: torch.Tensor, units: torch.Tensor, *, raw: bool = False
) -> torch.Tensor:
    """(B,) mean activation over the map, of image b for unit ``units[b]``.

    Args:
        network: in evaluation mode.
        layer: layer of the network.
        images: (B, C, H, W) float in 0..1.
        units: (B,) int64.
        raw: use the values before the activation function.
    """
    from fiftyone_deepcluster.backbones.layers import capture_outputs

    (found,) = capture_outputs(
        network, images, [layer], lambda output: _means(output).gather(1, units[:, None])[:, 0], raw=raw
    )
    return found


def _means(output: torch.Tensor) -> torch.Tensor:
    """(B, U) float32 mean of every unit over the positions of the map."""
    from fiftyone_deepcluster.backbones.layers import as_maps

    return as_maps(output).float().mean(2)


def _excitement(
    network: Network, layer: Layer, units: torch.Tensor, raw: bool
) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda images: activations(network, layer, images, units, raw=raw)


def _silent(network: Network, layer: Layer, noise: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """(U,) bool on the CPU: the layer has an activation function and the unit's output is zero."""
    import torch

    if layer.raw_path == layer.path:
        return torch.zeros(len(units), dtype=torch.bool)
    parts = zip(noise.split(_TOGETHER), units.split(_TOGETHER), strict=True)
    with torch.inference_mode():
        return torch.cat([activations(network, layer, images, part) <= 0 for images, part in parts]).cpu()


def _noise(corpus: Corpus, n: int, seed: int) -> torch.Tensor:
    """(n, C, size, size) noise: gray 128 with a standard deviation of 20 of 255, different for every unit."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    shape = (n, corpus.store.shape[3], corpus.size, corpus.size)
    noise = (128 + 20 * torch.randn(shape, generator=generator)) / 255
    return noise.clamp(0, 1).to(corpus.compute.device)


def _gradient_ascent(
    excite: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, ascent: Ascent, observer: Observer
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradient ascent; the best image of all steps, its activation, and that of the initial noise."""
    import torch

    numbers = math.prod(images.shape[1:])
    best = images
    start = reached = torch.full((len(images),), -math.inf, device=images.device)
    for step in range(ascent.steps + 1):
        if observer.cancelled():
            raise CancelledError("cancelled; no unit image was stored")
        images = images.detach().requires_grad_(True)
        found = excite(images)
        with torch.no_grad():
            start = found.detach() if step == 0 else start
            better = found > reached
            best = torch.where(better[:, None, None, None], images.detach(), best)
            reached = torch.where(better, found.detach(), reached)
        if step == ascent.steps:
            break
        penalty = ascent.decay * (images - 0.5).square().sum()
        (gradient,) = torch.autograd.grad(found.sum() - penalty, images)
        length = gradient.flatten(1).norm(dim=1).add(1e-8)[:, None, None, None]
        rate = ascent.rate * (1 - 0.9 * step / ascent.steps) * math.sqrt(numbers)
        images = (images.detach() + rate * gradient / length).clamp(0, 1)
        if ascent.blur and (step + 1) % ascent.blur_every == 0:
            images = _blurred(images, ascent.blur)
        observer.advance(len(images))
    return best.detach(), reached.cpu(), start.cpu()


def _blurred(images: torch.Tensor, deviation: float) -> torch.Tensor:
    """Every channel blurred by a Gaussian, truncated at three standard deviations."""
    import torch
    from torch.nn import functional

    reach = max(1, math.ceil(3 * deviation))
    places = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    line = torch.exp(-places.square() / (2 * deviation**2))
    line = line / line.sum()
    channels = images.shape[1]
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    along = functional.conv2d(padded, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return functional.conv2d(along, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
