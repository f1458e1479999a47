"""Accuracy of ``refine`` on images that nobody reviewed, by the weight of the reviewed images in the loss.

    python -m benchmarks.reviewed_weight                      # scikit-learn's digits
    python -m benchmarks.reviewed_weight --npz fashion=fashion_mnist.npz --images 1200

A run is reviewed by somebody who knows the classes: either a random tenth of the images gets its class (``images``), or
the four purest clusters are corrected and marked as reviewed (``clusters``). Every other image has the class that the
best one-to-one matching gives to its cluster. The run then continues with each weight, from its network. Shown is the
share of the other images whose cluster is that of their class, before and after.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.quality import add_image_arguments, datasets, parsed
from benchmarks.report import append_runs, table
from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.core.types import Known
from fiftyone_deepcluster.methods.base import parse_options
from fiftyone_deepcluster.metrics.matching import best_match, overlap

if TYPE_CHECKING:
    from numpy.typing import NDArray

REVIEWS = ("images", "clusters")
SHARE, PUREST = 0.1, 4
"""Share of reviewed images, and number of reviewed clusters."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_image_arguments(parser)
    parser.add_argument("--method", action="append", default=[], help="by default deepcluster")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--weights", type=float, nargs="+", default=[1.0, 20.0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[51, 52, 53])
    parser.add_argument("--out", type=Path, help="append every single run here, as JSON lines")
    arguments = parser.parse_args()
    rows = []
    for name, (images, classes) in datasets(arguments).items():
        for method in arguments.method or ["deepcluster"]:
            runs = []
            for seed in arguments.seeds:
                runs.append(measured(images, classes, method, seed, arguments))
                append_runs(arguments.out, [{"set": name, "method": method, "seed": seed, **runs[-1]}])
            for kind in REVIEWS:
                figures = np.array([run[kind] for run in runs])
                cells = [
                    f"{mean:.3f} ± {sd:.3f}" for mean, sd in zip(figures.mean(0), figures.std(0), strict=True)
                ]
                rows.append([name, len(images), method, kind, *cells])
    print(table(["images", "n", "method", "reviewed", "before", *map(str, arguments.weights)], rows))


def measured(
    images: NDArray[np.uint8],
    classes: NDArray[np.int64],
    method: str,
    seed: int,
    arguments: argparse.Namespace,
) -> dict[str, list[float]]:
    """Accuracy on the images that were not reviewed: before, and with each weight; by kind of review."""
    n = len(np.unique(classes))
    given = parsed(dict(item.split("=", 1) for item in arguments.option))
    given |= {"rounds": arguments.rounds, "seed": seed, "device": "cpu", "baselines": False}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        first = parse_options(method, {**given, "n_clusters": n})
        labels = fit(images, first, run_dir=Path(folder) / "first").labels
        named = class_of_cluster(labels, classes, n)[labels]
        for kind in REVIEWS:
            fixed = reviewed(kind, labels, named == classes, seed)
            there, numbers = np.unique(np.where(fixed, classes, named), return_inverse=True)
            options = parse_options(method, {**given, "n_clusters": len(there)})
            known = Known(
                initial=[f"{number:02d}" for number in numbers],
                fixed=fixed.tolist(),
                network=Path(folder) / "first",
            )
            found[kind] = [float((named == classes)[~fixed].mean())]
            for weight in arguments.weights:
                after = there[fit(images, options, known=replace(known, fixed_weight=weight)).labels]
                found[kind].append(float((after == classes)[~fixed].mean()))
    return found


def class_of_cluster(labels: NDArray[np.int64], classes: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """(K,) class of each cluster by the best one-to-one matching."""
    clusters, matched = best_match(overlap(labels, classes, (n, n)))
    names = np.zeros(n, np.int64)
    names[clusters] = matched
    return names


def reviewed(kind: str, labels: NDArray[np.int64], right: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """(N,) which images were reviewed."""
    if kind == "images":
        return np.random.default_rng(seed).random(len(labels)) < SHARE
    purity = {cluster: right[labels == cluster].mean() for cluster in np.unique(labels)}
    return np.isin(labels, sorted(purity, key=purity.__getitem__, reverse=True)[:PUREST])


if __name__ == "__main__":
    main()
