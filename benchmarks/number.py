"""The number of clusters that ``sweep_numbers`` recommends without labels, against the number of classes.

    python -m benchmarks.number run --digits --npz usps=usps.npz --features scenes=scenes.npz --out number.jsonl
    python -m benchmarks.number table number.jsonl

``run`` appends a line of JSON for every set and seed: the scores of every number from ``--smallest`` to ``--largest``,
the recommended number and its interval. ``table`` prints one row for each set: the recommended number and the interval
of every seed, in how many seeds the number of classes is in the interval, and the numbers that the score (the mean of
stability and silhouette), the stability or the silhouette alone would recommend. The last line is the mean of
abs(log(recommended / classes)), of the recommended number and of that by score. ``--draw usps=6`` adds a set of six
classes of USPS, which every seed draws anew. Images are used as their pixels, z-scored by image. Classes are counted
only; nothing else is known about them.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from benchmarks.criteria import sets
from benchmarks.report import append_runs, read_runs, table
from fiftyone_deepcluster.clusterers.number import numbers_between, sweep_numbers

HEADER = (
    "set", "images", "classes", "recommended", "interval", "classes in the interval", "by score", "by stability",
    "by silhouette", "seconds",
)  # fmt: skip


def main() -> None:
    arguments = arguments_given()
    {"run": run, "table": show}[arguments.what](arguments)


def arguments_given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("runs", type=Path, nargs="*", help="table: files that --out wrote")
    parser.add_argument("--digits", action="store_true")
    parser.add_argument("--npz", action="append", default=[], metavar="NAME=PATH", help="images x, classes y")
    parser.add_argument(
        "--features", action="append", default=[], metavar="NAME=PATH", help="vectors x, classes y"
    )
    parser.add_argument(
        "--images", type=int, default=2000, help="maximum images of each set, drawn at random"
    )
    parser.add_argument(
        "--draw", action="append", default=[], metavar="NAME=CLASSES", help="run: so many classes of a set"
    )
    parser.add_argument("--smallest", type=int, default=2)
    parser.add_argument("--largest", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=3, help="seeds within a sweep")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=51)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    """Every set with every seed; all sets with the first seed first."""
    torch.set_num_threads(arguments.threads)
    limit, arguments.images = arguments.images, 0
    known = sets(arguments)
    numbers = numbers_between(arguments.smallest, arguments.largest)
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for name, count in wanted_sets(known, arguments.draw):
            vectors, classes = drawn(*known[name], count, limit, seed)
            started = time.perf_counter()
            found = sweep_numbers(vectors, numbers, seed=seed, repetitions=arguments.repetitions)
            seconds = time.perf_counter() - started
            shown = f"{name} of {count} classes" if count else name
            about = {"set": shown, "seed": seed, "n": len(vectors), "classes": len(np.unique(classes))}
            entry = {**about, **asdict(found), "score": found.score, "seconds": seconds}
            print(json.dumps(entry), flush=True)
            append_runs(arguments.out, [entry])


def wanted_sets(known: dict[str, object], draw: list[str]) -> list[tuple[str, int]]:
    """Names, and the number of classes to draw; 0: all."""
    return [(name, 0) for name in known] + [(item.split("=")[0], int(item.split("=")[1])) for item in draw]


def drawn(
    vectors: np.ndarray, classes: np.ndarray, count: int, limit: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """At most ``limit`` images of ``count`` classes; both drawn at random."""
    draw = np.random.default_rng(seed)
    there = np.unique(classes)
    kept = draw.choice(there, count, replace=False) if count else there
    rows = np.flatnonzero(np.isin(classes, kept))
    rows = np.sort(draw.choice(rows, min(limit or len(rows), len(rows)), replace=False))
    return vectors[rows], classes[rows]


def show(arguments: argparse.Namespace) -> None:
    """The table of all runs."""
    runs = read_runs(arguments.runs)
    print(table(HEADER, [row(name, runs) for name in dict.fromkeys(one["set"] for one in runs)]))
    classes = np.array([one["classes"] for one in runs])
    chosen = np.array([[one["recommended"], best(one, "score")] for one in runs])
    print(
        "mean abs(log(recommended / classes)), and by score:",
        abs(np.log(chosen / classes[:, None])).mean(0).round(2),
    )


def row(name: str, runs: list[dict]) -> list[object]:
    """One set, over its seeds."""
    same = [one for one in runs if one["set"] == name]
    classes = same[0]["classes"]
    inside = sum(one["interval"][0] <= classes <= one["interval"][1] for one in same)
    intervals = [one["interval"] for one in same]
    return [
        name,
        same[0]["n"],
        classes,
        ", ".join(str(one["recommended"]) for one in same),
        ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in intervals),
        f"{inside} of {len(same)}",
        *(", ".join(str(best(one, score)) for one in same) for score in ("score", "stability", "silhouette")),
        f"{np.mean([one['seconds'] for one in same]):.0f}",
    ]


def best(one: dict, score: str) -> int:
    """The number with the highest value of one score."""
    return int(one["numbers"][int(np.argmax(one[score]))])


if __name__ == "__main__":
    main()
