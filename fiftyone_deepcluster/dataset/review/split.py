"""Split a cluster into parts by clustering its own vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.review.old_values import Old
from fiftyone_deepcluster.dataset.review.vectors import vectors_of
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun

SplitBy = Literal["kmeans", "gmm"]
MOST_PARTS = 10
_SCORED = 2_000
"""Images used to compare numbers of parts: the silhouette needs all pairs."""


@dataclass(frozen=True)
class Division:
    """A cluster divided into parts.

    Attributes:
        images: its N images that have a vector, with their current label.
        labels: (N,) part of each, 0 for the largest.
        distances: (N,) Euclidean distance to the mean of the part.
    """

    images: list[Old]
    labels: NDArray[np.int64]
    distances: NDArray[np.float32]

    @property
    def n_parts(self) -> int:
        """Number of parts."""
        return int(self.labels.max()) + 1


def divide(run: KeptRun, cluster: str, n_clusters: int | None, by: SplitBy) -> Division:
    """Cluster the stored vectors of a cluster.

    Args:
        run: the run.
        cluster: name of the cluster.
        n_clusters: number of parts, 2 to 10; None: the number with the highest mean silhouette.
        by: "kmeans", or "gmm" for a Gaussian mixture with spherical components.

    Raises:
        InputError: a number out of range, or fewer images than parts.
        RunError: the run has no stored vectors.
    """
    import numpy as np

    arguments.one_of("by", by, get_args(SplitBy))
    if n_clusters is not None:
        n_clusters = arguments.whole_number("n_clusters", n_clusters, 2, MOST_PARTS)
    images, vectors = _vectors(run, cluster)
    if len(images) < (n_clusters or 2):
        raise InputError(
            f"cluster {cluster!r} has {run.fields.counted(len(images))} with vectors; {n_clusters or 2} parts need at "
            "least as many"
        )
    seed = run.options.seed
    counts = [n_clusters] if n_clusters else range(2, min(MOST_PARTS, len(images) - 1) + 1)
    found = [_fit(vectors, count, by, seed) for count in counts] or [_fit(vectors, 2, by, seed)]
    best = max(found, key=lambda labels: _silhouette(vectors, labels, seed)) if len(found) > 1 else found[0]
    labels = _largest_first(best)
    means = np.stack([vectors[labels == part].mean(axis=0) for part in range(labels.max() + 1)])
    distances = np.linalg.norm(vectors - means[labels], axis=1).astype(np.float32)
    return Division(images, labels, distances)


def _vectors(run: KeptRun, cluster: str) -> tuple[list[Old], NDArray[np.float32]]:
    """Images of a cluster that have a vector, and the (N, D) vectors."""
    found, vectors = vectors_of(run, [cluster])
    return [Old(image["sample"], image["image"], image["label"]) for image in found], vectors


def _fit(vectors: NDArray[np.float32], count: int, by: SplitBy, seed: int) -> NDArray[np.int64]:
    from sklearn.exceptions import ConvergenceWarning

    from fiftyone_deepcluster.core.process_state import ignored_warnings

    with ignored_warnings(ConvergenceWarning):  # vectors that are equal
        if by == "gmm":
            from sklearn.mixture import GaussianMixture

            mixture = GaussianMixture(count, covariance_type="spherical", random_state=seed, n_init=2)
            return mixture.fit_predict(vectors)  # type: ignore[no-any-return]
        from sklearn.cluster import KMeans

        return KMeans(count, n_init=10, random_state=seed).fit_predict(vectors)  # type: ignore[no-any-return]


def _silhouette(vectors: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> float:
    import numpy as np
    from sklearn.metrics import silhouette_score

    rows = np.random.default_rng(seed).permutation(len(labels))[:_SCORED]
    if len(set(labels[rows].tolist())) < 2 or len(set(labels[rows].tolist())) >= len(rows):
        return -1.0
    return float(silhouette_score(vectors[rows], labels[rows]))


def _largest_first(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels renumbered from 0 by falling size; empty parts are left out."""
    import numpy as np

    used, counts = np.unique(labels, return_counts=True)
    order = used[np.argsort(-counts, kind="stable")]
    rank = np.zeros(int(labels.max()) + 1, np.int64)
    rank[order] = np.arange(len(order))
    return rank[labels]
