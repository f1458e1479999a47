"""Purity of the clusters of the cardiac-MR method, from random weights, with balanced and imbalanced classes.

    python -m benchmarks.cardiac                                     # scikit-learn's digits
    python -m benchmarks.cardiac --zip medical=medical_mnist.zip --rounds 40 --seeds 3
    python -m benchmarks.cardiac --zip medical=medical_mnist.zip --imbalance 40 --run-dir runs/
    python -m benchmarks.cardiac --zip mr=brain_mr.zip --images 600 --rounds 3 --option preset=paper   # VGG-16 at 224
    python -m benchmarks.cardiac --zip medical=medical_mnist.zip --rounds 200 --picture long.png       # figures 2 and 3

Eight clusters for each class. Beside it k-means with as many clusters on the same pixels (z-scored per image).
``--imbalance 40`` keeps ever fewer images of each class, by a geometric series from all to one in forty; which
class keeps most is drawn by the seed. A zip holds images of any size, DICOM too, in folders named by their classes;
an .npz holds ``x`` and ``y``. Classes are used for evaluation only. With ``--run-dir`` a run that was stopped is
resumed.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from benchmarks.quality import parsed
from benchmarks.report import table
from benchmarks.zips import extracted
from fiftyone_deepcluster.analysis.baselines import pixel_features
from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.core.progress import Silent, Tqdm
from fiftyone_deepcluster.images.cache.open_images import Decode, open_images
from fiftyone_deepcluster.images.inspect import image_facts
from fiftyone_deepcluster.methods.cardiac_mr import CLUSTERS_A_CLASS, CardiacMR
from fiftyone_deepcluster.metrics.agreement import agreement

if TYPE_CHECKING:
    from fiftyone_deepcluster.core.record import AgreementScores, Round
    from fiftyone_deepcluster.images.refs import Images

HEADER = ["images", "classes", "method", "seed", "k", "rounds", "purity", "NMI t, t-1", "NMI", "seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--zip", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--npz", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument(
        "--images", type=int, default=0, help="maximum number of images, drawn by the seed; 0: all"
    )
    parser.add_argument("--imbalance", type=float, default=1.0, help="largest class over smallest")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=51)
    parser.add_argument("--picture", type=Path, help="draw loss, purity and NMI over the rounds")
    parser.add_argument("--run-dir", type=Path, help="folder of checkpoints, from which runs are resumed")
    arguments = parser.parse_args()
    with ExitStack() as files:
        compare(datasets(arguments, files), arguments)


def compare(sets: dict[str, tuple[Images, np.ndarray]], arguments: argparse.Namespace) -> None:
    """Print the table after every run of the method, each below its baseline."""
    options = parsed(dict(item.split("=", 1) for item in arguments.option))
    rows, drawn = [], {}
    for name, (images, classes) in sets.items():
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            kept = chosen(classes, arguments, seed)
            some = images[kept] if isinstance(images, np.ndarray) else [images[row] for row in kept]
            k = CLUSTERS_A_CLASS * len(np.unique(classes[kept]))
            label = f"{name}, {sizes(classes[kept])}"
            rows.append([label, *baseline(some, classes[kept], k, seed)])
            run_dir = arguments.run_dir and arguments.run_dir / f"{name}-{arguments.imbalance:g}-{seed}"
            settings = {"rounds": arguments.rounds, "seed": seed, "baselines": False, **options}
            line, found = run_method(some, classes[kept], settings, run_dir)
            rows.append([label, *line])
            drawn[f"{label}, seed {seed}"] = found
            if arguments.picture:
                draw(drawn, arguments.picture)
            print(table(HEADER, rows), flush=True)


def draw(runs: dict[str, list[Round]], path: Path) -> None:
    """The paper's figures 2 and 3: loss, purity, and NMI with the classes and the last round, over the rounds."""
    figure = Figure(figsize=(15, 3.6), layout="constrained")
    loss, purity, truth, change = figure.subplots(1, 4)
    for name, rounds in runs.items():
        numbers = [entry.index + 1 for entry in rounds]
        loss.plot(numbers, [entry.loss for entry in rounds], label=name)
        purity.plot(numbers, [entry.truth.purity for entry in rounds])
        truth.plot(numbers, [entry.truth.nmi for entry in rounds])
        change.plot(numbers, [entry.change.nmi if entry.change else np.nan for entry in rounds])
    for axes, title in (
        (loss, "loss"),
        (purity, "purity"),
        (truth, "NMI to the classes"),
        (change, "NMI t, t-1"),
    ):
        axes.set(title=title, xlabel="round")
        if axes is not loss:
            axes.set_ylim(0, 1)
    loss.legend(fontsize=7)
    figure.savefig(path, dpi=120)


def run_method(
    images: Images, classes: np.ndarray, settings: dict, run_dir: Path | None
) -> tuple[list[str], list[Round]]:
    """One run of the method, measured at its end, and its rounds."""
    started = time.perf_counter()
    options = CardiacMR(classes=len(np.unique(classes)), **settings)
    result = fit(images, options, truth=classes, observer=Tqdm(), run_dir=run_dir)
    seconds = time.perf_counter() - started
    rounds = result.record.rounds
    spent = sum(sum(entry.seconds.values()) for entry in rounds) if run_dir else seconds
    for entry in rounds:
        print(entry.index + 1, f"purity {entry.truth.purity:.4f} NMI {entry.truth.nmi:.3f}",
              f"loss {entry.loss:.3f}", f"NMI t, t-1 {entry.change.nmi:.3f}", flush=True)  # fmt: skip
    k = result.record.resolved["n_clusters"]
    change = f"{rounds[-1].change.nmi:.3f}" if rounds[-1].change else ""
    figures = cells(rounds[-1].truth, change, spent)
    line = [str(len(np.unique(classes))), "cardiac-mr", str(options.seed), str(k), str(len(rounds)), *figures]
    return line, rounds


def baseline(images: Images, classes: np.ndarray, k: int, seed: int) -> list[str]:
    """k-means with as many clusters on the same pixels."""
    started = time.perf_counter()
    store = open_images(images, Decode(image_facts(images).side, "gray"), observer=Silent())
    try:
        vectors = pixel_features(store.read, np.arange(len(store.kept)))
        known = classes[store.kept]
    finally:
        store.close()
    found = CLUSTERERS.parse("kmeans").cluster(vectors, ClusterRequest(k, seed))
    figures = agreement(found.labels.numpy(), known)
    seconds = time.perf_counter() - started
    n = str(len(np.unique(classes)))
    return [n, "k-means on pixels", str(seed), str(k), "", *cells(figures, "", seconds)]


def cells(figures: AgreementScores, change: str, seconds: float) -> list[str]:
    """The figures of one run."""
    return [f"{figures.purity:.4f}", change, f"{figures.nmi:.3f}", f"{seconds:.0f}"]


def chosen(classes: np.ndarray, arguments: argparse.Namespace, seed: int) -> np.ndarray:
    """Rows to use, in order: of each class a share that falls from 1 to 1 in ``imbalance``."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.unique(classes))
    shares = np.geomspace(1.0, 1.0 / arguments.imbalance, len(names))
    rows = []
    for name, share in zip(names, shares, strict=True):
        members = rng.permutation(np.flatnonzero(classes == name))
        rows.append(members[: max(2, round(share * len(members)))])
    kept = np.concatenate(rows)
    if arguments.images and arguments.images < len(kept):
        kept = rng.choice(kept, arguments.images, replace=False)
    return np.sort(kept)


def sizes(classes: np.ndarray) -> str:
    """Number of images, and of the largest and smallest class where they differ."""
    counts = np.unique(classes, return_counts=True)[1]
    return (
        f"{len(classes)}"
        if counts.max() < 2 * counts.min()
        else f"{len(classes)} ({counts.max()} : {counts.min()})"
    )


def datasets(arguments: argparse.Namespace, files: ExitStack) -> dict[str, tuple[Images, np.ndarray]]:
    """Images and classes (N,) int64 by name; the files of a zip are extracted until ``files`` is closed."""
    found: dict[str, tuple[Images, np.ndarray]] = {}
    for item in arguments.zip:
        name, path = item.split("=", 1)
        found[name] = files.enter_context(extracted(Path(path)))
    for item in arguments.npz:
        name, path = item.split("=", 1)
        with np.load(path) as file:
            found[name] = (file["x"], file["y"].astype(np.int64).ravel())
    if not found:
        digits = load_digits()
        found["digits"] = ((digits.images * 15.9375).astype(np.uint8), digits.target)
    return found


if __name__ == "__main__":
    main()
