"""DeepCluster (Caron et al., "Deep Clustering for Unsupervised Learning of Visual Features", 2018).

Every round: features of all images, PCA, L2 normalization, k-means; a new linear head; one epoch of
cross-entropy on the clusters, sampled uniformly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE
from fiftyone_deepcluster.methods.base import METHODS
from fiftyone_deepcluster.methods.trained import Trained

if TYPE_CHECKING:
    from fiftyone_deepcluster.images.inspect import ImageFacts

_PSEUDO_FACTOR = 8
"""Pseudo-classes per cluster: the paper finds about ten times the number of classes best, Kart et al. eight."""


_PSEUDO_CLASS_ROUNDS = 3
"""Rounds on pseudo-classes before small images are trained on the clusters themselves. Ours, not the paper's: eighty
pseudo-classes shape the features, but k-means with ten clusters is unstable on them. Training then uses ten clusters
merged from the eighty, and on the resulting features k-means is stable."""


MIN_PIECE = 50
"""Minimum mean number of images per pseudo-class for merging clusters from pseudo-classes: links between smaller
ones are unreliable (digits, 22 images each: .907 and .950 merged, .95 to .97 by k-means; USPS, 116 each: .984
merged, .792 by k-means)."""


@METHODS.register
class DeepCluster(Trained):
    """DeepCluster: k-means on the network's features gives the labels of the next round.

    Above 64 pixels the defaults are the paper's: AlexNet with batch norm and Sobel filters, SGD 0.05 with
    momentum 0.9, weight decay 1e-5, batch 256, crops and flips. Smaller images use a small backbone with a
    z-score per image, affine augmentation, clusters merged from the pseudo-classes, and after three rounds these
    clusters instead of the pseudo-classes.
    """

    name: Literal["deepcluster"] = "deepcluster"
    rounds: int = Field(
        10, ge=1, le=100_000, description="Maximum number of rounds; each round clusters and trains once."
    )

    def resolve(self, facts: ImageFacts) -> DeepCluster:
        """See ``Options.resolve``."""
        small = (self.image_size or facts.side) <= SMALL_SIDE
        backbone = BACKBONES.parse("small" if small else "alexnet")
        pseudo = self.pseudo_clusters
        if pseudo is None and self.n_clusters is not None:
            pseudo = max(self.n_clusters, min(_PSEUDO_FACTOR * self.n_clusters, facts.n // 10))
        class_rounds = (
            (_PSEUDO_CLASS_ROUNDS if small else self.rounds)
            if self.pseudo_class_rounds is None
            else self.pseudo_class_rounds
        )
        merge = self.merge
        if merge is None:
            merge = small and facts.n >= MIN_PIECE * (pseudo or 1)
        return self.settle_training(
            facts, backbone, pseudo_clusters=pseudo, pseudo_class_rounds=class_rounds, merge=merge
        )
