"""Accuracy of labels by number of actions of a simulated reviewer, who sees only what the Clusters panel shows.

    python -m benchmarks.review                                             # scikit-learn's digits
    python -m benchmarks.review --npz fashion=fashion_mnist.npz --images 3000 --clusters 40
    python -m benchmarks.review --zip scenes=scene15.zip --weights mobilenet_v2.pth --clusters 45

Every look and every edit is the call that the panel's events make, on a MongoDB of its own. The reviewer knows the
class of each image that is shown, and of no other. An action is to name a cluster or to join it with another, to split
it after a preview, to choose a range of images, to move it, or to mark a cluster as reviewed. Policies:

* ``one by one``: every action labels one image.
* ``names``: each cluster gets the name that most images of its strip in the overview have; equal names are joined.
* ``board``: each cluster is opened first. If its images in random order are mixed, it is split into as many parts as
  classes are seen, provided that the preview shows parts of different classes. What is left of three actions a cluster
  goes to runs of wrong images among the least confident.
* ``board, refine``: after that, the clusters that looked pure are marked as reviewed, and ``refine`` follows.

``perfect names`` is the accuracy if each cluster of the run had the name of most of its images.
"""

from __future__ import annotations

import argparse
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.own_database import own_database
from benchmarks.quality import add_image_arguments, datasets
from benchmarks.report import table
from fiftyone_deepcluster.dataset.review.overview import cluster_rows, page, strips

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.review.overview import ImageOrder, Picture
    from fiftyone_deepcluster.dataset.review.review import Review

STRIP, SCREEN, PAGE = 16, 40, 200
"""Images of a cluster in the overview, on a screen, and in a page that is scrolled."""

PURE, SHORTEST = 0.9, 3
"""Share of one class from which a screen looks pure; shortest run of wrong images that is worth two actions."""

MOST_ACTIONS, MOST_PARTS = 3, 4
MOBILENET = {"name": "torchvision", "model": "mobilenet_v2"}


def main() -> None:
    """Print the table."""
    arguments = arguments_given()
    with own_database() as database:
        rows = []
        for name, images in image_sets(arguments, database.folder).items():
            runs = [reviewed(images, arguments, seed) for seed in range(51, 51 + arguments.seeds)]
            rows += summary(name, images, runs)
        header = [
            "images",
            "clusters",
            "policy",
            "actions a cluster",
            "accuracy",
            "of perfect names",
            "one by one",
        ]
        print(table(header, rows))


def arguments_given() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_image_arguments(parser)
    parser.add_argument("--zip", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--weights", help="of torchvision's MobileNetV2, for --zip")
    parser.add_argument("--image-size", type=int, default=128, help="side of MobileNetV2's input in pixels")
    parser.add_argument("--clusters", type=int, default=30)
    parser.add_argument("--clusterer", default="kmeans")
    parser.add_argument("--reducer", default="identity")
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


@dataclass(frozen=True)
class ImageSet:
    """Files with their classes, and the options of the method that clusters them."""

    files: list[Path]
    classes: list[str]
    options: dict[str, Any]


def image_sets(arguments: argparse.Namespace, folder: Path) -> dict[str, ImageSet]:
    """The sets that the arguments name, as files."""
    found = {}
    pixels = {"image_size": 32, "encoder": {"name": "pooled", "pca": 0, "l2_normalize": True}}
    if arguments.npz or arguments.digits or not arguments.zip:
        for name, (images, classes) in datasets(arguments).items():
            files = written(images, folder / name)
            found[name] = ImageSet(files, [str(label) for label in classes], pixels)
    for item in arguments.zip:
        name, path = item.split("=", 1)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder / name)
        files = sorted(file for file in (folder / name).rglob("*") if file.suffix in (".jpg", ".png"))
        options = {"backbone": MOBILENET, "weights": arguments.weights, "image_size": arguments.image_size}
        found[name] = ImageSet(files, [file.parent.name for file in files], options)
    return found


def written(images: np.ndarray, folder: Path) -> list[Path]:
    """Images (N, H, W[, C]) uint8 as PNG files."""
    from PIL import Image

    folder.mkdir(parents=True)
    files = [folder / f"{row:06d}.png" for row in range(len(images))]
    for image, file in zip(images, files, strict=True):
        Image.fromarray(image).save(file)
    return files


@dataclass
class Reviewer:
    """Someone who looks at the panel and edits clusters.

    Attributes:
        edits: the edits of the run.
        truth: class of each image by its id; used only for images that are shown.
        budget: number of actions that they take at most.
        names: names of the clusters, in the order of the overview.
        actions: number of actions so far.
        mixed: names of the clusters of which a part did not look pure.
    """

    edits: Review
    truth: dict[str, str]
    budget: int
    names: list[str]
    actions: int = 0
    mixed: set[str] = field(default_factory=set)

    def seen(self, pictures: Sequence[Picture]) -> Counter[str]:
        """Classes of the images that are shown."""
        return Counter(self.truth[picture.image_id] for picture in pictures)

    def page(self, cluster: str, order: ImageOrder, limit: int) -> list[Picture]:
        """Images of a cluster as shown."""
        return page(self.edits.run, cluster, order, limit=limit, count=False)[0]

    def name(self, cluster: str, label: str) -> None:
        """Name a cluster, or join it with the cluster that has the name."""
        self.actions += 1
        self.names.remove(cluster)
        if label in self.names:
            self.edits.merge([cluster, label], into=label)
        else:
            self.edits.rename(cluster, label)
            self.names.append(label)

    # ---------------------------------------------------------------- policies

    def names_only(self) -> dict[str, str]:
        """The name of each cluster by its strip in the overview; nothing is edited, as every name is one action."""
        shown = strips(self.edits.run, self.names, STRIP)
        self.actions += len(shown)
        return {name: f"class {self.seen(some).most_common(1)[0][0]}" for name, some in shown.items()}

    def board(self) -> None:
        """Open each cluster, split mixed ones, name what is left, and move runs of wrong images."""
        waiting = list(self.names)
        while waiting:
            cluster = waiting.pop(0)
            classes = self.seen(self.page(cluster, "random", SCREEN))
            label, most = classes.most_common(1)[0]
            parts = self.split(cluster, classes, len(waiting))
            waiting[:0] = parts
            if not parts:
                self.name(cluster, f"class {label}")
                if most < PURE * classes.total():
                    self.mixed.add(f"class {label}")
        self.move_runs()

    def split(self, cluster: str, classes: Counter[str], n_waiting: int) -> tuple[str, ...]:
        """Split a cluster that looks mixed, if the preview shows parts of different classes; names of the parts.

        Args:
            cluster: the cluster.
            classes: classes on its first screen.
            n_waiting: number of clusters that still need a name each.
        """
        several = sum(count >= (1 - PURE) * classes.total() for count in classes.values())
        n_parts = min(MOST_PARTS, several)
        pure = max(classes.values()) >= PURE * classes.total()
        if pure or n_parts < 2 or self.actions + 1 + n_parts + n_waiting > self.budget:
            return ()
        parts = self.edits.preview_split(cluster, n_parts)
        if len({self.seen(part.pictures).most_common(1)[0][0] for part in parts}) == 1:
            return ()
        self.actions += 1
        found = self.edits.split(cluster, n_parts).clusters
        self.names += found[1:]
        return found

    def move_runs(self) -> None:
        """Move runs of images of one other class among the least confident ones, longest first."""
        found = {name: list(self.runs(name)) for name in self.names}
        while self.actions + 2 <= self.budget and any(found.values()):
            cluster = max(found, key=lambda name: max((len(ids) for _, ids in found[name]), default=0))
            label, ids = max(found[cluster], key=lambda run: len(run[1]))
            self.actions += 2  # the range is chosen, and moved
            self.edits.move(ids, to=label)
            found[cluster] = list(self.runs(cluster))

    def runs(self, cluster: str) -> Iterator[tuple[str, list[str]]]:
        """Runs of images of another class in the order of the page."""
        shown = self.page(cluster, "uncertain", PAGE)
        for label, some in groupby(shown, key=lambda picture: f"class {self.truth[picture.image_id]}"):
            ids = [picture.image_id for picture in some]
            if label != cluster and len(ids) >= SHORTEST:
                yield label, ids


def reviewed(images: ImageSet, arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Accuracy and number of actions of each policy on one run."""
    import fiftyone as fo

    import fiftyone_deepcluster as fdc

    dataset = fo.Dataset()
    samples = [
        fo.Sample(str(file), truth=fo.Classification(label=label))
        for file, label in zip(images.files, images.classes, strict=True)
    ]
    dataset.add_samples(samples, progress=False)
    parts = {"clusterer": arguments.clusterer, "reducer": arguments.reducer, "baselines": False}
    options = {"n_clusters": arguments.clusters, "seed": seed, **parts, **images.options}
    quiet = {"progress": False, "compute_brain": False}
    run = fdc.cluster(dataset, "frozen", "dc", **options, **quiet)
    truth = dict(zip(*dataset.values(["id", "truth.label"]), strict=True))
    perfect = majority_share(dataset)
    found: dict[str, Any] = {"clusters": run.n_clusters, "n": len(truth), "perfect names": (0, perfect)}
    order = [row.name for row in cluster_rows(run)]
    person = Reviewer(fdc.review(dataset, "dc"), truth, MOST_ACTIONS * run.n_clusters, order)
    names = person.names_only()
    found["names"] = (person.actions, accuracy(dataset, "dc", truth, names))
    person = Reviewer(fdc.review(dataset, "dc"), truth, MOST_ACTIONS * run.n_clusters, order)
    person.board()
    found["board"] = (person.actions, accuracy(dataset, "dc", truth))
    pure = sorted({*person.names} - person.mixed)
    if pure:
        person.edits.mark_reviewed(pure)
        fdc.refine(dataset, "dc", new_key="refined", **quiet)
        found["board, refine"] = (person.actions + len(pure), accuracy(dataset, "refined", truth))
    dataset.delete()
    return found


def majority_share(dataset: fo.Dataset) -> float:
    """Accuracy if each cluster had the name of most of its images."""
    counts: dict[str, Counter[str]] = {}
    for name, label in zip(*dataset.values(["dc.label", "truth.label"]), strict=True):
        counts.setdefault(name, Counter())[label] += 1
    return sum(max(counted.values()) for counted in counts.values()) / len(dataset)


def accuracy(
    dataset: fo.Dataset, key: str, truth: dict[str, str], named: dict[str, str] | None = None
) -> float:
    """Share of the images whose cluster has the name of their class; ``named``: other names of the clusters."""
    dataset.reload()
    pairs = zip(*dataset.values(["id", f"{key}.label"]), strict=True)
    return float(np.mean([(named or {}).get(name, name) == f"class {truth[image]}" for image, name in pairs]))


def summary(name: str, images: ImageSet, runs: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each policy, the mean over the seeds."""
    clusters = float(np.mean([run["clusters"] for run in runs]))
    rows = []
    for policy in ("perfect names", "names", "board", "board, refine"):
        known = [run for run in runs if policy in run]
        if not known:
            continue
        actions = [run[policy][0] for run in known]
        reached = [run[policy][1] for run in known]
        share = [run[policy][1] / run["perfect names"][1] for run in known]
        single = [min(1.0, run[policy][0] / run["n"]) for run in known]
        rows.append(
            [
                f"{name} ({len(images.files):,})",
                f"{clusters:.0f}",
                policy,
                f"{np.mean(actions) / clusters:.2f}",
                f"{np.mean(reached):.3f} ± {np.std(reached):.3f}",
                f"{np.mean(share):.3f}",
                f"{np.mean(single):.3f}",
            ]
        )
    return rows


if __name__ == "__main__":
    main()
