"""Power iteration clustering with the paper's settings: how many clusters it finds, and how good they are.

    python -m benchmarks.pic                                         # scikit-learn's digits
    python -m benchmarks.pic --npz usps=usps.npz --zip scenes=scene15.zip --weights mobilenet_v2.pth

A zip holds CLASS/name.jpg and is described by MobileNetV2, whose weights must be given; .npz images by their pixels.
DeepCluster's variant has 5 neighbors, sigma 0.2, alpha 0.001 and 200 iterations and finds the number itself;
k-means is given the number of classes. Classes are used for evaluation only.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.quality import add_image_arguments, datasets
from benchmarks.report import table
from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.methods.base import parse_options

ENCODERS = {
    "length 1": {"name": "pooled", "pca": 0, "l2_normalize": True},
    "PCA 256, whitened, length 1": {"name": "pooled", "pca": 256, "whiten": True, "l2_normalize": True},
}
CLUSTERERS: dict[str, Any] = {
    "pic": "pic",
    "kmeans": "kmeans",
}
HEADER = ["images", "vectors", "clusterer", "k", "maxima", "largest", "ACC", "NMI", "purity", "seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_image_arguments(parser)
    parser.add_argument("--zip", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--weights", help="of MobileNetV2, for --zip")
    arguments = parser.parse_args()
    rows = []
    for name, (images, classes) in datasets(arguments).items():
        rows += measure(name, images, classes, {"backbone": "pixels", "input_norm": "zscore"})
    network = {"backbone": "torchvision", "weights": arguments.weights, "image_size": 224}
    for item in arguments.zip:
        name, path = item.split("=", 1)
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            files = sorted(file for file in Path(folder).rglob("*.*") if file.is_file())
            rows += measure(name, files, [file.parent.name for file in files], network)
    print(table(HEADER, rows))


def measure(name: str, images: Any, classes: Any, features: dict[str, Any]) -> list[list[str]]:
    """Every clusterer on the same vectors."""
    common = {"name": "frozen", **features, "baselines": False, "clusterer": "kmeans", "rounds": 1}
    described = fit(
        images,
        parse_options("frozen", {**common, "encoder": {"name": "pooled", "pca": 0, "l2_normalize": False}}),
    )
    rows = []
    for vectors, encoder in ENCODERS.items():
        for label, clusterer in CLUSTERERS.items():
            values = {"clusterer": clusterer, "encoder": encoder, "baselines": False,
                      "n_clusters": None if label == "pic" else len(set(classes))}  # fmt: skip
            started = time.perf_counter()
            result = fit(
                images, parse_options("frozen", values), truth=classes, features=described.embeddings
            )
            last = result.record.rounds[-1]
            truth = last.truth
            maxima = last.scores.get("maxima")
            found = ["" if maxima is None else f"{maxima:.0f}", f"{last.largest_share:.1%}"]
            found += [f"{value:.3f}" for value in (truth.acc, truth.nmi, truth.purity)]
            seconds = f"{time.perf_counter() - started:.1f}"
            rows.append([name, vectors, label, str(result.record.n_clusters), *found, seconds])
    return rows


if __name__ == "__main__":
    main()
