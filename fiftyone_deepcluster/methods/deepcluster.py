"""DeepCluster (Caron et al., "Deep Clustering for Unsupervised Learning of Visual Features", 2018).

Every round of the paper: features of all images, PCA, L2 normalization, k-means; a new linear head; one epoch of
cross-entropy on the clusters, sampled uniformly. Encoder, clusterer, epochs and sampling are options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE
from fiftyone_deepcluster.methods.base import METHODS
from fiftyone_deepcluster.methods.published import Paper, Published
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


FAISS_KMEANS: dict[str, Any] = {
    "name": "kmeans", "init": "sample", "n_init": 1, "max_iter": 20, "tolerance": 0.0, "warm_start": False,
}  # fmt: skip
"""k-means as in the released code, by faiss: 20 iterations on all images, once, from random images in every round."""


@METHODS.register
class DeepCluster(Published, Trained):
    """DeepCluster: clusters of the network's features, by default of k-means, are the labels of the next round.

    ``preset="paper"`` is the paper for images of any size. The defaults are ours: above 64 pixels the paper's network,
    optimizer and input, with pseudo-classes, a PCA of 64 dimensions on small sets and crops of decoded squares; smaller
    images use a small backbone with a z-score per image, affine augmentation, clusters merged from the pseudo-classes
    (of 50 images or more on average), and after three rounds these clusters instead of the pseudo-classes.
    """

    paper: ClassVar[Paper] = Paper(
        values={
            "n_clusters": 10_000,
            "pseudo_clusters": None,
            "pseudo_class_rounds": 0,
            "merge": False,
            "rounds": 200,
            "image_size": 224,
            "image_fit": "crop",
            "backbone": "alexnet",
            "weights": None,
            "input_norm": "sobel",
            "epochs": 1,
            "min_steps": 0,
            "batch_size": 256,
            "learning_rate": 0.05,
            "head_learning_rate": 0.05,
            "weight_decay": 1e-5,
            "label_smoothing": 0.0,
            "augmentation": "original-crop-flip",
            "sampling": "uniform",
            "stop_nmi": None,
            "encoder": {"name": "pooled", "pca": 256, "whiten": True, "l2_normalize": True},
            "reducer": "identity",
            "clusterer": FAISS_KMEANS,
        },
        also={"backbone": ("vgg16",), "clusterer": ("pic",), "n_clusters": (None,)},
    )

    name: Literal["deepcluster"] = "deepcluster"

    def resolve(self, facts: ImageFacts) -> DeepCluster:
        """See ``Options.resolve``."""
        small = (self.image_size or facts.side) <= SMALL_SIDE
        backbone = BACKBONES.parse("small" if small else "alexnet")
        pseudo = self.pseudo_clusters
        if self.pseudo_class_rounds == 0:
            pseudo = pseudo or self.n_clusters
        elif pseudo is None and self.n_clusters is not None:
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
