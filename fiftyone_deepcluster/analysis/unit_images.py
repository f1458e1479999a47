"""What the units of a layer look for: images that maximize a unit, and the images of the set that excite it most.

Regularized gradient ascent in the pixels, as Caron et al. (2018), section 4.2, after Yosinski et al. (2015):
start from noise, follow the gradient at unit length, pull towards gray, and blur every few steps. The activation
of a unit is its mean over the map, after the activation function; a unit that is silent on the noise gives no
gradient there, and is followed before the activation function instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.errors import CancelledError, InputError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.backbones.layers import Layer
    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.features.corpus import Corpus

N_TOP = 9
"""Images of the set shown for a unit, as the paper does."""

_TOGETHER = 32
"""Units whose images are made in one batch."""


class Ascent(BaseModel):
    """How images are made that maximize a unit.

    The released code blurs by 0.3 pixels every 5 of many thousand steps, at 224 pixels. With some hundred steps,
    and on small images, more is needed before one sees more than noise.

    Attributes:
        steps: of gradient ascent.
        rate: change of a pixel in the first step, root mean square, of the range 0..1; it falls to a tenth.
        decay: pull towards gray, beside the gradient of the activation.
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
    """Images made for the units of a layer.

    Attributes:
        units: (U,) numbers of the units.
        images: (U, H, W, C) float32 in 0..1.
        activations: (U,) float32, of the images.
        start: (U,) float32, of the noise they began as.
        silent: (U,) bool, units that did not answer to the noise: they were followed before the activation
            function, and both figures are from there.
    """

    units: NDArray[np.int64]
    images: NDArray[np.float32]
    activations: NDArray[np.float32]
    start: NDArray[np.float32]
    silent: NDArray[np.bool_]


@dataclass(frozen=True)
class TopImages:
    """The images of the set that excite units most.

    Attributes:
        rows: (U, n) rows in the corpus, the most exciting first.
        activations: (U, n) float32, means over the map.
    """

    rows: NDArray[np.int64]
    activations: NDArray[np.float32]


def spread_units(layer: Layer, n: int) -> NDArray[np.int64]:
    """At most ``n`` units of a layer, evenly spread."""
    return np.unique(np.linspace(0, layer.units - 1, min(n, layer.units)).round().astype(np.int64))


def check_units(layer: Layer, units: Sequence[int]) -> NDArray[np.int64]:
    """The units as an array.

    Raises:
        InputError: no list of whole numbers, none, or a number that the layer does not have.
    """
    if isinstance(units, str) or not isinstance(units, Iterable):
        raise InputError(
            f"units={arguments.short(units)} is no list; give the numbers of units, such as [0, 1]"
        )
    chosen = np.array([arguments.whole_number("units", unit, 0) for unit in units], np.int64)
    wrong = chosen[chosen >= layer.units]
    if not len(chosen) or len(wrong):
        what = f"has {wrong[0]}" if len(wrong) else "is empty"
        raise InputError(f"units {what}; the layer {layer.name!r} has the units 0 to {layer.units - 1}")
    return chosen


def maximize(corpus: Corpus, layer: Layer, units: NDArray[np.int64], ascent: Ascent) -> UnitImages:
    """Make one image a unit, by gradient ascent from noise.

    Args:
        corpus: its network, its image size and channels, its observer; no image is read.
        layer: of the network.
        units: (U,) numbers.
        ascent: steps, rate, regularization.

    Raises:
        CancelledError: the observer asked to stop.
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
                images[at], reached[rows], start[rows] = _climb(excite, noise[at], ascent, corpus.observer)
    pixels = images.permute(0, 2, 3, 1).cpu().numpy()
    return UnitImages(units, pixels, reached.numpy(), start.numpy(), silent.numpy())


def top_images(corpus: Corpus, layer: Layer, units: NDArray[np.int64], n: int = N_TOP) -> TopImages:
    """The ``n`` images of the corpus whose mean activation over the map of each unit is largest.

    Streamed: only the best so far are kept.
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
        layer: of it.
        images: (B, C, H, W) float in 0..1.
        units: (B,) int64.
        raw: before the activation function.
    """
    from fiftyone_deepcluster.backbones.layers import capture_outputs

    (found,) = capture_outputs(
        network, images, [layer], lambda output: _means(output).gather(1, units[:, None])[:, 0], raw=raw
    )
    return found


def _means(output: torch.Tensor) -> torch.Tensor:
    """(B, U) float32 mean over the places of every unit."""
    from fiftyone_deepcluster.backbones.layers import as_maps

    return as_maps(output).float().mean(2)


def _excitement(
    network: Network, layer: Layer, units: torch.Tensor, raw: bool
) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda images: activations(network, layer, images, units, raw=raw)


def _silent(network: Network, layer: Layer, noise: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """(U,) bool on the CPU: an activation function follows, and nothing comes through it."""
    import torch

    if layer.raw_path == layer.path:
        return torch.zeros(len(units), dtype=torch.bool)
    parts = zip(noise.split(_TOGETHER), units.split(_TOGETHER), strict=True)
    with torch.inference_mode():
        return torch.cat([activations(network, layer, images, part) <= 0 for images, part in parts]).cpu()


def _noise(corpus: Corpus, n: int, seed: int) -> torch.Tensor:
    """(n, C, size, size): gray 128 with a deviation of 20 of 255, another image for every unit."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    shape = (n, corpus.store.shape[3], corpus.size, corpus.size)
    noise = (128 + 20 * torch.randn(shape, generator=generator)) / 255
    return noise.clamp(0, 1).to(corpus.compute.device)


def _climb(
    excite: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, ascent: Ascent, observer: Observer
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradient ascent; the best image of the way, its activation, and that of the start."""
    import torch

    numbers = math.prod(images.shape[1:])
    best = images
    start = reached = torch.full((len(images),), -math.inf, device=images.device)
    for step in range(ascent.steps + 1):
        if observer.cancelled():
            raise CancelledError("cancelled; no filter was drawn")
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
    """Every channel blurred by a Gaussian, cut off at three deviations."""
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
