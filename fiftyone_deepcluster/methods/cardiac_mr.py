"""Cardiac-MR DeepCluster (Kart et al., "DeepMCAT: Large-Scale Deep Clustering for Medical Image Categorization", 2021).

DeepCluster for gray medical images, changed in six places (their section 3): no Sobel filters but a z-score
of every image, adaptive average pooling before the classifier of VGG-16-BN, no PCA, rotations and crops of the
images that are clustered as well as of those that are learned from, eight clusters for each class that is
expected, and no rule that stops.

Open in the paper and settled here: rotations of 30 degrees and crops of 50 to 100 % of the area, pooling to
7 x 7, features before the last ReLU as in DeepCluster, 224 pixels.

Ours, for what the paper does not have: a round over few images has smaller batches, so that it has as many as a
round over the paper's smallest set. Images of 64 pixels and less are looked at as they are, by five convolutions in
place of thirteen, they are clustered as they are, and changed less in training. From scratch on some thousand images
that is what purity hangs on (Medical MNIST, 1,500 images, nine rounds: .98; with the paper's changes and VGG-16 with
an eighth of its filters .85, and .97 after a hundred more). Its settings, by name, keep what is the paper's: such
images then get the slim VGG-16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, InputNormName
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.features.base import ENCODERS, Encoder
from fiftyone_deepcluster.methods.base import ADVANCED, METHODS, SMALL_SIDE
from fiftyone_deepcluster.methods.trained import LARGE_BATCH, AugmentName, Trained

if TYPE_CHECKING:
    from fiftyone_deepcluster.images.inspect import ImageFacts

CLUSTERS_A_CLASS = 8
"""Clusters for each class that is expected (their section 4, "Experiment settings")."""

DEFAULT_CLASSES = 10

MIN_IMAGES_PER_CLUSTER = 10
"""Images a cluster has on average at least, where the number of clusters is left open."""

BATCHES_A_ROUND = 93
"""Full batches of 256 images in a round over the 23,943 of imbalanced-small."""

SMALLEST_BATCH = 64

SMALL_BACKBONE = {"name": "small", "width": 16}
"""Network for images of 64 pixels and less; twice the filters take twice the time and gave the same purity."""

SettingName = Literal["own", "balanced", "imbalanced-large", "imbalanced-small"]


@dataclass(frozen=True)
class Setting:
    """One of the paper's three experiments (its tables 1 and 2, after 200 rounds).

    Attributes:
        what: the images, in words.
        classes: kinds of images.
        images: number of images.
        smallest: images of the smallest class.
        largest: images of the largest class.
        nmi_last: NMI with the clusters of the round before.
        nmi_truth: NMI with the classes.
        purity: share of the images in the majority class of their cluster.
    """

    what: str
    classes: int
    images: int
    smallest: int
    largest: int
    nmi_last: float
    nmi_truth: float
    purity: float

    @property
    def clusters(self) -> int:
        """The paper's k."""
        return CLUSTERS_A_CLASS * self.classes


PAPER_SETTINGS: dict[str, Setting] = {
    "balanced": Setting(
        "long-axis views of 2, 3 and 4 chambers", 3, 47_637, 15_868, 15_889, 0.675, 0.519, 0.997
    ),
    "imbalanced-large": Setting(
        "13 sequences and views, the largest 11 times the smallest",
        13, 192_272, 7_560, 83_372, 0.782, 0.605, 0.991,
    ),
    "imbalanced-small": Setting(
        "an eighth of imbalanced-large, as imbalanced", 13, 23_943, 944, 10_339, 0.745, 0.609, 0.994
    ),
}  # fmt: skip
"""The paper's experiments. They differ in their images and in the number of classes, and in nothing else."""


@METHODS.register
class CardiacMR(Trained):
    """DeepCluster for medical images: many pure clusters of gray images, from random weights.

    All clusters that the network is taught are written, eight a class, to be named and merged by a person:
    that is how the paper measures its purity. With ``n_clusters`` fewer are written than are taught.
    """

    name: Literal["cardiac-mr"] = "cardiac-mr"
    setting: SettingName = Field(
        "own",
        description="The paper's experiments: balanced is 3 classes, so 24 clusters; imbalanced-large and "
        "imbalanced-small are 13 classes, so 104. own: what classes says, and small images in a way of our own.",
    )
    classes: int | None = Field(
        None, ge=2, description="Kinds of images you expect; empty: what the setting says, or 10."
    )
    n_clusters: int | None = Field(
        None, ge=2, description="Clusters to write to the dataset; empty: all that the network is taught."
    )
    pseudo_clusters: int | None = Field(
        None, ge=2, description="Clusters that the network is taught; empty: 8 for each class."
    )
    rounds: int = Field(
        200,
        ge=1,
        le=100_000,
        description="Rounds: one round clusters and trains once. Nothing else stops it.",
    )
    min_steps: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Batches in a round at least; 0: one pass, as in the paper.",
        json_schema_extra=ADVANCED,
    )
    batch_size: int | None = Field(
        None,
        ge=2,
        le=65_536,
        description="Images in a batch; empty: 256, or down to 64 so that a round has 93 batches.",
    )
    augmentation: AugmentName = Field(
        "auto",
        description="How images change; auto: rotate-crop as in the paper, or affine up to 64 pixels.",
    )
    input_norm: InputNormName = Field(
        "zscore",
        description="Fixed first layer: mean 0 and deviation 1 per image.",
        json_schema_extra=ADVANCED,
    )
    encoder: Annotated[Encoder | None, PartOf(ENCODERS, optional=True)] = Field(  # type: ignore[assignment]
        default=None,
        description="From features to vectors; empty: no PCA, length 1, of changed images as in the paper, or of the "
        "images as they are up to 64 pixels.",
        json_schema_extra=ADVANCED,
    )

    @property
    def needs_number(self) -> bool:
        """The classes give it."""
        return False

    def resolve(self, facts: ImageFacts) -> CardiacMR:
        """See ``Options.resolve``."""
        small = (self.image_size or facts.side) <= SMALL_SIDE
        ours = small and self.setting == "own"
        backbone = BACKBONES.parse(SMALL_BACKBONE if ours else "slim-vgg" if small else "vgg16")
        encoder = ENCODERS.parse({"name": "pooled", "pca": 0, "augmented": not ours})
        changes = "affine" if ours else "rotate-crop"
        pseudo = self.pseudo_clusters or max(self._clusters_for(facts.n), self.n_clusters or 0)
        settled = {
            "batch_size": self.batch_size or batch_for(facts.n),
            "augmentation": changes if self.augmentation == "auto" else self.augmentation,
        }
        return self.model_copy(update=settled).settle_training(
            facts,
            backbone,
            encoder=self.encoder or encoder,
            classes=self._expected,
            pseudo_clusters=pseudo,
            n_clusters=self.n_clusters or pseudo,
            pseudo_class_rounds=self.rounds if self.pseudo_class_rounds is None else self.pseudo_class_rounds,
        )

    def remarks(self, facts: ImageFacts) -> list[str]:
        """See ``Options.remarks``."""
        wanted = CLUSTERS_A_CLASS * self._expected
        found = self._clusters_for(facts.n)
        if self.pseudo_clusters or self.n_clusters or found >= wanted:
            return []
        reason = (
            f"{facts.n} images are clustered into {found} and not into {wanted}, {CLUSTERS_A_CLASS} a class"
        )
        return [
            f"{reason}: fewer than {MIN_IMAGES_PER_CLUSTER} images teach little of a cluster; pseudo_clusters says otherwise"
        ]

    @property
    def _expected(self) -> int:
        setting = PAPER_SETTINGS.get(self.setting)
        return self.classes or (setting.classes if setting else DEFAULT_CLASSES)

    def _clusters_for(self, n_images: int) -> int:
        """Eight a class; fewer where there are few images, as many as are written where only that is said."""
        if self.n_clusters and self.classes is None and self.setting == "own":
            return self.n_clusters
        return max(self._expected, min(CLUSTERS_A_CLASS * self._expected, n_images // MIN_IMAGES_PER_CLUSTER))


def batch_for(n_images: int) -> int:
    """Images in a batch: the paper's 256, halved while a round would have fewer batches than its smallest set."""
    batch = LARGE_BATCH
    while batch > SMALLEST_BATCH and n_images < BATCHES_A_ROUND * batch:
        batch //= 2
    return batch
