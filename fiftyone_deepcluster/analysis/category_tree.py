"""A tree of categories from the confusions of a network (Wang et al., LDPO, section 3.3).

Clusters that the converged network confuses are close to each other. Affinity propagation groups them without a
given number of groups, the groups are grouped again, and so on up to the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.core.process_state import ignored_warnings
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus

_DAMPINGS = (0.5, 0.7, 0.9)
_LEVELS = 32


@dataclass(frozen=True)
class CategoryTree:
    """Groups of clusters, level by level, from the clusters up.

    Attributes:
        levels: (L, K) int64; ``levels[l, c]`` is the group of cluster ``c`` at level l + 1. Groups of a level are
            numbered from 0; each level merges groups of the previous one. No levels if nothing merges.
        affinity: (K, K) float64, equation 5, between the clusters.
        sizes: (K,) int64 number of images of each cluster.
    """

    levels: NDArray[np.int64]
    affinity: NDArray[np.float64]
    sizes: NDArray[np.int64]

    def paths(self) -> list[tuple[int, ...]]:
        """For each cluster its groups from the root down: the coarsest level first."""
        return [
            tuple(int(group) for group in self.levels[::-1, cluster]) for cluster in range(len(self.sizes))
        ]


def class_mass(corpus: Corpus, labels: NDArray[np.int64], n_clusters: int) -> NDArray[np.float64]:
    """Softmax scores of the network's classes, summed over the images of each cluster, in one streamed pass.

    Args:
        corpus: images, and a network with a head of J classes.
        labels: (N,) cluster of each image, 0..K-1; -1 is ignored.
        n_clusters: K.

    Returns:
        (K, J) float64.
    """
    import torch

    corpus.network.eval()
    corpus.observer.phase("predict", len(corpus))
    mass = np.zeros((n_clusters, corpus.network.n_outputs))
    with torch.inference_mode():
        for batch in corpus.plain_batches(np.flatnonzero(labels >= 0)):
            with corpus.compute.autocast():
                logits = corpus.network(batch.images).logits
            np.add.at(mass, labels[batch.rows.numpy()], logits.double().softmax(dim=1).cpu().numpy())
    return mass


def by_cluster(mass: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean softmax of each cluster's images for each cluster: the terms of equation 5, before averaging.

    The network was trained on the classes of its last round, which at convergence are the clusters. Each class is
    assigned to the cluster whose images give it most of its mass, so the network may have more classes than
    clusters, and clusters may have been merged by a person.

    Args:
        mass: (K, J) from ``class_mass``.
        sizes: (K,) number of images of each cluster.

    Returns:
        (K, K) float64; row i is the mean over the images of cluster i, zeros for an empty one.
    """
    owner = np.eye(len(mass))[mass.argmax(axis=0)]
    return np.asarray(mass @ owner / np.maximum(sizes, 1)[:, None])


def affinity_of(
    confusion: NDArray[np.float64], sizes: NDArray[np.int64], groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Affinity between groups of clusters (equations 6 and 7); between clusters for ``groups = arange(K)``.

    Args:
        confusion: (K, K) of the clusters.
        sizes: (K,) number of images of each cluster.
        groups: (K,) group of each cluster, 0..G-1.

    Returns:
        (G, G) symmetric.
    """
    member = np.eye(int(groups.max()) + 1)[groups]
    weighted = member.T @ (sizes[:, None] * confusion) @ member
    images = np.maximum(member.T @ sizes, 1)
    chances = weighted / images[:, None]
    return np.asarray((chances + chances.T) / 2)


def category_tree(confusion: NDArray[np.float64], sizes: NDArray[np.int64], seed: int = 0) -> CategoryTree:
    """Merge clusters by affinity propagation, recursively, until one group is left or nothing merges.

    The paper does not specify the preference; here it is the median affinity, scikit-learn's default. Damping starts
    at 0.5 and is increased if affinity propagation does not converge.

    Args:
        confusion: (K, K) mean softmax of each cluster's images, from ``by_cluster``; evaluated once.
        sizes: (K,) number of images of each cluster.
        seed: of the tiny noise that breaks ties.

    Raises:
        InputError: fewer than two clusters, or incompatible shapes.
    """
    n_clusters = len(sizes)
    if confusion.shape != (n_clusters, n_clusters) or n_clusters < 2:
        raise InputError(
            f"a tree needs a (K, K) confusion of K >= 2 clusters and K sizes; got {confusion.shape} and "
            f"{n_clusters} sizes; cluster into more groups first"
        )
    groups = np.arange(n_clusters)
    levels: list[NDArray[np.int64]] = []
    while groups.max() > 0 and len(levels) < _LEVELS:
        merged = _merge(affinity_of(confusion, sizes, groups), seed)
        if merged.max() == groups.max():
            break
        groups = merged[groups]
        levels.append(groups)
    stacked = np.stack(levels) if levels else np.zeros((0, n_clusters), np.int64)
    return CategoryTree(stacked, affinity_of(confusion, sizes, np.arange(n_clusters)), sizes)


def _merge(affinity: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Groups 0..G-1 from ``affinity`` (M, M); a single group for M = 2 or equal affinities."""
    from sklearn.cluster import AffinityPropagation
    from sklearn.exceptions import ConvergenceWarning

    others = affinity[~np.eye(len(affinity), dtype=bool)]
    if len(affinity) <= 2 or np.ptp(others) < 1e-12:
        return np.zeros(len(affinity), np.int64)
    for damping in _DAMPINGS:
        with ignored_warnings(ConvergenceWarning):
            found = AffinityPropagation(
                affinity="precomputed", preference=float(np.median(others)), damping=damping, random_state=seed,
                max_iter=1000,
            ).fit(affinity).labels_  # fmt: skip
        if found.min() >= 0 and found.max() + 1 < len(affinity):
            return np.unique(found, return_inverse=True)[1].astype(np.int64)
    return np.arange(len(affinity))
