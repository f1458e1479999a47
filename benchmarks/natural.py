"""Natural images with a pre-trained network: self-training, its parts, and frozen features on the same weights.

    python -m benchmarks.natural --zip scene15.zip --weights mobilenet_v2.pth --out runs.jsonl
    python -m benchmarks.natural --zip scene15.zip --weights mobilenet_v2.pth --only "UMAP + k-means" self-training
    python -m benchmarks.natural --zip scene15.zip --weights mobilenet_v2.pth --only "self-training, two networks" \
        --second squeezenet1_0 --second-weights squeezenet1_0.pth
    python -m benchmarks.natural --summary runs.jsonl

Mean and standard deviation of ACC, NMI and purity over the seeds, and seconds of a run. The zip holds CLASS/name.jpg
(or .png, .dcm); the classes are used for evaluation only, except their number. ``--images`` takes an equal share of
every class. Without --zip scikit-learn's digits and random weights replace them, as a test of the program. Every run is
appended to --out as a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmarks.quality import parsed
from benchmarks.report import append_runs, read_runs, table
from benchmarks.zips import image_names
from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.core.types import Known
from fiftyone_deepcluster.methods.base import parse_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UMAP = {"name": "umap", "metric": "cosine"}
VIEWS = {"name": "view-whitened"}
ROWS: dict[str, tuple[str, dict[str, object]]] = {
    "k-means": ("frozen", {"clusterer": "kmeans"}),
    "k-means, PCA 64": ("frozen", {"clusterer": "kmeans", "encoder": {"name": "pooled", "pca": 64}}),
    "UMAP + k-means": ("frozen", {"reducer": UMAP, "clusterer": "kmeans"}),
    "UMAP + k-means, mirrored 2 x 2 cells": (
        "frozen",
        {
            "reducer": UMAP,
            "clusterer": "kmeans",
            "encoder": {"name": "pooled", "pca": 0, "bands": 2, "columns": 2, "mirror": True},
        },
    ),
    "UMAP + k-means, view-whitened": ("frozen", {"reducer": UMAP, "clusterer": "kmeans", "encoder": VIEWS}),
    "consensus": ("frozen", {"clusterer": "consensus", "encoder": {**VIEWS, "layer": "auto"}}),
    "self-training": ("self-training", {}),
    "self-training, fast": ("self-training", {"fast": True}),
    "self-training, two networks": ("self-training", {}),
}
"""Method and options of each row; the strongest frozen baselines come first."""

SECOND = {"self-training, two networks"}
"""Rows with the view-whitened features of a second network beside those of the first; only with --second-weights."""


def main() -> None:
    arguments = arguments_given()
    if arguments.summary:
        runs = read_runs(arguments.summary)
    else:
        torch.set_num_threads(arguments.threads)
        runs = []
        with images_of(arguments) as (images, classes):
            for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
                for name in arguments.only or [row for row in ROWS if row not in SECOND]:
                    runs.append(one(name, images, classes, seed, arguments))
                    print(json.dumps(runs[-1]), flush=True)
                    append_runs(arguments.out, [runs[-1]])
    print(summary(runs))


def one(
    name: str,
    images: np.ndarray | Sequence[str],
    classes: np.ndarray,
    seed: int,
    arguments: argparse.Namespace,
) -> dict[str, object]:
    """One run, measured after every round."""
    method, options = ROWS[name]
    given = {
        "n_clusters": len(np.unique(classes)),
        "backbone": {"name": "torchvision", "model": arguments.model},
        "weights": arguments.weights,
        "image_size": arguments.size,
        "baselines": False,
        "seed": seed,
        **({"input_norm": "imagenet"} if arguments.weights is None else {}),
        **options,
        **parsed(dict(pair.split("=", 1) for pair in arguments.option)),
    }
    started = time.perf_counter()
    known = Known(other_vectors=second_vectors(images, given, arguments)) if name in SECOND else None
    result = fit(images, parse_options(method, given), truth=classes, known=known)
    seconds = time.perf_counter() - started
    rounds = [
        {
            "acc": entry.truth.acc,
            "nmi": entry.truth.nmi,
            "purity": entry.truth.purity,
            "change": entry.change and entry.change.nmi,
            "scores": entry.scores,
            "seconds": entry.seconds,
        }
        for entry in result.record.rounds
        if entry.truth
    ]
    return {"row": name, "seed": seed, "n": len(images), "model": arguments.model, "size": arguments.size,
            "options": arguments.option, "seconds": seconds, "rounds": rounds}  # fmt: skip


def second_vectors(
    images: np.ndarray | Sequence[str], given: dict[str, object], arguments: argparse.Namespace
) -> np.ndarray:
    """View-whitened features (N, D) of the second network."""
    if arguments.second_weights is None:
        raise SystemExit(
            f"the rows {', '.join(SECOND)} need --second-weights, the state dict of a second network"
        )
    same = {name: given[name] for name in ("n_clusters", "image_size", "baselines", "seed")}
    options = {
        **same,
        "backbone": {"name": "torchvision", "model": arguments.second},
        "weights": arguments.second_weights,
        "encoder": VIEWS,
        "clusterer": {"name": "kmeans", "n_init": 1},
    }
    return fit(images, parse_options("frozen", options)).embeddings


def summary(runs: list[dict]) -> str:
    """The table of all runs."""
    keys = list(
        dict.fromkeys((run["model"], run["size"], run["n"], run["row"], *run["options"]) for run in runs)
    )
    rows = []
    for key in keys:
        same = [
            run for run in runs if (run["model"], run["size"], run["n"], run["row"], *run["options"]) == key
        ]
        ends = [run["rounds"][-1] for run in same]
        cells = [spread([end[measure] for end in ends]) for measure in ("acc", "nmi", "purity")]
        rows.append(
            [", ".join(map(str, key)), *cells, f"{np.mean([run['seconds'] for run in same]):.0f}", len(same)]
        )
    return table(["network, side, images, row", "ACC", "NMI", "purity", "seconds", "seeds"], rows)


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


@contextmanager
def images_of(arguments: argparse.Namespace) -> Iterator[tuple[np.ndarray | list[str], np.ndarray]]:
    """Images, or paths of the files that were extracted, and classes."""
    if arguments.zip is None:
        digits = load_digits()
        rows = share(digits.target, arguments.images)
        yield (digits.images * 15.9375).astype(np.uint8)[rows], digits.target[rows]
        return
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(arguments.zip) as archive:
        names, classes = image_names(archive)
        rows = share(classes, arguments.images)
        yield [archive.extract(names[row], folder) for row in rows], classes[rows]


def share(classes: np.ndarray, n: int) -> np.ndarray:
    """Rows of the first images of every class, ``n`` in all; all rows for 0."""
    if not n:
        return np.arange(len(classes))
    each = n // len(np.unique(classes))
    return np.concatenate([np.flatnonzero(classes == one)[:each] for one in np.unique(classes)])


def arguments_given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--zip", type=Path)
    parser.add_argument("--model", default="mobilenet_v2", help="of torchvision")
    parser.add_argument("--weights", help="its state dict")
    parser.add_argument("--second", default="squeezenet1_0", help="a second network of torchvision")
    parser.add_argument("--second-weights", help="its state dict")
    parser.add_argument("--size", type=int, default=224, help="side of the network's input in pixels")
    parser.add_argument("--images", type=int, default=0, help="number of images; 0: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(ROWS))
    parser.add_argument("--option", nargs="*", default=[], help="options on top of the rows': NAME=JSON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--summary", nargs="*", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
