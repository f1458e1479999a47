"""Nearest neighbors of a run's images, before and after training: ``retrieve``, ``retrieval_score``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from pydantic import BaseModel, ConfigDict

from fiftyone_deepcluster.analysis.retrieval import RetrievalScore
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.progress import check_observer, observer_or_silent
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.dataset.io.read_fields import read_truth
from fiftyone_deepcluster.dataset.results.open_run import (
    chosen_rows,
    embedded,
    has_initial,
    images_of,
    open_run,
    store,
    storing,
)
from fiftyone_deepcluster.dataset.results.results_cache import Findings
from fiftyone_deepcluster.dataset.runs.database import database_needed
from fiftyone_deepcluster.dataset.runs.run import Run, load_run
from fiftyone_deepcluster.dataset.runs.storage import AGAIN
from fiftyone_deepcluster.errors import InputError, RunLockedError

if TYPE_CHECKING:
    import fiftyone as fo
    import numpy as np
    import pandas as pd
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.io.source import SampleSource

FeatureKind = Literal["learned", "initial", "pixels"]
"""``learned``: the run's embeddings. ``initial``: embeddings before training. ``pixels``: 32 x 32 pixel values."""

FEATURE_KINDS: tuple[FeatureKind, ...] = ("learned", "initial", "pixels")
_INDEX, _SCORES, _INITIAL = "neighbors", "retrieval", "initial"
_N_KEPT = 10


@dataclass(frozen=True)
class Neighbor:
    """A neighbor of an image.

    Attributes:
        id: id of the sample, or of the object if the run clustered objects.
        sample_id: id of the sample that contains the image.
        distance: Euclidean distance in the requested features.
    """

    id: str
    sample_id: str
    distance: float


class Retrieval(BaseModel):
    """Retrieval scores of a run, for several kinds of features.

    Attributes:
        label_field: field with the classes.
        scores: one entry per kind of features.
    """

    model_config = ConfigDict(frozen=True)
    label_field: str
    scores: tuple[RetrievalScore, ...]

    def to_dataframe(self) -> pd.DataFrame:
        """One row per kind of features."""
        import pandas as pd

        return pd.DataFrame([score.model_dump() for score in self.scores])


@dataclass(frozen=True)
class _Vectors:
    """Vectors of some of a run's images.

    Attributes:
        rows: (M,) rows of the images that have a vector.
        values: (M, D) float32.
    """

    rows: NDArray[np.int64]
    values: torch.Tensor


@database_needed("repeat the call")
def retrieve(
    samples: fo.core.collections.SampleCollection,
    key: str,
    sample_id: str | fo.Sample | fo.Label,
    k: int = 10,
    *,
    features: FeatureKind = "learned",
    observer: Observer | None = None,
) -> list[Neighbor]:
    """Nearest neighbors of an image among the images of a run, nearest first.

    Args:
        samples: the dataset, or a view to search in.
        key: key of the run.
        sample_id: id of the query image, or of the object if the run clustered objects; or the sample or label itself.
        k: number of neighbors.
        features: ``learned`` for the run's embeddings, ``initial`` for those of its network before training, or
            ``pixels``.
        observer: receives progress events; can cancel.

    Raises:
        RunNotFoundError: no such run.
        InputError: the image is not in the run, or has no vector of this kind.
        RunError: ``initial`` was requested, and the run's network is not stored on this machine or the file of the
            weights that it was given is gone; or the field of the embeddings was deleted.
    """
    import numpy as np

    from fiftyone_deepcluster.analysis.retrieval import nearest_images

    check_observer(observer)
    k = arguments.whole_number("k", k, 1)
    arguments.one_of("features", features, FEATURE_KINDS)
    run = load_run(samples, key)
    source = images_of(run)
    query = _row_of(run, source, sample_id)
    vectors = _vectors(run, source, features, observer)
    allowed = np.union1d(chosen_rows(source, samples), [query])
    keep = np.isin(vectors.rows, allowed)
    rows, values = vectors.rows[keep], vectors.values[np.flatnonzero(keep)]
    at = np.flatnonzero(rows == query)
    if not len(at):
        raise InputError(
            f"{source.ids[query]!r} has no {features} vector: its image could not be read; choose another image"
        )
    found, distances = nearest_images(values, at, k)
    return [_neighbor(source, rows[row], far) for row, far in zip(found[0], distances[0], strict=True)]


@database_needed("repeat the call")
def retrieval_score(
    samples: fo.core.collections.SampleCollection,
    key: str,
    label_field: str,
    *,
    k: int = 10,
    features: FeatureKind | Sequence[FeatureKind] | None = None,
    max_queries: int = 2_000,
    observer: Observer | None = None,
) -> Retrieval:
    """Retrieval of images of the same class: mean average precision, and precision at ``k``.

    The scores are stored with the run, for the Clusters panel.

    Args:
        samples: the dataset, or a view whose images are used.
        key: key of the run.
        label_field: field with known classes; images without one are excluded.
        k: number of neighbors for the precision.
        features: one or several kinds, see ``retrieve``; by default all that the run has.
        max_queries: maximum number of query images, drawn at random.
        observer: receives progress events; can cancel.

    Raises:
        RunNotFoundError: no such run.
        InputError: no such field, no class with two images, or an argument out of range.
        RunError: ``initial`` was requested, and the run's network is not stored on this machine or the file of the
            weights that it was given is gone.
        CancelledError: the observer requested cancellation.
    """
    import numpy as np

    from fiftyone_deepcluster.analysis.retrieval import score
    from fiftyone_deepcluster.metrics.matching import numbered

    check_observer(observer)
    k = arguments.whole_number("k", k, 1)
    max_queries = arguments.whole_number("max_queries", max_queries, 1)
    asked = None if features is None else _kinds(features)
    run = load_run(samples, key)
    source = images_of(run)
    classes = numbered(read_truth(source, label_field, "label_field"))[0]
    outside = np.setdiff1d(np.arange(len(source)), chosen_rows(source, samples))
    classes[outside] = -1
    scores = []
    for name in asked or _available(run, source):
        vectors = _vectors(run, source, name, observer)
        known = classes[vectors.rows]
        scores.append(
            score(
                name, vectors.values, known,
                k=k, max_queries=max_queries, seed=run.options.seed, observer=observer,
            )
        )  # fmt: skip
    found = Retrieval(label_field=label_field, scores=tuple(scores))
    store(run, "retrieval_score", lambda now: Findings(now).save(_SCORES, found.model_dump(mode="json")))
    return found


@database_needed("repeat the call")
def index_neighbors(
    samples: fo.core.collections.SampleCollection, key: str, *, observer: Observer | None = None
) -> int:
    """Compute the neighbors of every image, before and after training, and store them for the Clusters panel.

    Without a stored network, or without the file of the given weights, those before training are neighbors by pixels.

    Args:
        samples: the dataset, or any view of it.
        key: key of the run.
        observer: receives progress events; can cancel.

    Returns:
        Number of images with neighbors.

    Raises:
        RunNotFoundError: no such run.
        RunLockedError: the run is being resumed, or images are being assigned to it; nothing is stored.
        CancelledError: the observer requested cancellation.
    """
    import numpy as np

    from fiftyone_deepcluster.analysis.retrieval import nearest_images

    check_observer(observer)
    run = load_run(samples, key)
    source = images_of(run)
    arrays: dict[str, NDArray[np.generic]] = {
        "ids": np.array(source.ids, "S24"),
        "sample_ids": np.array(source.sample_ids, "S24"),
    }
    counts = []
    for name in ("learned", _before(run, source)):
        vectors = _vectors(run, source, name, observer)
        found, distances = nearest_images(vectors.values, np.arange(len(vectors.rows)), _N_KEPT, observer)
        rows = np.full((len(source), found.shape[1]), -1, np.int32)
        far = np.full(rows.shape, np.nan, np.float32)
        rows[vectors.rows], far[vectors.rows] = vectors.rows[found], distances
        arrays |= {f"{name}_rows": rows, f"{name}_distances": far}
        counts.append(len(vectors.rows))
    with storing(run) as now:
        Findings(now).save_arrays(_INDEX, arrays)
    return counts[0]


def indexed_neighbors(run: Run, image_id: str) -> dict[str, list[Neighbor]] | None:
    """Neighbors stored by ``index_neighbors``, by kind of features, nearest first; None if none are stored.

    An image assigned to the run afterwards has no entries.
    """
    import numpy as np

    arrays = Findings(run).load_arrays(_INDEX)
    if arrays is None:
        return None
    at = np.flatnonzero(arrays["ids"] == image_id.encode())
    if not len(at):
        return {}
    kinds = [part.removesuffix("_rows") for part in arrays if part.endswith("_rows")]
    return {kind: _kept(arrays, kind, int(at[0])) for kind in kinds}


def stored_scores(run: Run) -> Retrieval | None:
    """Scores stored by ``retrieval_score``; None if there are none."""
    found = Findings(run).load(_SCORES)
    return None if found is None else Retrieval.model_validate(found)


def _kept(arrays: dict[str, NDArray[np.generic]], kind: str, row: int) -> list[Neighbor]:
    pairs = zip(arrays[f"{kind}_rows"][row].tolist(), arrays[f"{kind}_distances"][row].tolist(), strict=True)
    ids, samples = arrays["ids"], arrays["sample_ids"]
    return [Neighbor(ids[at].decode(), samples[at].decode(), far) for at, far in pairs if at >= 0]


def _before(run: Run, source: SampleSource) -> FeatureKind:
    """Kind of features that represents the state before training."""
    return "initial" if "initial" in _available(run, source) else "pixels"


def _available(run: Run, source: SampleSource) -> tuple[FeatureKind, ...]:
    known = _kept_initial(run, source) is not None or has_initial(run)
    return FEATURE_KINDS if known else ("learned", "pixels")


def _kinds(features: str | Sequence[str]) -> tuple[FeatureKind, ...]:
    """Validated kinds of features, without duplicates."""
    asked = arguments.names("features", features, FEATURE_KINDS[0])
    for name in asked:
        arguments.one_of("features", name, FEATURE_KINDS)
    return cast("tuple[FeatureKind, ...]", tuple(dict.fromkeys(asked)))


def _vectors(run: Run, source: SampleSource, features: FeatureKind, observer: Observer | None) -> _Vectors:
    if features == "learned":
        return _learned(run, source)
    if features == "initial":
        return _initial(run, source, observer)
    return _pixels(run, source, observer)


def _learned(run: Run, source: SampleSource) -> _Vectors:
    import numpy as np
    import torch

    found = embedded(run, source)
    rows = np.flatnonzero([vector is not None for vector in found])
    if not len(rows):
        raise InputError(f"no image of run {run.key!r} has an embedding; {AGAIN}")
    stack = np.stack([np.asarray(found[row], np.float32) for row in rows])
    return _Vectors(rows, torch.from_numpy(stack))


def _initial(run: Run, source: SampleSource, observer: Observer | None) -> _Vectors:
    """Computed once and stored, because they need a forward pass over all images."""
    import numpy as np
    import torch

    kept = _kept_initial(run, source)
    if kept is None:
        with open_run(run, source, observer, initial=True) as trained_run:
            values = trained_run.initial_vectors().cpu().numpy()
            kept = {"ids": np.array(source.ids, "S24"), "rows": trained_run.store.kept, "vectors": values}
        with suppress(RunLockedError), storing(run) as now:  # computed again next time
            Findings(now).save_arrays(_INITIAL, kept)
    return _Vectors(np.array(kept["rows"]), torch.from_numpy(np.array(kept["vectors"])))


def _kept_initial(run: Run, source: SampleSource) -> dict[str, NDArray[np.generic]] | None:
    """What ``_initial`` has stored, if it is of these images."""
    import numpy as np

    kept = Findings(run).load_arrays(_INITIAL)
    return kept if kept is not None and np.array_equal(kept["ids"], np.array(source.ids, "S24")) else None


def _pixels(run: Run, source: SampleSource, observer: Observer | None) -> _Vectors:
    import numpy as np

    from fiftyone_deepcluster.analysis.baselines import pixel_features
    from fiftyone_deepcluster.api.assembly import open_store

    with open_store(source.images, run.resolved_options, observer_or_silent(observer)) as store:
        return _Vectors(store.kept, pixel_features(store.read, np.arange(store.shape[0])))


def _row_of(run: Run, source: SampleSource, image: object) -> int:
    """Row of an image given by its id, or as a sample or label."""
    image_id = image if isinstance(image, str) else str(getattr(image, "id", image))
    if image_id not in source.ids:
        what = "object" if run.patches_field else "sample"
        shown = arguments.short(image if isinstance(image, str) or not hasattr(image, "id") else image_id)
        known = (
            f"its only {what} id" if len(source) == 1 else f"one of its {counted(len(source), f'{what} id')}"
        )
        raise InputError(f"sample_id={shown} is not the id of a {what} of run {run.key!r}; give {known}")
    return source.ids.index(image_id)


def _neighbor(source: SampleSource, row: int, distance: float) -> Neighbor:
    return Neighbor(source.ids[row], source.sample_ids[row], float(distance))
