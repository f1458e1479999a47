"""Runs that differ in the seed: single ones, and the one that ``rank_runs`` finds to agree most with the others.

    python -m benchmarks.seeds                                              # scikit-learn's digits
    python -m benchmarks.seeds --npz fashion=fashion_mnist.npz --images 10000 --method deepcluster-manifold
    python -m benchmarks.seeds --out runs.jsonl                             # resumes, and then
    python -m benchmarks.seeds --summary runs.jsonl

The classes are used for evaluation only. Every choice of 3 and of 4 runs is ranked, so that there is a deviation.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path

import numpy as np

from benchmarks.quality import add_image_arguments, datasets
from benchmarks.report import append_runs, read_runs, table
from fiftyone_deepcluster.analysis.compare import rank_labelings
from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.methods.base import parse_options
from fiftyone_deepcluster.metrics.agreement import agreement


def main() -> None:
    arguments = arguments_given()
    if arguments.summary:
        runs = read_runs(arguments.summary)
    else:
        runs = read_runs([arguments.out]) if arguments.out and arguments.out.exists() else []
        for run in new_runs(arguments, {(run["data"], run["method"], run["seed"]) for run in runs}):
            runs.append(run)
            append_runs(arguments.out, [run])
    header = ["images", "method", "runs", "single run, ACC", "NMI", "of 3, ACC", "NMI", "of 4, ACC", "NMI"]
    print(table(header, rows(runs)))


def new_runs(arguments: argparse.Namespace, done: set[tuple[str, str, int]]) -> Iterator[dict]:
    """The runs of every set, method and seed, without those that are done."""
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    for name, (images, classes) in datasets(arguments).items():
        for method, seed in product(arguments.method, seeds):
            if (name, method, seed) not in done:
                yield one(name, method, seed, images, classes)


def one(name: str, method: str, seed: int, images: np.ndarray, classes: np.ndarray) -> dict:
    """One run, with its labels."""
    started = time.perf_counter()
    options = {"n_clusters": len(np.unique(classes)), "seed": seed, "baselines": False}
    labels = fit(images, parse_options(method, options)).labels
    scores = agreement(labels, classes)
    seconds = time.perf_counter() - started
    return {"data": name, "method": method, "seed": seed, "seconds": seconds, "acc": scores.acc, "nmi": scores.nmi,
            "labels": labels.tolist()}  # fmt: skip


def rows(runs: list[dict]) -> list[list[object]]:
    """Mean and deviation of single runs, and of the chosen ones, for every set and method."""
    found: list[list[object]] = []
    for data, method in dict.fromkeys((run["data"], run["method"]) for run in runs):
        same = [run for run in runs if (run["data"], run["method"]) == (data, method)]
        cells: list[object] = [data, method, len(same)]
        for group in (same, chosen(same, 3), chosen(same, 4)):
            cells += [spread([run[measure] for run in group]) for measure in ("acc", "nmi")]
        found.append(cells)
    return found


def chosen(runs: list[dict], n: int) -> list[dict]:
    """The run that agrees most with the others, of every ``n`` of the runs."""
    found = []
    for some in combinations(runs, n):
        by_name = {str(run["seed"]): run for run in some}
        best = rank_labelings(
            {name: [str(label) for label in run["labels"]] for name, run in by_name.items()}
        ).best
        found.append(by_name[best])
    return found


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}" if values else ""


def arguments_given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_image_arguments(parser)
    parser.add_argument("--method", nargs="+", default=["deepcluster-manifold"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=51)
    parser.add_argument(
        "--out", type=Path, help="append every run here, and do not repeat those that are there"
    )
    parser.add_argument("--summary", type=Path, nargs="+", help="run nothing: the table of these files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
