"""The number of clusters of a run's images, found without labels: ``recommend_number``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.clusterers.candidates import UMAP
from fiftyone_deepcluster.clusterers.number import NumberSweep
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.progress import check_observer
from fiftyone_deepcluster.dataset.results.open_run import chosen_rows, embedded, images_of, store
from fiftyone_deepcluster.dataset.results.results_cache import Findings, has_findings
from fiftyone_deepcluster.dataset.runs.database import database_needed
from fiftyone_deepcluster.dataset.runs.run import Run, finished_runs, load_run
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import fiftyone as fo
    import numpy as np
    from numpy.typing import NDArray
    from pydantic import TypeAdapter

    from fiftyone_deepcluster.core.progress import Observer

FEWEST_IMAGES = 20
"""Minimum number of images."""

_NUMBERS = "numbers"
_MOST_IMAGES = 10**9
_USUAL_LARGEST = 20
_IMAGES_PER_CLUSTER = 5


@database_needed("repeat the call")
def recommend_number(
    samples: fo.core.collections.SampleCollection,
    key: str,
    numbers: Sequence[int] | None = None,
    *,
    repetitions: int = 3,
    max_images: int | None = 5_000,
    reducer: Any = UMAP,
    clusterer: Any = "kmeans",
    observer: Observer | None = None,
) -> NumberSweep:
    """Cluster the embeddings of a run into each of several numbers of clusters, and recommend one without labels.

    The run itself is not changed. The result is stored with it, for the Clusters panel.

    Args:
        samples: the dataset, or a view whose images are used.
        key: key of the run.
        numbers: numbers of clusters; None: from 2 to twice the run's, at least to 20, as far as there are five images
            for each cluster.
        repetitions: number of seeds; each has its own reduction.
        max_images: maximum number of images, 20 or more, drawn at random; None: all.
        reducer: name or dictionary of a reducer.
        clusterer: name or dictionary of a clusterer that needs a number.
        observer: receives progress events; can cancel.

    Raises:
        RunNotFoundError: no such run.
        RunError: its embeddings were deleted.
        InputError: fewer than 20 images with an embedding, or another wrong argument.
        OptionsError: the reducer or clusterer is unknown, or has a wrong option.
    """
    from fiftyone_deepcluster.clusterers.number import sweep_numbers

    if max_images is not None:
        max_images = arguments.whole_number("max_images", max_images, FEWEST_IMAGES, _MOST_IMAGES)
    check_observer(observer)
    run = load_run(samples, key)
    vectors = _vectors(run, samples, max_images)
    found = sweep_numbers(
        vectors,
        usual_numbers(len(vectors), run.n_clusters) if numbers is None else numbers,
        seed=run.options.seed,
        repetitions=repetitions,
        reducer=reducer,
        clusterer=clusterer,
        observer=observer,
    )
    content = _adapter().dump_python(found, mode="json")
    store(run, "recommend_number", lambda now: Findings(now).save(_NUMBERS, content))
    return found


def stored_sweep(run: Run) -> NumberSweep | None:
    """Stored result of ``recommend_number``; None if there is none."""
    found = Findings(run).load(_NUMBERS)
    return None if found is None else _adapter().validate_python(found)


def latest_sweep(dataset: fo.Dataset) -> tuple[str, NumberSweep] | None:
    """Key and stored sweep of the newest finished run that has one; None if no run has."""
    for key in reversed(finished_runs(dataset)):
        if has_findings(dataset, key, _NUMBERS):
            found = stored_sweep(load_run(dataset, key))
            if found is not None:
                return key, found
    return None


def usual_numbers(n: int, n_clusters: int) -> list[int]:
    """The numbers that are tried by default for ``n`` images in ``n_clusters`` clusters."""
    from fiftyone_deepcluster.clusterers.number import numbers_between

    return numbers_between(2, largest_number(n, n_clusters))


def largest_number(n: int, n_clusters: int) -> int:
    """The largest number that is tried by default."""
    return max(3, min(max(_USUAL_LARGEST, 2 * n_clusters), n // _IMAGES_PER_CLUSTER))


def _vectors(
    run: Run, samples: fo.core.collections.SampleCollection, max_images: int | None
) -> NDArray[np.float32]:
    """(M, D) embeddings of at most ``max_images`` of the run's images in ``samples``."""
    import numpy as np

    from fiftyone_deepcluster.core.seeds import rng

    source = images_of(run)
    stored = embedded(run, source)
    rows = np.array([row for row in chosen_rows(source, samples) if stored[row] is not None], np.int64)
    if len(rows) < FEWEST_IMAGES:
        raise InputError(
            f"{len(rows)} images of run {run.key!r} have an embedding; give {FEWEST_IMAGES} or more to compare numbers "
            "of clusters"
        )
    if max_images is not None and len(rows) > max_images:
        rows = np.sort(rng(run.options.seed, "numbers").choice(rows, max_images, replace=False))
    return np.stack([np.asarray(stored[row], np.float32) for row in rows])


def _adapter() -> TypeAdapter[NumberSweep]:
    from pydantic import TypeAdapter

    return TypeAdapter(NumberSweep)
