"""How many images a form would cluster, and roughly how long that takes."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.api.baselines import expected_seconds
from fiftyone_deepcluster.backbones.base import SMALL_SIDE
from fiftyone_deepcluster.core.progress import duration_text
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.images.inspect import ImageFacts

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
    """``1,797 images; roughly 2 min on this machine``, for ``auto`` with its choice; no time where it is not known.

    Args:
        samples: the view.
        n: number of images.
        options: method and options; None: not valid yet.
        objects: whether the images are objects of a field.
    """
    unit = ("object" if objects else "image") + ("" if n == 1 else "s")
    chosen = None if options is None else _chosen(samples, n, options)
    seconds = None if options is None else _seconds(samples, n, options, chosen)
    if options is None or seconds is None:
        return f"{n:,} {unit}"
    limit = options.max_minutes
    if limit is not None and 60 * limit < seconds:
        return f"{n:,} {unit}; ends after the round in which {duration_text(60 * limit)} have passed"
    method = f" with {chosen.name!r}" if chosen is not None and chosen.name != options.name else ""
    return f"{n:,} {unit}; roughly {duration_text(seconds)} on this machine{method}"


def _chosen(samples: fo.core.collections.SampleCollection, n: int, options: Options) -> Options | None:
    """The options of the method that runs; None: not known without decoding an image."""
    side = _side(samples)
    if side is None:
        return None
    facts = ImageFacts(n=n, side=side, gray=False, height=side, width=side)
    try:
        chosen = options.chosen_for(facts, accelerated=_accelerated(options))
    except OptionsError:
        return None
    return chosen.model_copy(update={"image_size": chosen.image_size or side})


def _seconds(
    samples: fo.core.collections.SampleCollection, n: int, options: Options, chosen: Options | None
) -> float | None:
    closing = expected_seconds(n) if options.baselines else 0.0
    known = _as_before(samples._dataset, n, options)
    if known is not None:
        planned = options if chosen is None else chosen
        return _START_SECONDS + (planned.planned_rounds or _USUAL_ROUNDS) * known + closing
    if chosen is None:
        return None
    speed = _SPEED[(chosen.image_size or SMALL_SIDE) <= SMALL_SIDE, _accelerated(options)]
    applied = n * chosen.views_of_an_image / (_APPLY_FASTER * speed)
    if not chosen.trains:
        return _START_SECONDS + applied + closing
    trained = max(n * getattr(chosen, "epochs", 1), _LEAST_IMAGES) / speed
    each = chosen.trained_share * (trained + applied)
    return _START_SECONDS + applied + (chosen.planned_rounds or _USUAL_ROUNDS) * each + closing


def _accelerated(options: Options) -> bool:
    return shutil.which("nvidia-smi") is not None and options.device != "cpu"


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
