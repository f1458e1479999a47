"""Pseudo-labels of the first round other than clusters of the initial network's features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from fiftyone_deepcluster.features.corpus import Corpus

InitialName = Literal["features", "random", "kmeans", "labels", "topics"]
"""Initial pseudo-labels: ``features``: clusters from the round's encoder and clusterer; ``random``; ``kmeans``:
k-means on the network's features; ``labels``: known classes; ``topics``: topics of a text field."""


def initial_labels(name: InitialName, n_groups: int, corpus: Corpus, *, seed: int) -> torch.Tensor | None:
    """(N,) int64 pseudo-labels for the first round, -1 unknown; None: cluster the features.

    Args:
        name: source of the labels.
        n_groups: number of classes, for ``random`` and ``kmeans``.
        corpus: images and network; ``corpus.initial`` has the given labels for ``labels`` and ``topics``.
        seed: random seed.

    Raises:
        InputError: ``corpus.initial`` is missing.
    """
    if name == "features":
        return None
    if name == "random":
        generator = torch.Generator().manual_seed(derive(seed, "initial"))
        return torch.randint(n_groups, (len(corpus),), generator=generator)
    if name == "kmeans":
        features = torch.nn.functional.normalize(corpus.features())
        return KMeans().cluster(features, ClusterRequest(n_groups, derive(seed, "initial"), None)).labels
    if corpus.initial is None:
        raise InputError(
            f"initial={name!r} needs the labels of the first round: give known=Known(initial=...) to fit, or name "
            f"{'text_field' if name == 'topics' else 'initial_field'} for a dataset"
        )
    return torch.from_numpy(corpus.initial)
