"""Single parts of LDPO: RIM by its lambda, LSC compared with k-means, and several encodings.

    python -m benchmarks.ldpo_parts rim lsc                                     # scikit-learn's digits
    python -m benchmarks.ldpo_parts rim lsc --npz usps=usps.npz
    python -m benchmarks.ldpo_parts encodings --zip scenes=scene15.zip --model squeezenet1_0 --weights squeezenet1_0.pth

``rim``: clusters left of 50 k-means clusters at lambda = 1, for features of several mean lengths, and where lambda
follows from its path. ``lsc``: spectral clustering with landmarks beside k-means (10 starts, 100 iterations).
``encodings``: k-means on one encoding of a fixed network after the other; patch mining goes on for some rounds, each
mining in the clusters of the round before, in crops of the images, or in windows of maps with --maps. A zip holds
CLASS/name.jpg; classes are used for evaluation only.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.quality import datasets
from benchmarks.report import table
from benchmarks.zips import gray_images
from fiftyone_deepcluster.api.assembly import assemble, open_store
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, Clustering, ClusterRequest
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.clusterers.rim.clusterer import Rim
from fiftyone_deepcluster.clusterers.spectral import Lsc
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.features.base import ENCODERS, EncodeRequest
from fiftyone_deepcluster.features.reduce import fit_pca
from fiftyone_deepcluster.images.inspect import image_facts
from fiftyone_deepcluster.methods.frozen import Frozen
from fiftyone_deepcluster.metrics.agreement import agreement

if TYPE_CHECKING:
    from fiftyone_deepcluster.features.corpus import Corpus

LENGTHS = (1, 3, 10, 30, 45, 70, 100, 200)
"""Mean lengths of the features that lambda = 1 is tried at."""

Sets = dict[str, tuple[np.ndarray, np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="+", choices=["rim", "lsc", "encodings"])
    parser.add_argument("--npz", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--zip", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--digits", action="store_true", help="digits too, where --npz or --zip is given")
    parser.add_argument("--images", type=int, default=0, help="maximum number of images; 0: all")
    parser.add_argument("--model", default="squeezenet1_0", help="of torchvision, for encodings")
    parser.add_argument("--weights", help="its state dict; empty: random")
    parser.add_argument(
        "--encoder", action="append", default=[], help="name, or NAME:option=value,...; all by default"
    )
    parser.add_argument(
        "--maps", action="store_true", help="patches of the default encoders are windows of maps, not crops"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of patch mining")
    parser.add_argument(
        "--start", type=int, action="append", default=[], help="clusters RIM's path begins with"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=51)
    arguments = parser.parse_args()
    seeds = list(range(arguments.first_seed, arguments.first_seed + arguments.seeds))
    found = sets(arguments)
    print(f"seeds {seeds}, {torch.get_num_threads()} threads, processor seconds")
    if "rim" in arguments.what:
        header = ["images", "method", "lambda at length 1", "k", "NMI", "ARI", "purity", "seconds"]
        rows = [rim(name, data, seeds[0], arguments.start) for name, data in found.items()]
        print(table(header, [row for part in rows for row in part]))
    if "lsc" in arguments.what:
        header = ["images", "method", "ACC", "NMI", "purity", "seconds"]
        print(table(header, [row for name, data in found.items() for row in lsc(name, data, seeds)]))
    if "encodings" in arguments.what:
        header = ["images", "encoding", "dimensions", "ACC", "NMI", "purity", "seconds"]
        for name, data in found.items():
            print(table(header, encodings(name, data, seeds, arguments)), flush=True)


def sets(arguments: argparse.Namespace) -> Sets:
    found: Sets = {}
    for item in arguments.zip:
        name, path = item.split("=", 1)
        found[name] = gray_images(Path(path))
    if arguments.npz or arguments.digits or not arguments.zip:
        found |= datasets(arguments)
    if not arguments.images:
        return found
    chosen = np.random.default_rng(0)
    draws = {name: np.sort(chosen.permutation(len(y))[: arguments.images]) for name, (_, y) in found.items()}
    return {name: (x[draws[name]], y[draws[name]]) for name, (x, y) in found.items()}


def rim(name: str, data: tuple[np.ndarray, np.ndarray], seed: int, starts: list[int]) -> list[list[Any]]:
    """Clusters that are left of 50, by the length of the features, and by the path."""
    images, classes = data
    pixels = torch.from_numpy(images.reshape(len(images), -1)).float()
    vectors = fit_pca(pixels, 50, whiten=False, l2_normalize=False).apply(pixels)
    vectors = vectors / vectors.norm(dim=1).mean()
    methods: dict[str, tuple[Clusterer, float]] = {"k-means, 50": (KMeans(n_init=1), 1.0)}
    for length in LENGTHS:
        methods[f"RIM, mean length {length}"] = (Rim(n_init_clusters=50, penalty=1.0, max_iter=200), length)
    for start in starts or [50, None]:
        methods[f"RIM, path from {start or 'N/20'}"] = (Rim(n_init_clusters=start), 1.0)
    return [
        [name, what, *measured(what, clusterer, length * vectors, (classes, seed))]
        for what, (clusterer, length) in methods.items()
    ]


def measured(
    what: str, clusterer: Clusterer, vectors: torch.Tensor, check: tuple[np.ndarray, int]
) -> list[Any]:
    classes, seed = check
    result, seconds = timed(clusterer, vectors, None if clusterer.finds_number else 50, seed)
    figures = agreement(result.labels, classes)
    unit = result.scores.get("lambda_unit")
    path = list(zip(*result.details.values(), strict=True))
    if len(path) > 1:
        print(what, "k by lambda:", ", ".join(f"{at:.2e}: {count:.0f}" for at, count in path))
    row = ["" if unit is None else f"{unit * spread(vectors):.1e}", result.n_clusters]
    return [*row, f"{figures.nmi:.3f}", f"{figures.ari:.3f}", f"{figures.purity:.3f}", f"{seconds:.1f}"]


def spread(vectors: torch.Tensor) -> float:
    """What lambda at root mean square length 1 about the mean is at mean length 1."""
    about = (vectors - vectors.mean(dim=0)).square().sum(dim=1).mean()
    return float(about / vectors.norm(dim=1).mean() ** 2)


def lsc(name: str, data: tuple[np.ndarray, np.ndarray], seeds: list[int]) -> list[list[Any]]:
    images, classes = data
    vectors = torch.from_numpy(images.reshape(len(images), -1)).float() / 255
    methods: dict[str, Clusterer] = {
        "k-means": KMeans(n_init=10, max_iter=100),
        "LSC, 5 nearest": Lsc(),
        "LSC, 2 nearest": Lsc(nearest=2),
        "LSC, random landmarks": Lsc(placed="sample"),
    }
    k = len(np.unique(classes))
    return [[name, what, *quality(vectors, classes, method, k, seeds)] for what, method in methods.items()]


def encodings(
    name: str, data: tuple[np.ndarray, np.ndarray], seeds: list[int], arguments: argparse.Namespace
) -> list[list[Any]]:
    images, classes = data
    backbone = {"name": "torchvision", "model": arguments.model}
    options = Frozen(backbone=backbone, weights=arguments.weights).resolve(image_facts(images))
    rows = []
    with open_store(images, options, Silent()) as store:
        corpus, _ = assemble(options, store, Silent(), None)
        for wanted in arguments.encoder or encoders(arguments.maps):
            rows += encoded(name, wanted, corpus, classes, (seeds, arguments.rounds))
    return rows


def encoders(maps: bool) -> list[str]:
    """The encoders that are compared by default; patches are crops of the images, or windows of maps."""
    return ["pooled:pca=0", "vlad", "fisher", "patch-mining:patches=maps" if maps else "patch-mining"]


def encoded(
    name: str, wanted: str, corpus: Corpus, classes: np.ndarray, plan: tuple[list[int], int]
) -> list[list[Any]]:
    """One row, or one for every round of an encoder that learns from the last clusters."""
    seeds, rounds = plan
    kind, _, given = wanted.partition(":")
    encoder = ENCODERS.parse({"name": kind, **dict(item.split("=", 1) for item in given.split(",") if item)})
    k = len(np.unique(classes))
    rows, groups = [], None
    for turn in range(rounds if kind == "patch-mining" else 1):
        started = time.process_time()
        encoding = encoder.encode(corpus, EncodeRequest(seeds[0], groups, k))
        seconds = time.process_time() - started
        what = f"{wanted}, round {turn + 1}" if kind == "patch-mining" else wanted
        if encoding.scores.get("elements"):
            what += f", {encoding.scores['elements']:.0f} elements, {encoding.scores['rules']:.0f} rules"
        figures = quality(encoding.vectors, classes, CLUSTERERS.parse("kmeans"), k, seeds)
        rows.append([name, what, encoding.vectors.shape[1], *figures[:-1], f"{seconds:.0f}"])
        print(*rows[-1], flush=True)
        groups = CLUSTERERS.parse("kmeans").cluster(encoding.vectors, ClusterRequest(k, seeds[0])).labels
    return rows


def quality(
    vectors: torch.Tensor, classes: np.ndarray, clusterer: Clusterer, k: int, seeds: list[int]
) -> list[str]:
    """ACC, NMI and purity over the seeds, and mean seconds."""
    runs = [timed(clusterer, vectors, k, seed) for seed in seeds]
    figures = [agreement(result.labels, classes) for result, _ in runs]
    columns = [[f.acc for f in figures], [f.nmi for f in figures], [f.purity for f in figures]]
    seconds = np.mean([seconds for _, seconds in runs])
    return [*(f"{np.mean(column):.3f} ± {np.std(column):.3f}" for column in columns), f"{seconds:.1f}"]


def timed(clusterer: Clusterer, vectors: torch.Tensor, k: int | None, seed: int) -> tuple[Clustering, float]:
    started = time.process_time()
    result = clusterer.cluster(vectors, ClusterRequest(k, seed))
    return result, time.process_time() - started


if __name__ == "__main__":
    main()
