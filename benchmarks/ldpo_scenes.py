"""LDPO's table 3 on scenes: the compared methods, and LDPO with pooled features and with patch mining.

    python -m benchmarks.ldpo_scenes --zip scene15.zip --weights squeezenet1_0.pth
    python -m benchmarks.ldpo_scenes --zip scene15.zip --model mobilenet_v2 --weights mobilenet_v2.pth --only LDPO-FC
    python -m benchmarks.ldpo_scenes --zip scene15.zip --weights squeezenet1_0.pth --out runs.jsonl --cache features/
    python -m benchmarks.ldpo_scenes --zip scene15.zip --weights squeezenet1_0.pth --per-class 20 --only MDPM --maps
    python -m benchmarks.ldpo_scenes --summary runs.jsonl

Purity, ACC and NMI of the clusters over the seeds, and beside them the accuracy with which a linear support vector
machine reads the classes off the row's vectors under 5-fold cross-validation (the paper's LDPO-PM-LL). The zip holds
CLASS/name.jpg; the classes are used for evaluation only. Without --zip scikit-learn's digits and random weights replace
them, as a test of the program. With --out every run is appended as a line of JSON as soon as it is done, so that the
table can be made in several jobs.

Patches are crops of the images, each passed through the network as in the paper. With --maps they are windows of the
last maps, by one pass per image, and the names of the rows that mine say so. In rows that mine once (MDPM and PM) the
patches pass through the fixed network once for all rows of a call; ``seconds`` of the first such row includes it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmarks.quality import parsed
from benchmarks.report import append_runs, read_runs, table
from benchmarks.scene_rows import PAPER, ROWS, Scenes, run
from benchmarks.zips import gray_images

HEADER = [
    "network, side",
    "row",
    "k",
    "purity",
    "ACC",
    "NMI",
    "SVM",
    "seconds",
    "seeds",
    "paper: purity, NMI",
]


def main() -> None:
    arguments = arguments_given()
    if arguments.summary:
        runs = read_runs(arguments.summary)
    else:
        torch.set_num_threads(arguments.threads)
        scenes = scenes_of(arguments)
        runs = []
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            for name in arguments.only or ROWS:
                runs.append(run(name, scenes, seed))
                print_run(runs[-1])
                append_runs(arguments.out, [runs[-1]])
    print(table(HEADER, summaries(runs)))


def arguments_given() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--zip", type=Path, help="with CLASS/name.jpg")
    parser.add_argument("--model", default="squeezenet1_0", help="of torchvision")
    parser.add_argument("--weights", help="its state dict; empty: random")
    parser.add_argument("--image-size", type=int, default=128, help="side of the network's input in pixels")
    parser.add_argument(
        "--images", type=int, default=0, help="maximum number of images, drawn at random; 0: all"
    )
    parser.add_argument(
        "--per-class", type=int, default=0, help="maximum number of images per class, drawn at random; 0: all"
    )
    parser.add_argument("--only", action="append", choices=list(ROWS), help="a row; may be given again")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of LDPO")
    parser.add_argument("--mining", action="append", default=[], metavar="NAME=VALUE", help="of patch mining")
    parser.add_argument("--maps", action="store_true", help="patches are windows of maps, not crops")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=51)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="folder that keeps the fixed network's features")
    parser.add_argument("--out", type=Path, help="append every single run here, as JSON lines")
    parser.add_argument(
        "--summary", type=Path, action="append", help="run nothing: the table of the runs in such a file"
    )
    return parser.parse_args()


def scenes_of(arguments: argparse.Namespace) -> Scenes:
    """The images asked for, or digits."""
    if arguments.zip:
        images, classes = gray_images(arguments.zip)
    else:
        digits = load_digits()
        images, classes = (digits.images * 15.9375).astype(np.uint8), digits.target
    if arguments.images:
        chosen = np.sort(np.random.default_rng(0).permutation(len(images))[: arguments.images])
        images, classes = images[chosen], classes[chosen]
    if arguments.per_class:
        chosen = drawn_per_class(classes, arguments.per_class)
        images, classes = images[chosen], classes[chosen]
    options, mining = (
        parsed(dict(item.split("=", 1) for item in given)) for given in (arguments.option, arguments.mining)
    )
    return Scenes(
        images, classes, arguments.model, arguments.weights, arguments.image_size, arguments.cache,
        {"patches": "maps", **mining} if arguments.maps else mining, options,
    )  # fmt: skip


def drawn_per_class(classes: np.ndarray, most: int) -> np.ndarray:
    """Rows, ascending: at most ``most`` of each class, always the same."""
    draw = np.random.default_rng(0)
    return np.sort(
        np.concatenate(
            [draw.permutation(np.flatnonzero(classes == name))[:most] for name in np.unique(classes)]
        )
    )


def print_run(done: dict) -> None:
    """Print one run as a line."""
    print(f"{done['row']}, seed {done['seed']}: purity {done['purity']:.3f}, ACC {done['acc']:.3f},",
          f"NMI {done['nmi']:.3f}, SVM {done['svm']:.3f}, {done['seconds']:.0f} s",
          done["mining"] or "", flush=True)  # fmt: skip


def summaries(runs: list[dict]) -> list[list[str]]:
    """A row for every network and method, in the order of ROWS."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for done in runs:
        options = ", ".join(f"{name} {value}" for name, value in done["options"].items())
        what = done["row"] + (f" ({options})" if options else "")
        groups.setdefault((f"{done['model']}, {done['size']}", what), []).append(done)
    order = [row + mark for row in ROWS for mark in ("", ", maps")]
    found = sorted(groups.items(), key=lambda item: (item[0][0], order.index(item[1][0]["row"])))
    return [summary(where, what, done) for (where, what), done in found]


def summary(where: str, what: str, runs: list[dict]) -> list[str]:
    """Mean and deviation over the seeds, and the paper's figures."""
    figures = [
        f"{np.mean([r[m] for r in runs]):.3f} ± {np.std([r[m] for r in runs]):.3f}"
        for m in ("purity", "acc", "nmi", "svm")
    ]
    k = sorted({r["k"] for r in runs})
    seconds = f"{np.mean([r['seconds'] for r in runs]):.0f}"
    seeds = " ".join(str(r["seed"]) for r in runs)
    paper = ", ".join(PAPER.get(runs[0]["row"].split(",")[0], ("", "")))
    return [where, what, "-".join(str(n) for n in (k[0], k[-1])[: len(k)]), *figures, seconds, seeds, paper]


if __name__ == "__main__":
    main()
