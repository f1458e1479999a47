"""Brain runs of a run: a 2-D map for the Embeddings panel, and a similarity index."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from fiftyone_deepcluster.api.notes import not_computed
from fiftyone_deepcluster.dataset.runs.database import is_away, utc_now
from fiftyone_deepcluster.dataset.runs.storage import drop_dangling, storable

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone as fo
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.io.source import SampleSource

logger = logging.getLogger(__name__)

# UMAP takes about a second per thousand images; the images beyond this number are placed at the weighted mean
# position of their nearest neighbors
_MAX_FITTED = 20_000
_NEIGHBORS = 15
_MIN_DIST = 0.1  # leaves space between points for display; UMAP for clustering uses 0
# UMAP's spectral initialization fails on fewer images
_FEWEST = 20


def add_brain_runs(
    source: SampleSource, names: FieldNames, rows: NDArray[np.int64], embeddings: NDArray[np.float32]
) -> list[str]:
    """Compute and register the brain runs ``<key>_viz`` and ``<key>_sim``.

    They are additions to a run: one that fails is left out with a warning, and the run continues.

    Args:
        source: the images.
        names: field names of the run; its embeddings must have been written.
        rows: (M,) rows of the images that could be read.
        embeddings: (N, D) float32, embeddings of all images.

    Returns:
        A note for each brain run that could not be computed.
    """
    add_map = partial(_add_map, source, names, rows, embeddings)
    add_index = partial(_add_index, source, names)
    notes = [
        _add(source.dataset, names.viz_key, "the 2-D map", add_map),
        _add(source.dataset, names.sim_key, "the similarity index", add_index),
    ]
    return [note for note in notes if note]


def _add(dataset: fo.Dataset, brain_key: str, what: str, add: Callable[[], None]) -> str:
    """Add a brain run; return a note if that failed, or an empty string."""
    try:
        add()
    except Exception as error:  # FiftyOne's brain, its backends and UMAP may raise anything
        if is_away(error):
            raise
        if dataset.has_brain_run(brain_key):
            dataset.delete_brain_run(brain_key)
        note = not_computed(f"{what} {brain_key}", error)
        logger.warning(note, exc_info=True)
        return note
    return ""


def _add_map(
    source: SampleSource, names: FieldNames, rows: NDArray[np.int64], embeddings: NDArray[np.float32]
) -> None:
    import fiftyone.brain as fob
    import numpy as np

    samples, patches = _collection(source), source.patches_field
    found = map_to_2d(embeddings[rows])
    places = {source.ids[row]: point for row, point in zip(rows.tolist(), found, strict=True)}
    points: object = places
    if patches is not None and source.dataset.media_type == "group":
        # by id, FiftyOne finds objects only in the slice that is shown; by position, it finds all
        path = f"{names.prefix}id"
        if set(samples.values(path, unwind=True)) != set(places):
            samples = samples.select_labels(ids=list(places), fields=patches)
        points = np.stack([places[name] for name in samples.values(path, unwind=True)])
    fob.compute_visualization(
        samples, patches_field=patches, points=points, brain_key=names.viz_key, progress=False
    )


def _add_index(source: SampleSource, names: FieldNames) -> None:
    import fiftyone.brain as fob

    # by field name, because FiftyOne would store an array again, as JSON
    fob.compute_similarity(
        _collection(source),
        patches_field=source.patches_field,
        embeddings=names.path("embedding")[len(names.prefix) :],
        brain_key=names.sim_key,
        backend="sklearn",
        progress=False,
    )


def remove_brain_runs(dataset: fo.Dataset, names: FieldNames) -> None:
    """Delete the brain runs of a run, if they exist."""
    for key in names.brain_keys():
        drop_dangling(dataset, dataset._doc.brain_methods, key)
        if dataset.has_brain_run(key):
            dataset.delete_brain_run(key)


def rename_brain_runs(dataset: fo.Dataset, old: FieldNames, new: FieldNames) -> None:
    """Rename the brain runs of a run; the embeddings field must have been renamed."""
    from fiftyone.core.brain import BrainMethod

    for before, after in ((old.viz_key, new.viz_key), (old.sim_key, new.sim_key)):
        if dataset.has_brain_run(before):
            dataset.rename_brain_run(before, after)
    if dataset.has_brain_run(new.sim_key):
        config = dataset.get_brain_info(new.sim_key).config
        config.embeddings_field = new.path("embedding")[len(new.prefix) :]
        BrainMethod.update_run_config(dataset, new.sim_key, config)
        # a loaded index still refers to the old field name
        dataset._brain_cache.pop(new.sim_key, None)


def refresh_map(dataset: fo.Dataset, names: FieldNames) -> None:
    """Make the Embeddings panel reload the labels: it caches colors by the timestamp of the map."""
    document = dataset._doc.brain_methods.get(names.viz_key) if names.brain_keys() else None
    if document is not None:
        document.timestamp = utc_now()
        document.save()


def map_to_2d(vectors: NDArray[np.float32], seed: int = 51) -> NDArray[np.float32]:
    """(M, D) -> (M, 2) by UMAP; for large M fitted on a random subset, for small M by PCA."""
    import numpy as np

    n = len(vectors)
    if n < _FEWEST:
        return _pca(vectors)
    if n <= _MAX_FITTED:
        return _umap(vectors, seed)
    chosen = np.sort(np.random.default_rng(seed).choice(n, _MAX_FITTED, replace=False))
    fixed = _umap(vectors[chosen], seed)
    return _interpolated(vectors, vectors[chosen], fixed)


def _umap(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    import numpy as np
    import torch

    from fiftyone_deepcluster.reducers.umap import Umap

    reducer = Umap(n_components=2, n_neighbors=_NEIGHBORS, min_dist=_MIN_DIST)
    return reducer.embed(torch.from_numpy(np.ascontiguousarray(vectors, np.float32)), seed).numpy()


def _interpolated(
    vectors: NDArray[np.float32], known: NDArray[np.float32], places: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N, 2) mean of the ``places`` (M, 2) of the five nearest ``known`` vectors, weighted by 1 / squared distance."""
    import faiss
    import numpy as np

    index = faiss.IndexFlatL2(known.shape[1])
    index.add(np.ascontiguousarray(known))
    squared, nearest = index.search(np.ascontiguousarray(vectors), 5)
    weights = 1.0 / np.maximum(squared, 1e-12)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray((places[nearest] * weights[..., None]).sum(axis=1), np.float32)


def _pca(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    centered = vectors - vectors.mean(axis=0)
    axes = np.linalg.svd(centered, full_matrices=False)[2][:2]
    points = centered @ axes.T
    return np.asarray(np.pad(points, ((0, 0), (0, 2 - points.shape[1]))), np.float32)


def _collection(source: SampleSource) -> fo.core.collections.SampleCollection:
    """Collection that the brain runs are computed on."""
    return storable(source.samples if source.patches_field is None else source.samples._source_collection)
