"""Cluster the features of the initial network once, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabels, RoundLabelsParts
from fiftyone_deepcluster.pseudo_labels.samplers import Shuffled

if TYPE_CHECKING:
    from fiftyone_deepcluster.clusterers.base import Clusterer
    from fiftyone_deepcluster.features.base import Encoder
    from fiftyone_deepcluster.reducers.base import Reducer


def cluster_once(
    encoder: Encoder, reducer: Reducer, clusterer: Clusterer, *, n_clusters: int | None, seed: int
) -> RoundLabels:
    """A pseudo-task without training: the run ends with the clusters of the initial network's features."""
    return RoundLabels(
        RoundLabelsParts(
            encoder=encoder,
            reducer=reducer,
            clusterer=clusterer,
            sampler=Shuffled(),
            n_clusters=n_clusters,
            n_pseudo=None,
            pseudo_class_rounds=None,
            epochs=0,
            seed=seed,
        )
    )
