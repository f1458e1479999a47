"""Cardiac-MR DeepCluster (Kart et al., "DeepMCAT: Large-Scale Deep Clustering for Medical Image Categorization", 2021).

DeepCluster for gray medical images, with six changes (section 3): z-score normalization of every image instead of
Sobel filters, adaptive average pooling before the classifier of VGG-16-BN, no PCA, rotations and crops of the images
for clustering as well as for training, eight clusters per expected class, and no stopping rule.

Not given in the paper and chosen here: rotations of 30 degrees, crops of 50 to 100 % of the area with an aspect ratio
of 3:4 to 4:3, pooling to 7 x 7, features before the last ReLU as in DeepCluster, 224 pixels.

``preset="paper"`` is this for images of any size and number. Ours, by default: with few images there are smaller
batches, so that a round has as many as a round on the paper's smallest set, and fewer clusters. Images of at most 64
pixels keep their size; the network has five convolutions instead of thirteen, images are clustered without
augmentation, and training augmentation is weaker. With some thousand images and random weights purity depends on that
(Medical MNIST, 1,500 images, nine rounds: .98; with the paper's changes and VGG-16 with an eighth of its filters .85,
and .97 after a hundred more). With ``setting`` such images are clustered with augmentation, too, by the VGG-16 with an
eighth of its filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE, InputNormName
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.features.base import ENCODERS, Encoder
from fiftyone_deepcluster.methods.base import ADVANCED, METHODS
from fiftyone_deepcluster.methods.deepcluster import FAISS_KMEANS
from fiftyone_deepcluster.methods.published import Paper, Published
from fiftyone_deepcluster.methods.trained import LARGE_BATCH, AugmentName, Trained

if TYPE_CHECKING:
    from fiftyone_deepcluster.images.augment import Augment
    from fiftyone_deepcluster.images.inspect import ImageFacts

CLUSTERS_A_CLASS = 8
"""Clusters per expected class (section 4, "Experiment settings")."""

DEFAULT_CLASSES = 10

MIN_IMAGES_PER_CLUSTER = 10
"""Minimum mean number of images per cluster, if the number of clusters is not given."""

BATCHES_A_ROUND = 93
"""Full batches of 256 images in a round on the 23,943 images of imbalanced-small."""

SMALLEST_BATCH = 64

SMALL_BACKBONE = {"name": "small", "width": 16}
"""Network for images of at most 64 pixels; twice the filters doubled the time at the same purity."""

SettingName = Literal["own", "balanced", "imbalanced-large", "imbalanced-small"]


@dataclass(frozen=True)
class Setting:
    """One of the paper's three experiments (its tables 1 and 2, after 200 rounds).

    Attributes:
        what: description of the images.
        classes: number of classes.
        images: number of images.
        smallest: images of the smallest class.
        largest: images of the largest class.
        nmi_last: NMI with the clusters of the previous round.
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
"""The paper's experiments. They differ only in the images and in the number of classes."""


@METHODS.register
class CardiacMR(Published, Trained):
    """DeepCluster for medical images: many pure clusters of gray images, from random weights.

    All pseudo-classes are written as clusters, for a person to name and merge: this is how the paper measures purity.
    By default they are eight per class, fewer for few images; ``pseudo_clusters`` sets their number. With
    ``n_clusters`` fewer clusters are written than there are pseudo-classes.
    """

    paper: ClassVar[Paper] = Paper(
        values={
            "n_clusters": None,
            "pseudo_clusters": None,
            "pseudo_class_rounds": None,
            "merge": False,
            "rounds": 200,
            "image_size": 224,
            "backbone": "vgg16",
            "weights": None,
            "input_norm": "zscore",
            "epochs": 1,
            "min_steps": 0,
            "batch_size": LARGE_BATCH,
            "learning_rate": 0.05,
            "head_learning_rate": 0.05,
            "weight_decay": 1e-5,
            "label_smoothing": 0.0,
            "augmentation": "rotate-crop",
            "sampling": "uniform",
            "stop_nmi": None,
            "encoder": {"name": "pooled", "pca": 0, "l2_normalize": True, "augmented": True},
            "reducer": "identity",
            "clusterer": FAISS_KMEANS,
        },
        also={"rounds": (1000,)},
        free=frozenset({"image_fit", "setting", "classes", "rotate", "least_area", "most_ratio"}),
    )

    name: Literal["cardiac-mr"] = "cardiac-mr"
    setting: SettingName = Field(
        "own",
        description="The paper's experiment whose number of classes is used: balanced has 3 classes and 24 clusters; "
        "imbalanced-large and imbalanced-small, which differ in their images only, have 13 and 104. own: classes as "
        "given. Other than own, images up to 64 pixels are clustered with augmentation, too.",
    )
    classes: int | None = Field(
        None, ge=2, description="Expected number of classes; empty: the setting's, or 10."
    )
    n_clusters: int | None = Field(
        None, ge=2, description="Number of clusters to write to the dataset; empty: all pseudo-classes."
    )
    pseudo_clusters: int | None = Field(
        None, ge=2, description="Pseudo-classes that the network is trained on; empty: 8 per class."
    )
    rounds: int = Field(
        200,
        ge=1,
        le=100_000,
        description="Number of rounds; each round clusters and trains once. The paper has no stopping rule.",
    )
    min_steps: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Minimum number of batches per round; 0: one epoch, as in the paper.",
        json_schema_extra=ADVANCED,
    )
    batch_size: int | None = Field(
        None,
        ge=2,
        le=65_536,
        description="Batch size; empty: 256, or down to 64 so that a round has 93 batches.",
    )
    augmentation: AugmentName = Field(
        "auto",
        description="Training augmentation; auto: rotate-crop as in the paper, or affine up to 64 pixels.",
    )
    rotate: float = Field(
        30.0,
        ge=0,
        le=180,
        description="Maximum rotation of rotate-crop in degrees; not given in the paper.",
        json_schema_extra=ADVANCED,
    )
    least_area: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Minimum share of the image's area in a crop of rotate-crop; not given in the paper.",
        json_schema_extra=ADVANCED,
    )
    most_ratio: float = Field(
        4 / 3,
        ge=1,
        le=10,
        description="Maximum aspect ratio of a crop of rotate-crop, wide or high; not given in the paper.",
        json_schema_extra=ADVANCED,
    )
    input_norm: InputNormName = Field(
        "zscore",
        description="Fixed first layer; zscore: mean 0 and standard deviation 1 per image.",
        json_schema_extra=ADVANCED,
    )
    encoder: Annotated[Encoder | None, PartOf(ENCODERS, optional=True)] = Field(  # type: ignore[assignment]
        default=None,
        description="Converts features to vectors; empty: L2-normalized without PCA, of augmented images as in the "
        "paper, or of unchanged images up to 64 pixels.",
        json_schema_extra=ADVANCED,
    )

    @property
    def needs_number(self) -> bool:
        """False: derived from the classes."""
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
        notes = super().remarks(facts)
        wanted = CLUSTERS_A_CLASS * self._expected
        found = self._clusters_for(facts.n)
        if self.pseudo_clusters or self.n_clusters:
            return notes
        if self.classes is None and self.setting == "own":
            notes.append(
                f"the number of classes was not given: {self._expected} are guessed, for {found} clusters; set classes "
                f"to the number of kinds of images that you expect, for {CLUSTERS_A_CLASS} clusters each"
            )
        if found >= wanted:
            return notes
        n = counted(facts.n, "image")
        reason = f"{n} are clustered into {found:,} and not into {wanted:,}, {CLUSTERS_A_CLASS} per class"
        few = f"fewer than {MIN_IMAGES_PER_CLUSTER} images per cluster are too few to train on"
        return [*notes, f"{reason}: {few}; set pseudo_clusters to change it"]

    def make_augment(self) -> Augment:
        """The augmentation that the options name, ``rotate-crop`` with the ranges of the options."""
        named = super().make_augment()
        if self.augmentation != "rotate-crop":
            return named
        ranges = {
            "rotate": self.rotate,
            "crop": (self.least_area, 1.0),
            "ratio": (1 / self.most_ratio, self.most_ratio),
        }
        return named.model_copy(update=ranges)

    @property
    def _expected(self) -> int:
        setting = PAPER_SETTINGS.get(self.setting)
        return self.classes or (setting.classes if setting else DEFAULT_CLASSES)

    def _clusters_for(self, n_images: int) -> int:
        """Eight per class, fewer for few images; ``n_clusters`` if neither ``classes`` nor a setting is given."""
        if self.n_clusters and self.classes is None and self.setting == "own":
            return self.n_clusters
        if self.preset == "paper":
            return CLUSTERS_A_CLASS * self._expected
        return max(self._expected, min(CLUSTERS_A_CLASS * self._expected, n_images // MIN_IMAGES_PER_CLUSTER))


def batch_for(n_images: int) -> int:
    """Batch size: the paper's 256, halved while a round has fewer batches than one on the paper's smallest set."""
    batch = LARGE_BATCH
    while batch > SMALLEST_BATCH and n_images < BATCHES_A_ROUND * batch:
        batch //= 2
    return batch
