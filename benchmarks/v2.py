"""DeepCluster-v2: seconds of a round without embedding pass, and NMI compared with DeepCluster at equal time.

    python -m benchmarks.v2                                          # scikit-learn's digits
    python -m benchmarks.v2 --npz usps=usps.npz --seeds 3

Seconds are the processor's, so that other work on the machine counts less. ``a round`` compares rounds of as many
steps: DeepCluster's, v2's with one crop an image and one head, which differs by the bank alone, and v2's own.
``equal time``: DeepCluster runs its rounds; v2 gets as many rounds as fit into the same seconds. Classes are
used for evaluation only.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.quality import add_image_arguments, baselines, datasets, parsed
from benchmarks.report import table
from fiftyone_deepcluster.api.fit import FitResult, fit
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.methods.base import parse_options

if TYPE_CHECKING:
    from fiftyone_deepcluster.core.record import Round

ROUNDS_TIMED = 3
BANK_ALONE = {"large_crops": 1, "small_crops": 0, "heads": 1}
HEADER = ["images", "method", "rounds", "ACC", "NMI", "ARI", "processor s"]


class Clock(Silent):
    """Records the processor seconds of every round."""

    def __init__(self) -> None:
        self.rounds: list[float] = []
        self.total = 0.0
        self._last = self._begun = time.process_time()

    def round_done(self, entry: Round, rounds: int) -> None:
        """A round is over; the first one holds the first assignment too."""
        now = time.process_time()
        self.rounds.append(now - self._last)
        self._last = now

    def stop(self) -> None:
        """The run is over."""
        self.total = time.process_time() - self._begun


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_image_arguments(parser)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=51)
    parser.add_argument("--only", choices=["round", "time"], help="one of the two tables")
    parser.add_argument("--v2-rounds", type=int, help="v2 alone, with so many rounds")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of v2")
    arguments = parser.parse_args()
    options = parsed(dict(item.split("=", 1) for item in arguments.option))
    seeds = list(range(arguments.first_seed, arguments.first_seed + arguments.seeds))
    for name, (images, classes) in datasets(arguments).items():
        k = len(np.unique(classes))
        if arguments.only != "time":
            print(table(["images", "a round of", "processor s", "of it", "share"], rounds(name, images, k)))
        if arguments.only != "round":
            many = arguments.v2_rounds
            found = equal_time(name, images, classes, seeds, options) if many is None else []
            found += (
                [] if many is None else [alone(name, images, classes, seeds, {**options, "rounds": many})]
            )
            print(table(HEADER, found), flush=True)


def rounds(name: str, images: np.ndarray, k: int) -> list[list[str]]:
    """A table of the seconds of a round and its phases."""
    rows = []
    runs = [
        ("deepcluster", {}),
        ("deepcluster-v2", BANK_ALONE),
        ("deepcluster-v2", {**BANK_ALONE, "heads": 3}),
        ("deepcluster-v2", {}),
    ]
    for method, values in runs:
        result, clock = one(method, images, {"n_clusters": k, "rounds": ROUNDS_TIMED, **values})
        phases = [entry.seconds for entry in result.record.rounds[1:]]
        whole = sum(sum(phase.values()) for phase in phases)
        shares = {phase: sum(entry.get(phase, 0.0) for entry in phases) / whole for phase in phases[0]}
        what = ", ".join(f"{key}={value}" for key, value in values.items())
        seconds = f"{statistics.median(clock.rounds[1:]):.2f}"
        for phase, share in shares.items():
            rows.append([name, f"{method} {what}".strip(), seconds, phase, f"{share:.0%}"])
    return rows


def equal_time(
    name: str, images: np.ndarray, classes: np.ndarray, seeds: list[int], options: dict[str, object]
) -> list[list[str]]:
    """k-means and UMAP + GMM on pixels, DeepCluster by default, and v2 with the rounds that fit into its time."""
    k = len(np.unique(classes))
    rows = [[name, row[1], "", *row[2:5], ""] for row in baselines(name, images, classes, k, seeds)]
    runs = [one("deepcluster", images, {"n_clusters": k, "seed": seed}, classes) for seed in seeds]
    timed = one("deepcluster-v2", images, {"n_clusters": k, "rounds": ROUNDS_TIMED, **options})[1]
    seconds = statistics.mean(clock.total for _, clock in runs)
    fitting = max(2, int(seconds / statistics.median(timed.rounds[1:])))
    v2 = alone(name, images, classes, seeds, {**options, "rounds": fitting})
    return [*rows, summary(name, "deepcluster", runs), v2]


def alone(
    name: str, images: np.ndarray, classes: np.ndarray, seeds: list[int], options: dict[str, object]
) -> list[str]:
    """DeepCluster-v2 with these options."""
    common = {"n_clusters": len(np.unique(classes)), **options}
    runs = [one("deepcluster-v2", images, {**common, "seed": seed}, classes) for seed in seeds]
    return summary(name, "deepcluster-v2", runs)


def one(
    method: str, images: np.ndarray, values: dict, classes: np.ndarray | None = None
) -> tuple[FitResult, Clock]:
    """One run without baselines."""
    clock = Clock()
    result = fit(images, parse_options(method, {"baselines": False, **values}), truth=classes, observer=clock)
    clock.stop()
    return result, clock


def summary(name: str, method: str, runs: list[tuple[FitResult, Clock]]) -> list[str]:
    """Mean and deviation over the seeds."""
    last = [result.record.rounds[-1].truth for result, _ in runs]
    figures = [[getattr(truth, measure) for truth in last] for measure in ("acc", "nmi", "ari")]
    cells = [f"{np.mean(values):.3f} ± {np.std(values):.3f}" for values in figures]
    count = "/".join(sorted({str(len(result.record.rounds)) for result, _ in runs}))
    return [name, method, count, *cells, f"{np.mean([clock.total for _, clock in runs]):.0f}"]


if __name__ == "__main__":
    main()
