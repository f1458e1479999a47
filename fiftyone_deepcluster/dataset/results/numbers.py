"""The number of clusters of images, found without labels from a run or fields with vectors: ``recommend_number``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.api.fit_arguments import check_varied
from fiftyone_deepcluster.clusterers.candidates import UMAP
from fiftyone_deepcluster.clusterers.number import NumberSweep
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.progress import check_observer
from fiftyone_deepcluster.core.seeds import LARGEST_SEED
from fiftyone_deepcluster.dataset.io.fields import objects_prefix
from fiftyone_deepcluster.dataset.io.read_images import collect_images
from fiftyone_deepcluster.dataset.io.vectors import check_single, stored_vectors
from fiftyone_deepcluster.dataset.results.open_run import chosen_rows, embedded, images_of, store
from fiftyone_deepcluster.dataset.results.results_cache import Findings, has_findings
from fiftyone_deepcluster.dataset.runs.database import database_needed
from fiftyone_deepcluster.dataset.runs.kv import find, run_store
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
_OF_FIELDS = "numbers:"
_SEED = 51
_MOST_IMAGES = 10**9
_USUAL_LARGEST = 20
_IMAGES_PER_CLUSTER = 5


@dataclass(frozen=True)
class _Given:
    """Vectors to compare numbers of clusters on.

    Attributes:
        vectors: (M, D) float32.
        n_clusters: number of clusters of their run; 0: no run.
        seed: random seed.
        keep: stores the result.
    """

    vectors: NDArray[np.float32]
    n_clusters: int
    seed: int
    keep: Callable[[NumberSweep], object]


@database_needed("repeat the call")
def recommend_number(
    samples: fo.core.collections.SampleCollection,
    key: str | None = None,
    numbers: Sequence[int] | None = None,
    *,
    embeddings_field: str | Sequence[str] | None = None,
    seed: int | None = None,
    repetitions: int = 3,
    max_images: int | None = 5_000,
    reducer: Any = UMAP,
    clusterer: Any = "kmeans",
    observer: Observer | None = None,
) -> NumberSweep:
    """Cluster vectors into each of several numbers of clusters, and recommend one without labels.

    The vectors are the embeddings of a run, or those of fields. A run is not changed. The result is stored with the
    run, for the Clusters panel, or with the dataset, for the forms.

    Args:
        samples: the dataset, or a view whose images are used; of fields of objects, a patches view.
        key: key of the run; None: ``embeddings_field`` is given.
        numbers: numbers of clusters; None: from 2 to twice the run's, at least to 20, as far as there are five images
            for each cluster.
        embeddings_field: field with a vector for each image, or several fields, which get the same weight. No run is
            needed.
        seed: random seed; None: that of the run, or 51.
        repetitions: number of seeds; each has its own reduction.
        max_images: maximum number of images, 20 or more, drawn at random; None: all.
        reducer: name or dictionary of a reducer.
        clusterer: name or dictionary of a clusterer that needs a number.
        observer: receives progress events; can cancel.

    Raises:
        RunNotFoundError: no such run.
        RunError: its embeddings were deleted.
        InputError: both or none of ``key`` and ``embeddings_field``, no such field, fewer than 20 images with a
            vector, or another wrong argument.
        OptionsError: the reducer or clusterer is unknown, or has a wrong option.
    """
    from fiftyone_deepcluster.clusterers.number import sweep_numbers

    if (key is None) == (embeddings_field is None):
        raise InputError(
            f"key={arguments.short(key)} and embeddings_field={arguments.short(embeddings_field)}: give one of the "
            "two, the key of a run or a field with vectors"
        )
    if max_images is not None:
        max_images = arguments.whole_number("max_images", max_images, FEWEST_IMAGES, _MOST_IMAGES)
    if seed is not None:
        seed = arguments.whole_number("seed", seed, 0, LARGEST_SEED)
    check_observer(observer)
    if embeddings_field is None:
        given = _of_run(samples, arguments.one_name("key", key, "dc"), max_images, seed)
    else:
        given = _of_fields(samples, embeddings_field, max_images, _SEED if seed is None else seed)
    found = sweep_numbers(
        given.vectors,
        usual_numbers(len(given.vectors), given.n_clusters) if numbers is None else numbers,
        seed=given.seed,
        repetitions=repetitions,
        reducer=reducer,
        clusterer=clusterer,
        observer=observer,
    )
    given.keep(found)
    return found


def stored_sweep(run: Run) -> NumberSweep | None:
    """Stored result of ``recommend_number``; None if there is none."""
    found = Findings(run).load(_NUMBERS)
    return None if found is None else _adapter().validate_python(found)


def latest_sweep(dataset: fo.Dataset, patches_field: str | None = None) -> tuple[str, NumberSweep] | None:
    """Key and stored sweep of the newest finished run that has one; None if no run has.

    Args:
        dataset: the dataset.
        patches_field: of the run: Detections field whose objects were clustered; None: whole images were.
    """
    for key in reversed(finished_runs(dataset)):
        if has_findings(dataset, key, _NUMBERS):
            run = load_run(dataset, key)
            found = stored_sweep(run)
            if found is not None and run.patches_field == patches_field:
                return key, found
    return None


def sweep_of_fields(
    dataset: fo.Dataset, fields: Sequence[str] = (), patches_field: str | None = None
) -> tuple[list[str], NumberSweep] | None:
    """Fields and stored sweep of these fields, by default the newest of any; None if there is none.

    Sweeps of fields that are no longer there are not found.

    Args:
        dataset: the dataset.
        fields: names of the fields; empty: any.
        patches_field: Detections field whose objects have the vectors; None: the images have them.
    """
    prefix = objects_prefix(patches_field)
    stored = find(dataset, f"^{_OF_FIELDS}").values()
    there = dataset.get_field_schema(flat=True)
    for each in sorted(stored, key=lambda each: -float(each["time"])):
        known = each["prefix"] == prefix and all(prefix + name in there for name in each["fields"])
        if known and (not fields or set(fields) == set(each["fields"])):
            return each["fields"], _adapter().validate_python(each["found"])
    return None


def usual_numbers(n: int, n_clusters: int) -> list[int]:
    """The numbers that are tried by default for ``n`` images in ``n_clusters`` clusters; 0: no run."""
    from fiftyone_deepcluster.clusterers.number import numbers_between

    return numbers_between(2, largest_number(n, n_clusters))


def largest_number(n: int, n_clusters: int) -> int:
    """The largest number that is tried by default."""
    return max(3, min(max(_USUAL_LARGEST, 2 * n_clusters), n // _IMAGES_PER_CLUSTER))


def _of_run(
    samples: fo.core.collections.SampleCollection, key: str, max_images: int | None, seed: int | None
) -> _Given:
    """Embeddings of the run's images in ``samples``."""
    import numpy as np

    run = load_run(samples, key)
    seed = run.options.seed if seed is None else seed
    source = images_of(run)
    stored = embedded(run, source)
    rows = np.array([row for row in chosen_rows(source, samples) if stored[row] is not None], np.int64)
    rows = _drawn(rows, max_images, seed, f"images of run {run.key!r} have an embedding")
    vectors = np.stack([np.asarray(stored[row], np.float32) for row in rows])

    def keep(found: NumberSweep) -> None:
        content = _adapter().dump_python(found, mode="json")
        store(run, "recommend_number", lambda now: Findings(now).save(_NUMBERS, content))

    return _Given(vectors, run.n_clusters, seed, keep)


def _of_fields(
    samples: fo.core.collections.SampleCollection,
    fields: str | Sequence[str],
    max_images: int | None,
    seed: int,
) -> _Given:
    """Vectors of the images in ``samples`` from fields."""
    import numpy as np

    source = collect_images(samples)
    names = arguments.names("embeddings_field", fields, "embedding", ordered=True)
    fields = fields if isinstance(fields, str) else names  # a generator can be read once
    vectors, _ = stored_vectors(source, fields)
    shown = arguments.short(fields if isinstance(fields, str) else names)
    check_single(vectors, fields)
    check_varied(vectors, f"embeddings_field={shown}")
    rows = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    rows = _drawn(rows, max_images, seed, f"images have a vector in embeddings_field={shown}")

    def keep(found: NumberSweep) -> None:
        prefix = objects_prefix(source.patches_field)
        content = _adapter().dump_python(found, mode="json")
        stored = {"fields": names, "prefix": prefix, "time": time.time(), "found": content}
        run_store(source.dataset).set(f"{_OF_FIELDS}{prefix}{','.join(names)}", stored)

    return _Given(vectors[rows], 0, seed, keep)


def _drawn(rows: NDArray[np.int64], max_images: int | None, seed: int, what: str) -> NDArray[np.int64]:
    """At most ``max_images`` of the rows, drawn at random, ascending.

    Raises:
        InputError: fewer than 20; the message begins with ``what`` they are.
    """
    import numpy as np

    from fiftyone_deepcluster.core.seeds import rng

    if len(rows) < FEWEST_IMAGES:
        raise InputError(f"{len(rows)} {what}; give {FEWEST_IMAGES} or more to compare numbers of clusters")
    if max_images is None or len(rows) <= max_images:
        return rows
    return np.sort(rng(seed, "numbers").choice(rows, max_images, replace=False))


def _adapter() -> TypeAdapter[NumberSweep]:
    from pydantic import TypeAdapter

    return TypeAdapter(NumberSweep)
