"""ACC, NMI, ARI and purity of every method, compared with baselines on the same pixels.

    python -m benchmarks.quality                                    # scikit-learn's digits
    python -m benchmarks.quality --npz usps=usps.npz --npz fashion=fashion_mnist.npz --images 10000
    python -m benchmarks.quality --method deepcluster --option rounds=30 --seeds 3
    python -m benchmarks.quality --out runs.jsonl                   # or in several jobs, and then
    python -m benchmarks.quality --summary runs.jsonl

An .npz holds uint8 images and classes as ``x`` and ``y``, or ``x_train`` and ``y_train``, or, with
``name:test=path``, ``x_test`` and ``y_test``. The classes are used for evaluation only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmarks.report import append_runs, read_runs, table
from fiftyone_deepcluster.analysis.baselines import MAX_IMAGES, BaselineSettings, measure, pixel_features
from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.core.progress import Tqdm
from fiftyone_deepcluster.core.record import AgreementScores
from fiftyone_deepcluster.methods.base import parse_options

MEASURES = ("acc", "nmi", "ari", "purity")


def main() -> None:
    arguments = arguments_given()
    if arguments.summary:
        rows = summaries(read_runs(arguments.summary))
    else:
        values = dict(item.split("=", 1) for item in arguments.option)
        seeds = list(range(arguments.first_seed, arguments.first_seed + arguments.seeds))
        runs = []
        for run in all_runs(arguments, values, seeds):
            runs.append(run)
            append_runs(arguments.out, [run])
        rows = summaries(runs)
        print(f"seeds {seeds}, options {values or 'default'}, {torch.get_num_threads()} threads")
    print(table(["images", "method", *(m.upper() for m in MEASURES), "seconds", "seeds", "stopped"], rows))


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that ``datasets`` reads."""
    parser.add_argument("--npz", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--digits", action="store_true", help="digits too, where --npz is given")
    parser.add_argument(
        "--images", type=int, default=0, help="maximum number of images, the first ones; 0: all"
    )


def arguments_given() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_image_arguments(parser)
    parser.add_argument("--method", action="append", default=[])
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=51)
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--only-baselines", action="store_true")
    parser.add_argument("--out", type=Path, help="append every single run here, as JSON lines")
    parser.add_argument(
        "--summary", type=Path, action="append", help="run nothing: the table of the runs in such a file"
    )
    return parser.parse_args()


def all_runs(arguments: argparse.Namespace, values: dict[str, str], seeds: list[int]) -> Iterator[dict]:
    """One run after the other: baselines, then the methods."""
    methods = [] if arguments.only_baselines else arguments.method or ["deepcluster", "deepcluster-manifold"]
    for name, (images, classes) in datasets(arguments).items():
        k = len(np.unique(classes))
        if not arguments.no_baselines:
            yield from baselines(name, images, classes, k, seeds)
        for method in methods:
            for seed in seeds:
                options = {"n_clusters": k, "seed": seed, "baselines": False, **parsed(values)}
                yield one(name, method, options, images, classes)


def datasets(arguments: argparse.Namespace) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (N, H, W[, C]) uint8 and classes (N,) by name."""
    found = {}
    if arguments.digits or not arguments.npz:
        digits = load_digits()
        found["digits"] = ((digits.images * 15.9375).astype(np.uint8), digits.target)
    for item in arguments.npz:
        name, path = item.split("=", 1)
        with np.load(path) as file:
            part = next(p for p in (("x_test", "y_test"), ("x", "y"), ("x_train", "y_train"))
                        if p[0] in file and (name.endswith(":test") or p[0] != "x_test"))  # fmt: skip
            found[name] = (file[part[0]], file[part[1]].astype(np.int64).ravel())
    if arguments.images:
        found = {name: (x[: arguments.images], y[: arguments.images]) for name, (x, y) in found.items()}
    return found


def parsed(values: dict[str, str]) -> dict[str, object]:
    """Option values as JSON where they are JSON, else as text."""
    found: dict[str, object] = {}
    for name, value in values.items():
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def one(
    name: str, method: str, options: dict, images: np.ndarray, classes: np.ndarray, **given: np.ndarray
) -> dict:
    """One run, measured at its end."""
    started = time.perf_counter()
    result = fit(images, parse_options(method, options), truth=classes, observer=Tqdm(), **given)
    seconds = time.perf_counter() - started
    rounds = result.record.rounds
    truth = rounds[-1].truth
    line = {"data": name, "n": len(images), "method": method, "options": options, "seconds": seconds,
            "stop": result.record.stop_reason.value, "rounds": len(rounds),
            "history": [[r.truth.acc, r.truth.nmi, r.change.nmi if r.change else None] for r in rounds]}  # fmt: skip
    return {**line, **truth.model_dump()}


def baselines(name: str, images: np.ndarray, classes: np.ndarray, k: int, seeds: list[int]) -> Iterator[dict]:
    """k-means on the raw pixels, and on pixels of mean 0 and deviation 1 in each image; UMAP + GMM on those.

    Of 10,000 images at most, and of fewer where those take more than a minute.
    """
    images = images if images.ndim == 4 else images[..., None]
    raw = images[:MAX_IMAGES].reshape(-1, int(np.prod(images.shape[1:]))).astype(np.float32) / 255
    for seed in seeds:
        options = {"n_clusters": k, "seed": seed, "baselines": False}
        row = one(name, "frozen", options, images[: len(raw)], classes[: len(raw)], features=raw)
        yield {**row, "method": "k-means on raw pixels", "stop": ""}
    vectors = pixel_features(lambda rows: images[rows], np.arange(min(len(images), MAX_IMAGES)))
    for seed in seeds:
        for entry in measure(vectors, "first", BaselineSettings(k, seed, classes[: len(vectors)])):
            figures = entry.truth or AgreementScores(nmi=0, ari=0, purity=0, acc=0)
            yield {"data": name, "n": entry.n_images, "method": f"{entry.name} on pixels", "options": {"seed": seed},
                   "seconds": entry.seconds, "stop": "", "rounds": 1, **figures.model_dump()}  # fmt: skip


def summaries(runs: list[dict]) -> list[list[str]]:
    """A row for every set and method, in the order of their first runs."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for run in runs:
        groups.setdefault((run["data"], run["method"]), []).append(run)
    return [summary(name, method, found) for (name, method), found in groups.items()]


def summary(name: str, method: str, runs: list[dict]) -> list[str]:
    """Mean and deviation over the seeds."""
    figures = [f"{np.mean([r[m] for r in runs]):.3f} ± {np.std([r[m] for r in runs]):.3f}" for m in MEASURES]
    stops = sorted({f"{r['stop']} ({r['rounds']})" if r["stop"] else "" for r in runs})
    seeds = " ".join(str(r["options"]["seed"]) for r in runs)
    return [name, method, *figures, f"{np.mean([r['seconds'] for r in runs]):.0f}", seeds, ", ".join(stops)]


if __name__ == "__main__":
    main()
