"""``audit_vectors``: which labels of a set are probably wrong, which are better, and what else is wrong with it.

The score is the sum of the log odds of the given class by a logistic regression that has seen the image, by one that
has not, and by its neighbors, over two rounds (``evidence``); the rule is the same for all sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.analysis.label_audit.evidence import STEPS, gather_evidence
from fiftyone_deepcluster.analysis.label_audit.labeled_set import (
    FEWEST,
    N_FOLDS,
    KnownSides,
    class_labels,
    labeled_set,
)
from fiftyone_deepcluster.analysis.label_audit.logistic import FeatureRows, feature_rows
from fiftyone_deepcluster.analysis.label_audit.neighbors import NeighborGraph, neighbor_graph
from fiftyone_deepcluster.analysis.label_audit.result import LabelAudit, conclude
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.devices import choose_compute
from fiftyone_deepcluster.core.progress import observer_or_silent
from fiftyone_deepcluster.core.words import counted, none_of
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.progress import Observer

_N_NEIGHBORS = 50

_PER_WEIGHT = 24
"""Numbers per weight that L-BFGS keeps: two for each of 8 earlier steps, and those of the current one."""

_MOST_CLASSES = 5_000


def audit_vectors(
    vectors: NDArray[np.floating[Any]],
    labels: Sequence[object | None],
    *,
    known: KnownSides | None = None,
    seed: int = 51,
    device: str = "auto",
    observer: Observer | None = None,
) -> LabelAudit:
    """Estimate for each of N labels the probability that it is wrong, from the vectors of the images.

    Args:
        vectors: (N, D) float16 or float32; an array that is mapped from a file is read in parts. Images whose row
            has a value that is not finite are not audited.
        labels: N labels: strings, numbers or booleans; None: no label.
        known: groups, clusters, order of the files, and what a person has decided.
        seed: of the folds, and of the images that the noise model is fitted on.
        device: "auto", "cpu", "cuda" or "cuda:1": where neighbors are searched and classifiers fitted; the CPU if the
            vectors or the classifiers would fill the GPU.
        observer: receives progress events; can cancel.

    Raises:
        InputError: other shapes, no labels, or fewer than two classes that can be audited.
        OptionsError: no such device.
        CancelledError: the observer requested cancellation.
    """
    known = KnownSides() if known is None else known
    seed = _checked_arguments(labels, known, seed)
    _check_vectors(vectors, labels, known)
    compute = choose_compute(device, "float32")
    watcher = observer_or_silent(observer)
    classes, readable = class_labels(labels, known.before), finite_rows(vectors)
    rows = np.flatnonzero((classes.given >= 0) & readable)
    _check_classes(classes.names, classes.given, rows)
    where = compute.device_for(
        _numbers_needed(vectors.shape[1], len(rows), len(np.unique(classes.given[rows])))
    )
    features = feature_rows(vectors if len(rows) == len(vectors) else vectors[rows], str(where))
    graph = _graph(features, known.graph, watcher)
    labeled = labeled_set(features, graph, classes.of(rows), known.of(rows), seed)
    watcher.phase("judge", STEPS + 1)
    evidence = gather_evidence(labeled, watcher)
    result = conclude(classes, rows, labeled, evidence, known)
    watcher.advance(1)
    for row in np.flatnonzero((classes.given >= 0) & ~readable).tolist():
        result.not_audited[row] = "no vector of finite numbers"
    return result


def _numbers_needed(width: int, n: int, n_classes: int) -> int:
    """Numbers that the neighbor search and the fits of all classifiers keep at once, at most."""
    search = 5 * n * width  # vectors, normalized vectors, and the products' factors
    fits = _PER_WEIGHT * (N_FOLDS + 1) * (width + 1) * n_classes
    return search + fits


def finite_rows(vectors: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """(N,) rows of finite numbers only."""
    step = max(1, 2**22 // max(1, vectors.shape[1]))
    parts = [np.isfinite(vectors[start : start + step]).all(axis=1) for start in range(0, len(vectors), step)]
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def _checked_arguments(labels: Sequence[object | None], known: KnownSides, seed: int) -> int:
    """The seed as an int; raises InputError if one of the other arguments cannot be used."""
    if not isinstance(known, KnownSides):
        raise InputError(f"known={arguments.short(known)} is not a KnownSides; give one, or None")
    of_one_dimension = isinstance(labels, np.ndarray) and labels.ndim == 1
    if isinstance(labels, str) or not (isinstance(labels, Sequence) or of_one_dimension):
        raise InputError(
            f"labels={arguments.short(labels)} is not a list of labels; give one for each vector"
        )
    return arguments.whole_number("seed", seed, 0)


def _check_vectors(
    vectors: NDArray[np.floating[Any]], labels: Sequence[object | None], known: KnownSides
) -> None:
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or 0 in vectors.shape:
        what = f"shape {vectors.shape}" if isinstance(vectors, np.ndarray) else f"a {type(vectors).__name__}"
        raise InputError(f"vectors is {what}; give an array (images, dimensions), both 1 or more")
    if not np.issubdtype(vectors.dtype, np.floating):
        raise InputError(f"vectors is of type {vectors.dtype}; give floating-point numbers")
    masked = arguments.masked_problem(vectors)
    if masked:
        raise InputError(f"vectors {masked}; leave these images out, or give NaN there")
    sides: dict[str, Any] = {
        "labels": labels,
        "groups": known.groups,
        "clusters": known.clusters,
        "order": known.order,
    }
    sides |= {"before": known.before, "certain": known.certain, "left_out": known.left_out}
    for name, side in sides.items():
        if side is not None and len(side) != len(vectors):
            raise InputError(f"{name} has {len(side):,} entries for {len(vectors):,} vectors; give one each")
        masked = arguments.masked_problem(side)
        if masked:
            raise InputError(f"{name} {masked}; give None where a value is unknown, and False for a boolean")


def _graph(features: FeatureRows, earlier: NeighborGraph | None, observer: Observer) -> NeighborGraph:
    """The earlier graph if it has the same number of images, else a new one."""
    if earlier is None or len(earlier.rows) != len(features):
        return neighbor_graph(features, _N_NEIGHBORS, observer)
    return earlier


def _check_classes(names: Sequence[str], given: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
    n_labels, n_usable = int((given >= 0).sum()), len(rows)
    counts = np.bincount(given[rows], minlength=len(names))
    if not n_labels:
        raise InputError(
            "none of the images has a label, so there is nothing to audit; give the field with labels"
        )
    if not n_usable:
        raise InputError(
            f"{none_of(n_labels, 'image')} with a label has a vector of finite numbers: there is none, or it has NaN "
            "or infinite values; compute the vectors of the images that have labels"
        )
    if (counts > 0).sum() > _MOST_CLASSES:
        raise InputError(
            f"the labels are of {int((counts > 0).sum()):,} classes; at most {_MOST_CLASSES:,} can be audited: give a "
            "field with fewer classes, such as a category instead of a name, or a view of the classes in doubt"
        )
    big = int((counts >= FEWEST).sum())
    if big >= 2:
        return
    if len(names) == 1:
        raise InputError(f"all labels are {arguments.short(names[0])}; labels of one class cannot be audited")
    raise InputError(
        f"{counted(n_usable, 'image')} with a label and a vector, in {int((counts > 0).sum()):,} classes, of "
        f"which {counted(big, 'has', 'have')} {FEWEST} or more; at least two such classes are needed: label more "
        "images, or merge classes"
    )
