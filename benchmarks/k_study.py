"""DeepCluster over rounds and numbers of clusters: the preliminary studies of its authors.

    python -m benchmarks.k_study --clusters 10 20 40 80 160                   # scikit-learn's digits
    python -m benchmarks.k_study --npz usps=usps.npz --clusters 10 80 --sampling uniform shuffled

Caron et al. (section 4.1, figure 2) draw (a) NMI between clusters and true classes over training, (b) NMI between the
clusters of adjacent rounds, and (c) the quality of the features against k. This benchmark draws the same in one
picture. For (c) it uses a logistic regression on the frozen features, and k-means on them with one cluster per class.
The loop trains on k clusters in all rounds. The classes are used for evaluation only.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.quality import add_image_arguments, datasets
from benchmarks.report import table
from fiftyone_deepcluster.api.fit import FitResult, fit
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.core.progress import Tqdm
from fiftyone_deepcluster.methods.base import parse_options
from fiftyone_deepcluster.metrics.agreement import agreement

HEADER = (
    "images", "sampling", "k", "NMI to classes", "purity", "NMI to last round", "used", "probe",
    "k-means ACC", "k-means NMI", "seconds", "stopped",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_image_arguments(parser)
    parser.add_argument("--clusters", type=int, nargs="+", default=[10, 20, 40, 80, 160])
    parser.add_argument("--sampling", nargs="+", default=["uniform"], choices=["uniform", "shuffled"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=51)
    parser.add_argument("--out", type=Path, default=Path("k_study"), help="folder for the pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, (images, classes) in datasets(arguments).items():
        runs = [
            study(images, classes, {"n_clusters": k, "sampling": sampling}, arguments)
            for sampling in arguments.sampling
            for k in arguments.clusters
        ]
        rows += [[name, *run["row"]] for run in runs]
        draw(name, runs, arguments.out / f"{name}.png")
    print(table(HEADER, rows))


def study(
    images: np.ndarray, classes: np.ndarray, chosen: dict[str, Any], arguments: argparse.Namespace
) -> dict[str, Any]:
    """One run, its curves, and the quality of its features."""
    k = chosen["n_clusters"]
    options = parse_options(
        "deepcluster",
        {
            **chosen, "pseudo_clusters": k, "pseudo_class_rounds": arguments.rounds, "rounds": arguments.rounds,
            "seed": arguments.seed, "baselines": False,
        },
    )  # fmt: skip
    started = time.perf_counter()
    result = fit(images, options, truth=classes, observer=Tqdm())
    seconds = time.perf_counter() - started
    last = result.record.rounds[-1]
    probe, acc, nmi = feature_quality(result, classes, arguments.seed)
    figures = (last.truth.nmi, last.truth.purity, last.change.nmi)
    row = [
        chosen["sampling"], k, *(f"{figure:.3f}" for figure in figures), last.clusters_in_use,
        f"{probe:.3f}", f"{acc:.3f}", f"{nmi:.3f}", f"{seconds:.0f}", result.record.stop_reason.value,
    ]  # fmt: skip
    return {
        "name": f"k = {k}" + ("" if chosen["sampling"] == "uniform" else ", shuffled"),
        "k": k, "sampling": chosen["sampling"], "row": row, "probe": probe, "acc": acc,
        "truth": [entry.truth.nmi for entry in result.record.rounds],
        "change": [entry.change.nmi if entry.change else None for entry in result.record.rounds],
    }  # fmt: skip


def feature_quality(result: FitResult, classes: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Accuracy of a linear probe (5 folds), and ACC and NMI of k-means with one cluster a class."""
    import torch

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    accuracy = cross_val_score(probe, result.embeddings, classes, cv=5).mean()
    found = CLUSTERERS.parse("kmeans").cluster(
        torch.from_numpy(result.embeddings), ClusterRequest(len(np.unique(classes)), seed)
    )
    against = agreement(found.labels.numpy(), classes)
    return float(accuracy), against.acc, against.nmi


def draw(name: str, runs: list[dict[str, Any]], path: Path) -> None:
    """Three panels as in the paper's figure 2."""
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    truth, change, worth_of = figure.subplots(1, 3)
    for run in runs:
        numbers = range(1, len(run["truth"]) + 1)
        truth.plot(numbers, run["truth"], label=run["name"])
        change.plot(numbers, run["change"], label=run["name"])
    for sampling in dict.fromkeys(run["sampling"] for run in runs):
        of = [run for run in runs if run["sampling"] == sampling]
        worth_of.plot(
            [run["k"] for run in of], [run["probe"] for run in of], "o-", label=f"probe, {sampling}"
        )
        worth_of.plot(
            [run["k"] for run in of], [run["acc"] for run in of], "s--", label=f"k-means, {sampling}"
        )
    truth.set(title=f"{name}: NMI to the classes", xlabel="round", ylim=(0, 1))
    change.set(title="NMI to the last round", xlabel="round", ylim=(0, 1))
    worth_of.set(title="quality of the features", xlabel="k", xscale="log", ylim=(0, 1))
    worth_of.set_xticks([run["k"] for run in runs], [str(run["k"]) for run in runs], minor=False)
    worth_of.minorticks_off()
    truth.legend(fontsize=7)
    worth_of.legend(fontsize=7)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
