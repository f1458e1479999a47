"""One table of all sets of images: the strongest frozen baseline first, then a column for each method.

    python -m benchmarks.table                                      # scikit-learn's digits
    python -m benchmarks.table --digits --npz usps=usps.npz --zip scenes=scene15.zip --weights mobilenet_v2.pth
    python -m benchmarks.table --out runs.jsonl                     # or in several jobs, and then
    python -m benchmarks.table --summary runs.jsonl

Cells give ACC / NMI, each mean ± standard deviation over the seeds, and the seconds of a run. The strongest baseline
is the one with the highest mean ACC: k-means or UMAP + GMM on the pixels of arrays (--npz, see ``benchmarks.quality``);
k-means or UMAP + k-means on the same network's features at the same size for files (--zip NAME=PATH, see
``benchmarks.natural``). Classes are used for evaluation only, except their number. --out appends every run as a line of
JSON; runs that are in the file already are not repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks import natural, quality
from benchmarks.report import append_runs, read_runs, table

FROZEN = ("k-means", "UMAP + k-means")
"""The baselines of ``benchmarks.natural``."""

TRAINED = ("self-training",)
"""The methods of ``benchmarks.natural``."""

ON_PIXELS = ("deepcluster", "deepcluster-manifold")
"""The methods for arrays of small images."""


def main() -> None:
    arguments = arguments_given()
    files = arguments.summary or [path for path in [arguments.out] if path and path.exists()]
    runs = read_runs(files)
    if not arguments.summary:
        torch.set_num_threads(arguments.threads)
        for run in new_runs(arguments, {(run["images"], run["row"], run["seed"]) for run in runs}):
            runs.append(run)
            append_runs(arguments.out, [run])
    print(summary(runs))


def new_runs(arguments: argparse.Namespace, done: set[tuple[str, str, int]]) -> Iterator[dict]:
    """Baselines, then methods, of one set after the other, without those that are done."""
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    if arguments.digits or arguments.npz or not arguments.zip:
        for name, (images, classes) in quality.datasets(arguments).items():
            todo = [seed for seed in seeds if (name, "k-means on pixels", seed) not in done]
            for run in quality.baselines(name, images, classes, len(np.unique(classes)), todo):
                seed = run["options"]["seed"]
                if (name, run["method"], seed) not in done:
                    yield figures(name, run["method"], seed, run, baseline=True)
            yield from missing(name, ON_PIXELS, seeds, done, of_pixels(name, images, classes))
    for pair in arguments.zip:
        name, path = pair.split("=", 1)
        given = argparse.Namespace(**{**vars(arguments), "zip": Path(path)})
        with natural.images_of(given) as (images, classes):
            yield from missing(name, (*FROZEN, *TRAINED), seeds, done, of_files(images, classes, given))


def missing(
    name: str,
    rows: Iterable[str],
    seeds: Iterable[int],
    done: set[tuple[str, str, int]],
    run_one: Callable[[str, int], dict],
) -> Iterator[dict]:
    """Runs of the rows and seeds that are not done."""
    for row in rows:
        for seed in seeds:
            if (name, row, seed) not in done:
                yield figures(name, row, seed, run_one(row, seed), baseline=row in FROZEN)


def of_pixels(name: str, images: np.ndarray, classes: np.ndarray) -> Callable[[str, int], dict]:
    """Function of method and seed that clusters an array."""
    k = len(np.unique(classes))

    def run_one(method: str, seed: int) -> dict:
        return quality.one(name, method, {"n_clusters": k, "seed": seed, "baselines": False}, images, classes)

    return run_one


def of_files(
    images: np.ndarray | list[str], classes: np.ndarray, arguments: argparse.Namespace
) -> Callable[[str, int], dict]:
    """Function of row and seed that clusters files by a pre-trained network."""

    def run_one(row: str, seed: int) -> dict:
        run = natural.one(row, images, classes, seed, arguments)
        return {**run["rounds"][-1], "seconds": run["seconds"], "n": run["n"]}

    return run_one


def figures(name: str, row: str, seed: int, run: dict, *, baseline: bool) -> dict:
    """What the table needs of a run."""
    measured = {key: run[key] for key in ("n", "acc", "nmi", "purity", "seconds")}
    return {"images": name, "row": row, "seed": seed, "baseline": baseline, **measured}


def summary(runs: list[dict]) -> str:
    """The table: a line for each set, a column for each method."""
    methods = list(dict.fromkeys(run["row"] for run in runs if not run["baseline"]))
    lines = []
    for name in dict.fromkeys(run["images"] for run in runs):
        groups: dict[str, list[dict]] = {}
        for run in runs:
            if run["images"] == name:
                groups.setdefault(run["row"], []).append(run)
        baselines = [same for same in groups.values() if same[0]["baseline"]]
        strongest = max(baselines, key=lambda same: np.mean([run["acc"] for run in same]), default=[])
        label = f"{name} ({max(run['n'] for same in groups.values() for run in same):,})"
        first = f"{strongest[0]['row']}: {cell(strongest)}" if strongest else ""
        lines.append([label, first, *(cell(groups.get(method, [])) for method in methods)])
    return table(["images", "strongest frozen baseline", *methods], lines)


def cell(runs: list[dict]) -> str:
    """ACC / NMI, mean ± deviation, and seconds; the number of seeds unless there are three."""
    if not runs:
        return ""
    acc, nmi = (natural.spread([run[measure] for run in runs]) for measure in ("acc", "nmi"))
    seeds = "" if len(runs) == 3 else f", seeds: {len(runs)}"
    return f"{acc} / {nmi} ({np.mean([run['seconds'] for run in runs]):.0f} s{seeds})"


def arguments_given() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quality.add_image_arguments(parser)
    parser.add_argument("--zip", action="append", default=[], metavar="NAME=PATH", help="with CLASS/name.jpg")
    parser.add_argument("--model", default="mobilenet_v2", help="of torchvision")
    parser.add_argument("--weights", help="its state dict")
    parser.add_argument("--size", type=int, default=224, help="side of the network's input in pixels")
    parser.add_argument("--option", nargs="*", default=[], help="options of the rows for files: NAME=JSON")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=51)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="append every run here, as JSON lines")
    parser.add_argument(
        "--summary", type=Path, action="append", help="run nothing: the table of the runs in such a file"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
