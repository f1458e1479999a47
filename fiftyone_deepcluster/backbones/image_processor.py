"""Mean and deviation of pixels that a model of transformers states in a file beside its weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from fiftyone_deepcluster.core.arguments import reason_of, short

_FILES = ("preprocessor_config.json", "processor_config.json")


class PixelStatistics(NamedTuple):
    """What a model states about its pixels.

    Attributes:
        mean: of pixels in 0..1, one number for each of three channels; None: it states none.
        std: their deviation.
        problem: why the file with them cannot be used, or that there is none; empty where they are known.
    """

    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    problem: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether none are stated, rather than stated in a file that is broken."""
        return self.problem in (_MISSING, _UNSTATED)


_MISSING = f"it has no {_FILES[0]}"
_UNSTATED = "its image processor states no image_mean or no image_std"


def pixel_statistics(library: Any, name: str) -> PixelStatistics:
    """Mean and deviation as the image processor of the model ``name`` of the library transformers states them."""
    path = _file(name)
    try:
        if path is not None:
            # transformers' message about a file that is cut says that there is none
            json.loads(path.read_text())
        processor = library.AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
        return _stated(processor)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        path = path or _file(name)  # of the hub, downloaded just now
        if path is None:
            return PixelStatistics(None, None, _MISSING)
        problem = f"its file {str(path)!r} is broken ({reason_of(error)})"
        return PixelStatistics(None, None, problem)


def _stated(processor: Any) -> PixelStatistics:
    """Statistics of an image processor.

    Raises:
        ValueError: they are no three numbers, or deviations of 0.
        TypeError: they are no numbers.
    """
    if getattr(processor, "do_normalize", True) is False:
        return PixelStatistics((0.0,) * 3, (1.0,) * 3)
    mean, std = getattr(processor, "image_mean", None), getattr(processor, "image_std", None)
    if mean is None or std is None:
        return PixelStatistics(None, None, _UNSTATED)
    # it normalizes what it has scaled, by 1/255 in most cases
    scale = 255 * processor.rescale_factor if getattr(processor, "do_rescale", True) else 255.0
    if not scale > 0:
        raise ValueError(f"rescale_factor={processor.rescale_factor} is not above 0")
    means, stds = _three("image_mean", mean), _three("image_std", std)
    if min(stds) <= 0:
        raise ValueError(f"image_std={short(std)} is not above 0")
    return PixelStatistics(tuple(m / scale for m in means), tuple(s / scale for s in stds))


def _three(name: str, value: Any) -> tuple[float, ...]:
    """A number for each of three channels; one number is that of all."""
    numbers = value if isinstance(value, list | tuple) else [value]
    found = tuple(float(number) for number in numbers)
    if len(found) not in (1, 3) or not all(map(math.isfinite, found)):
        raise ValueError(f"{name}={short(value)} are not three finite numbers")
    return found * 3 if len(found) == 1 else found


def _file(name: str) -> Path | None:
    """The file with the statistics in the model's folder, or in the hub's cache; None if there is none."""
    if Path(name).is_dir():
        there = [path for path in (Path(name) / file for file in _FILES) if path.exists()]
        return next(filter(_is_of_images, there), None)
    from huggingface_hub import try_to_load_from_cache

    cached = (try_to_load_from_cache(name, file) for file in _FILES)
    return next(filter(_is_of_images, (Path(path) for path in cached if isinstance(path, str))), None)


def _is_of_images(path: Path) -> bool:
    """Whether a file is about pixels: the second of ``_FILES`` may be about texts only. One that is cut counts."""
    if path.name == _FILES[0]:
        return True
    try:
        return "image_processor" in json.loads(path.read_text())
    except (OSError, ValueError):
        return True
