"""Cluster scikit-learn's handwritten digits without their labels, and look at the clusters.

Run it: ``python examples/quickstart.py`` (or ``make demo``, which installs everything first).

1797 gray images of 8 x 8 pixels become the FiftyOne dataset ``deepcluster-digits``. Ten clusters are learned
from the pixels alone; the true digits are only compared with the result. Two pictures are written to
``examples/output``: the images nearest to the center of each cluster, and the metrics of the rounds. Running it
again shows the same run, with the names that you gave its clusters; ``--rounds`` replaces a run without edits.
"""

from __future__ import annotations

import sys
from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fiftyone as fo
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.cli.tables import clusters_table, rounds_table
from fiftyone_deepcluster.errors import DeepClusterError, RunNotFoundError

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.runs.run import Run

DATASET, KEY = "deepcluster-digits", "dc"
OUTPUT = Path(__file__).parent / "output"
EXEMPLARS = 12


def make_dataset() -> fo.Dataset:
    """The digits as PNG files and a FiftyOne dataset of them; the same one when called again."""
    if DATASET in fo.list_datasets():
        return fo.load_dataset(DATASET)
    folder = Path(fo.config.default_dataset_dir) / DATASET
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    samples = []
    for row, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / f"{row:04d}.png"
        Image.fromarray((image * (255 / 16)).astype("uint8")).save(path)
        samples.append(fo.Sample(filepath=str(path), ground_truth=fo.Classification(label=str(digit))))
    dataset = fo.Dataset(DATASET, persistent=True)
    dataset.add_samples(samples, progress=False)
    return dataset


def draw_clusters(run: Run, path: Path) -> None:
    """One row a cluster: the images nearest to its center, nearest first."""
    clusters = sorted(run.clusters(n_exemplars=EXEMPLARS), key=lambda cluster: cluster.name)
    figure = Figure(figsize=(EXEMPLARS * 0.62 + 1.8, len(clusters) * 0.64))
    axes = figure.subplots(len(clusters), EXEMPLARS, squeeze=False)
    for row, cluster in zip(axes, clusters, strict=True):
        for cell in row:
            cell.set_axis_off()
        for cell, file in zip(row, cluster.exemplar_paths, strict=False):
            cell.imshow(Image.open(file), cmap="gray")
        label = f"{cluster.name}\n{cluster.size} images"
        row[0].text(-0.25, 0.5, label, transform=row[0].transAxes, ha="right", va="center", fontsize=9)
    figure.suptitle("Images nearest to the center of each cluster", fontsize=11)
    figure.subplots_adjust(left=0.17, right=0.99, top=0.92, bottom=0.02, wspace=0.05, hspace=0.08)
    figure.savefig(path, dpi=120)


def draw_rounds(run: Run, path: Path) -> None:
    """Loss, agreement of adjacent rounds and with the true digits, and the largest cluster, by round."""
    numbers = [entry.index + 1 for entry in run.rounds]
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    loss, agreement, sizes = figure.subplots(1, 3)
    losses = [entry.loss or 0.0 for entry in run.rounds]
    loss.plot(numbers, losses, marker="o")
    loss.set_title("training loss (cross-entropy)")
    loss.set_ylim(0, 1.1 * max(losses))
    lines = {
        "NMI to the last round": [entry.change.nmi if entry.change else None for entry in run.rounds],
        "NMI to the true digits": [entry.truth.nmi if entry.truth else None for entry in run.rounds],
        "ACC to the true digits": [entry.truth.acc if entry.truth else None for entry in run.rounds],
    }
    for name, values in lines.items():
        agreement.plot(numbers, values, marker="o", label=name)
    agreement.set_title("agreement (truth: measured only)")
    agreement.set_ylim(0, 1.02)
    agreement.legend(fontsize=8, loc="lower right")
    sizes.plot(numbers, [entry.largest_share for entry in run.rounds], marker="o", label="largest cluster")
    sizes.axhline(1 / run.n_clusters, linestyle=":", color="gray", label="all equal")
    sizes.set_title("share of the images in one cluster")
    sizes.set_ylim(0, 1.3 * max(entry.largest_share for entry in run.rounds))
    sizes.legend(fontsize=8)
    for axis in (loss, agreement, sizes):
        axis.set_xlabel("round")
        axis.set_xlim(0.5, len(numbers) + 0.5)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def get_run(dataset: fo.Dataset, **options: Any) -> Run:
    """The run, which is made if there is none, or if options are given."""
    if not options:
        try:
            run = fdc.load_run(dataset, KEY)
        except RunNotFoundError:
            pass
        else:
            print(f"Run {KEY!r} of {DATASET!r} is there already. To make it again, delete it in Python:")
            print(f"fiftyone_deepcluster.delete_run(fiftyone.load_dataset({DATASET!r}), {KEY!r})")
            return run
    return fdc.cluster(
        dataset,
        method="deepcluster",
        key=KEY,
        n_clusters=10,
        truth_field="ground_truth",  # measured after every round, never used
        overwrite=True,
        **options,
    )


def main(**options: int) -> None:
    """Cluster, print the tables, draw the pictures."""
    dataset = make_dataset()
    run = get_run(dataset, **options)
    print()
    print(rounds_table(run.rounds))
    print()
    print(clusters_table(dataset.values(f"{KEY}.label"), dataset.values("ground_truth.label")))
    print()
    print(f"Stopped: {run.record.outcome}")
    print(f"Beside simple methods: {run.record.verdict}")
    OUTPUT.mkdir(exist_ok=True)
    draw_clusters(run, OUTPUT / "clusters.png")
    draw_rounds(run, OUTPUT / "rounds.png")
    print(f"\nPictures: {OUTPUT / 'clusters.png'}, {OUTPUT / 'rounds.png'}")
    print(f"In the App: make demo OPEN=1, or: fiftyone-deepcluster open {DATASET}")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__.splitlines()[0], argument_default=SUPPRESS)
    parser.add_argument("--rounds", type=int, help="fewer are quicker; by default that of the method")
    try:
        main(**vars(parser.parse_args()))
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command continues after the last completed round")
    except DeepClusterError as error:
        sys.exit(str(error))
