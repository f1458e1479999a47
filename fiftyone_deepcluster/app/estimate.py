"""How many images a form would cluster, and roughly how long that takes."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.api.baselines import expected_seconds
from fiftyone_deepcluster.backbones.base import SMALL_SIDE
from fiftyone_deepcluster.core.progress import duration_text

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.methods.base import Options

_SPEED = {(True, False): 2500.0, (False, False): 15.0, (True, True): 30_000.0, (False, True): 800.0}
"""Images per second in training by (small images, GPU), as an order of magnitude: a small network up to 64 pixels,
else AlexNet at 224 pixels; on two cores, or on a large GPU."""
_APPLY_FASTER = 3.0
_USUAL_ROUNDS, _LEAST_IMAGES = 5, 60 * 128
_START_SECONDS = 15.0


def count_images(samples: fo.core.collections.SampleCollection, patches_field: str | None) -> int:
    """Number of images, or of objects of a field, in a view."""
    import fiftyone as fo

    if patches_field:
        return int(samples.count(f"{patches_field}.detections"))
    if isinstance(samples, fo.Dataset) or not samples._stages:
        return int(samples._dataset._sample_collection.estimated_document_count())
    return int(samples.count())


def estimate_text(
    samples: fo.core.collections.SampleCollection, n: int, options: Options | None, *, objects: bool
) -> str:
    """``1,797 images; roughly 2 min on this machine``; without a time where it is not known.

    Args:
        samples: the view.
        n: number of images.
        options: method and options; None: not valid yet.
        objects: whether the images are objects of a field.
    """
    unit = ("object" if objects else "image") + ("" if n == 1 else "s")
    seconds = None if options is None else _seconds(samples, n, options)
    if seconds is None:
        return f"{n:,} {unit}"
    limit = options.max_minutes if options is not None else None
    if limit is not None and 60 * limit < seconds:
        return f"{n:,} {unit}; ends after the round in which {duration_text(60 * limit)} have passed"
    return f"{n:,} {unit}; roughly {duration_text(seconds)} on this machine"


def _seconds(samples: fo.core.collections.SampleCollection, n: int, options: Options) -> float | None:
    rounds = options.planned_rounds or _USUAL_ROUNDS
    closing = expected_seconds(n) if options.baselines else 0.0
    known = _as_before(samples._dataset, n, options)
    if known is not None:
        return _START_SECONDS + rounds * known + closing
    side = _side(samples)
    if side is None:
        return None
    gpu = shutil.which("nvidia-smi") is not None and options.device != "cpu"
    weights = getattr(options, "weights", None)
    shrunk = options.name == "auto" and weights is None and not gpu  # see methods.auto
    speed = _SPEED[(options.image_size or side) <= SMALL_SIDE or shrunk, gpu]
    applied = n / (_APPLY_FASTER * speed)
    trained = max(n * getattr(options, "epochs", 1), _LEAST_IMAGES) / speed if options.trains else 0.0
    return _START_SECONDS + applied + (rounds * (trained + applied) if options.trains else 0.0) + closing


def _as_before(dataset: fo.Dataset, n: int, options: Options) -> float | None:
    """Seconds of a round, from the last run of this method on this dataset."""
    from fiftyone_deepcluster.dataset.runs import status, storage

    finished = storage.keys(dataset)
    states = [state for state in status.read_states(dataset).values() if state.method == options.name]
    for state in sorted(states, key=lambda state: -state.started):
        seconds: list[Any] = [entry["seconds"] for entry in state.metrics]
        if state.key in finished and seconds and options.trains:
            before = storage.header_of(dataset, state.key)[0].n_samples
            return float(sum(seconds) / len(seconds) * n / max(1, before))
    return None


def _side(samples: fo.core.collections.SampleCollection) -> int | None:
    """Longer side of the first image in pixels; None: not known without decoding."""
    from PIL import Image, UnidentifiedImageError

    first = next(iter(samples.limit(1).values("filepath")), "")
    try:
        with Image.open(first) as image:
            return max(image.size)
    except (OSError, UnidentifiedImageError, ValueError, AttributeError, Image.DecompressionBombError):
        return None
