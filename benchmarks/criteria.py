"""Quality of the label-free criteria of ``try_clusterings``: rank correlation with ACC, and regret of the choice.

    python -m benchmarks.criteria features --zip scenes=scene15.zip --weights mobilenet_v2.pth --out scenes.npz
    python -m benchmarks.criteria run --digits --npz usps=usps.npz --features scenes=scenes.npz --out criteria.jsonl
    python -m benchmarks.criteria run --digits --class-share 0.6 --first-seed 61 --out subsets.jsonl
    python -m benchmarks.criteria table criteria.jsonl subsets.jsonl

``run`` appends a line of JSON for every set and seed: criteria and ACC of every candidate, and which one was chosen.
Images, and with ``--class-share`` classes, are drawn by the seed. ``table`` prints, for every criterion, the mean over
sets and seeds of Spearman's correlation with ACC over the candidates, and of the regret, which is the ACC of the best
candidate minus that of the one with the best value; then the regret of rules that were chosen on the other sets; then
one row for each set. Candidates with another number of clusters, or with noise (HDBSCAN's), count in none. Classes are
used for evaluation only, except their number.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.quality import datasets
from benchmarks.report import append_runs, read_runs, table
from fiftyone_deepcluster.clusterers.candidates import LEAST_INFORMATION, try_clusterings
from fiftyone_deepcluster.metrics.agreement import agreement

CRITERIA = {
    "objective": -1,
    "accuracy": 1,
    "information": 1,
    "silhouette": 1,
    "seeds": 1,
    "others": 1,
    "balance": 1,
    "worth": 1,
}
"""Attributes of a candidate, and 1 where larger is better."""

FACTORS = ("information", "accuracy", "others", "balance")
"""Criteria whose products are compared, each to the power of 0, 0.5 or 1."""

BASELINE = "umap-kmeans"
"""The strongest of the usual ways, beside which the choice is shown."""


def main() -> None:
    arguments = arguments_given()
    {"features": features, "run": run, "table": show}[arguments.what](arguments)


def arguments_given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["features", "run", "table"])
    parser.add_argument("runs", type=Path, nargs="*", help="table: files that --out wrote")
    parser.add_argument("--zip", type=Path, help="features: images in folders named by their class")
    parser.add_argument("--model", default="mobilenet_v2", help="features: of torchvision")
    parser.add_argument("--weights", help="features: its state dict")
    parser.add_argument("--layer", help="features: a layer instead of the network's features")
    parser.add_argument("--size", type=int, default=224, help="features: side in pixels")
    parser.add_argument("--digits", action="store_true")
    parser.add_argument("--npz", action="append", default=[], metavar="NAME=PATH", help="images x, classes y")
    parser.add_argument(
        "--features", action="append", default=[], metavar="NAME=PATH", help="vectors x, classes y"
    )
    parser.add_argument("--images", type=int, default=800, help="maximum images of each set, drawn at random")
    parser.add_argument(
        "--class-share", type=float, default=1.0, help="share of the classes, drawn at random"
    )
    parser.add_argument("--heads", action="store_true", help="run: the candidates turtle and temi as well")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=51)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def features(arguments: argparse.Namespace) -> None:
    """Pooled features of the images in a zip, or of DICOM files, as ``frozen`` computes them."""
    from fiftyone_deepcluster.api.fit import fit
    from fiftyone_deepcluster.methods.base import parse_options

    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(arguments.zip) as archive:
        archive.extractall(folder)
        files = sorted(
            path for path in Path(folder).rglob("*") if path.suffix in (".jpg", ".jpeg", ".png", ".dcm")
        )
        classes = np.unique([path.parent.name for path in files], return_inverse=True)[1]
        options = {
            "n_clusters": 2,
            "backbone": {"name": "torchvision", "model": arguments.model},
            "weights": arguments.weights,
            "image_size": arguments.size,
            "encoder": {"name": "pooled", "pca": 0, "layer": arguments.layer},
            "clusterer": {"name": "kmeans", "n_init": 1},
            "baselines": False,
        }
        found = fit([str(path) for path in files], parse_options("frozen", options))
    np.savez(arguments.out, x=found.embeddings, y=classes)


def run(arguments: argparse.Namespace) -> None:
    """Every set with every seed."""
    torch.set_num_threads(arguments.threads)
    for name, (all_vectors, all_classes) in sets(arguments).items():
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            vectors, classes = drawn(all_vectors, all_classes, arguments, seed)
            entry = {
                "set": name,
                "seed": seed,
                "n": len(vectors),
                **one(vectors, classes, seed, arguments.heads),
            }
            print(json.dumps(entry), flush=True)
            append_runs(arguments.out, [entry])


def one(vectors: np.ndarray, classes: np.ndarray, seed: int, heads: bool = False) -> dict[str, object]:
    """Criteria and ACC of every candidate."""
    started = time.perf_counter()
    trial = try_clusterings(vectors, len(np.unique(classes)), seed=seed, heads=heads)
    seconds = time.perf_counter() - started
    rows = {
        one.name: {
            **{criterion: getattr(one, criterion) for criterion in CRITERIA},
            "clusters": one.clustering.n_clusters,
            "leaves_out": one.leaves_out,
            "acc": agreement(one.clustering.labels, classes).acc,
        }
        for one in trial.candidates
    }
    found = {"classes": len(np.unique(classes)), "chosen": trial.chosen.name, "candidates": rows}
    return {**found, "seconds": seconds}


def sets(arguments: argparse.Namespace) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Vectors (N, D) float32 and classes (N,) by name; images as their pixels, z-scored by image."""
    found = {}
    if arguments.digits or arguments.npz:
        known = argparse.Namespace(digits=arguments.digits, npz=arguments.npz, images=0)
        for name, (images, classes) in datasets(known).items():
            pixels = images.reshape(len(images), -1).astype(np.float32)
            scale = pixels.std(1, keepdims=True).clip(1e-6)
            found[name] = ((pixels - pixels.mean(1, keepdims=True)) / scale, classes)
    for item in arguments.features:
        name, path = item.split("=", 1)
        with np.load(path) as file:
            found[name] = (file["x"].astype(np.float32), file["y"].astype(np.int64))
    return found


def drawn(
    vectors: np.ndarray, classes: np.ndarray, arguments: argparse.Namespace, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images of some classes by the seed: at most ``--images``, and no more than four fifths of all."""
    draw, names = np.random.default_rng(seed), np.unique(classes)
    few = max(3, int(np.ceil(arguments.class_share * len(names))))
    rows = np.flatnonzero(np.isin(classes, draw.choice(names, min(few, len(names)), replace=False)))
    rows = np.sort(draw.choice(rows, min(arguments.images, int(0.8 * len(rows))), replace=False))
    return vectors[rows], classes[rows]


def show(arguments: argparse.Namespace) -> None:
    """The tables of all runs."""
    runs = read_runs(arguments.runs)
    print(table(["criterion", "Spearman", "regret", "largest regret"], criteria_rows(runs)))
    print()
    print(table(["left out", "best product on the other sets", "its regret"], left_out_rows(runs)))
    print()
    about = ["set", "images", "seeds", "chosen", "ACC chosen", f"ACC {BASELINE}", "ACC best", "regret"]
    print(table([*about, "seconds"], set_rows(runs)))


def criteria_rows(runs: list[dict]) -> list[list[str]]:
    """One row for each criterion, and one for the choice."""
    rows = []
    for criterion, sign in CRITERIA.items():
        found = [able(run) for run in runs]
        signed = [[sign * one[criterion] for one in some.values()] for some in found]
        reached = [[one["acc"] for one in some.values()] for some in found]
        ranks = [
            spearmanr(a, b).statistic if len(set(a)) > 1 and len(set(b)) > 1 else 0.0
            for a, b in zip(signed, reached, strict=True)
        ]
        regrets = [max(b) - b[int(np.argmax(a))] for a, b in zip(signed, reached, strict=True)]
        rows.append([criterion, f"{np.mean(ranks):.2f}", f"{np.mean(regrets):.3f}", f"{max(regrets):.3f}"])
    chosen = [regret(run) for run in runs]
    usual = [regret(run, BASELINE) for run in runs]
    rows.append([f"always {BASELINE}", "", f"{np.mean(usual):.3f}", f"{max(usual):.3f}"])
    rows.append(["the choice", "", f"{np.mean(chosen):.3f}", f"{max(chosen):.3f}"])
    return rows


def left_out_rows(runs: list[dict]) -> list[list[str]]:
    """For every set the product of powers with the lowest mean regret on the others, and its regret here; the mean.

    Sets whose names begin alike up to "-" are of the same images, and are left out together.
    """
    rules = [powers for powers in itertools.product((0.0, 0.5, 1.0), repeat=len(FACTORS)) if any(powers)]
    regrets = np.array([[regret_by(run, powers) for run in runs] for powers in rules])
    images = np.array([run["set"].split("-")[0] for run in runs])
    rows, reached = [], np.empty(len(runs))
    for name in dict.fromkeys(images):
        here = images == name
        if here.all():
            return []
        best = int(regrets[:, ~here].mean(axis=1).argmin())
        reached[here] = regrets[best, here]
        product = " x ".join(
            f"{factor}^{power:g}" for factor, power in zip(FACTORS, rules[best], strict=True) if power
        )
        rows.append([name, product, f"{reached[here].mean():.3f}"])
    return [*rows, ["mean", "", f"{reached.mean():.3f}"]]


def regret_by(run: dict, powers: Sequence[float]) -> float:
    """Regret of the candidate with the largest product of powers of ``FACTORS``."""
    candidates = list(able(run).values())
    products = [
        np.prod(
            [
                max(one[factor], LEAST_INFORMATION) ** power
                for factor, power in zip(FACTORS, powers, strict=True)
            ]
        )
        for one in candidates
    ]
    reached = [one["acc"] for one in candidates]
    return max(reached) - reached[int(np.argmax(products))]


def set_rows(runs: list[dict]) -> list[list[object]]:
    """One row for each set, mean over the seeds."""
    rows = []
    for name in dict.fromkeys(run["set"] for run in runs):
        same = [run for run in runs if run["set"] == name]
        chosen = np.mean([run["candidates"][run["chosen"]]["acc"] for run in same])
        usual = np.mean([run["candidates"][BASELINE]["acc"] for run in same])
        best = np.mean([max(one["acc"] for one in able(run).values()) for run in same])
        rows.append(
            [name, same[0]["n"], len(same), ", ".join(dict.fromkeys(run["chosen"] for run in same)), f"{chosen:.3f}",
             f"{usual:.3f}", f"{best:.3f}", f"{np.mean([regret(run) for run in same]):.3f}",
             f"{np.mean([run['seconds'] for run in same]):.0f}"]
        )  # fmt: skip
    return rows


def able(run: dict) -> dict[str, dict]:
    """Candidates with the requested number of clusters that leave no image out: ACC counts images with a cluster."""
    return {
        name: one
        for name, one in run["candidates"].items()
        if one["clusters"] == run["classes"] and not one["leaves_out"]
    }


def regret(run: dict, name: str | None = None) -> float:
    """ACC of the best candidate minus that of the chosen one, or of ``name``."""
    reached = run["candidates"][name or run["chosen"]]["acc"]
    return max(one["acc"] for one in able(run).values()) - reached


if __name__ == "__main__":
    main()
