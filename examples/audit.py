"""Break 8 % of the labels of scikit-learn's digits, find them again, and correct them.

Run it: ``python examples/audit.py``. The true labels are only used to simulate a person and to count at the end.

1797 images become the FiftyOne dataset ``deepcluster-audit``. Their labels are audited by the pixels, the most probable
suggestions are accepted, and the corrected labels are written to a new field. A picture of the most suspicious labels,
an HTML report and a table are written to ``examples/output``. Running it again replaces the dataset
with all decisions.
"""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING

import fiftyone as fo
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.cli.auditing import audit_report

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.audit.label_review import LabelReview

DATASET = "deepcluster-audit"
OUTPUT = Path(__file__).parent / "output"
BROKEN = 0.08
COLUMNS, ROWS = 8, 3


def make_dataset(images: int) -> fo.Dataset:
    """Digits with the fields ``doubtful`` (8 % broken), ``truth`` and ``pixels``; a new dataset at each call."""
    if DATASET in fo.list_datasets():
        fo.delete_dataset(DATASET)
    folder = Path(fo.config.default_dataset_dir) / DATASET
    folder.mkdir(parents=True, exist_ok=True)
    digits, draw = load_digits(), np.random.default_rng(51)
    classes = digits.target[:images]
    wrong = draw.choice(len(classes), round(BROKEN * len(classes)), replace=False)
    labels = classes.copy()
    labels[wrong] = (classes[wrong] + draw.integers(1, 10, len(wrong))) % 10
    samples = []
    for row, (label, digit) in enumerate(zip(labels, classes, strict=True)):
        path = folder / f"{row:04d}.png"
        Image.fromarray((digits.images[row] * (255 / 16)).astype("uint8")).save(path)
        samples.append(
            fo.Sample(
                filepath=str(path),
                doubtful=fo.Classification(label=str(label)),
                truth=str(digit),
                pixels=digits.data[row].astype(np.float32),
            )
        )
    dataset = fo.Dataset(DATASET, persistent=True)
    dataset.add_samples(samples, progress=False)
    return dataset


def draw_worst(review: LabelReview, path: Path) -> None:
    """The most suspicious labels with their suggestions."""
    figure = Figure(figsize=(COLUMNS * 1.15, ROWS * 1.5), layout="constrained")
    cells = figure.subplots(ROWS, COLUMNS).ravel()
    for cell, item in zip(cells, review.queue(COLUMNS * ROWS)["items"], strict=True):
        cell.imshow(Image.open(item["filepath"]), cmap="gray")
        cell.set_axis_off()
        wrong = "> 99%" if item["p_wrong"] > 0.99 else f"{item['p_wrong']:.0%}"
        cell.set_title(f"{item['given']} → {item['suggestion']}  {wrong}", fontsize=9)
    figure.suptitle("Most suspicious labels: given → suggested, probability that it is wrong", fontsize=10)
    figure.savefig(path, dpi=120)


def main(images: int = 1797) -> None:
    """Audit, decide, commit, count."""
    dataset = make_dataset(images)
    audit = fdc.audit_labels(dataset, "doubtful", embeddings_field="pixels")
    print(audit_report(audit))
    OUTPUT.mkdir(exist_ok=True)
    review = fdc.review_labels(dataset, "audit", refit_every=0)
    draw_worst(review, OUTPUT / "audit.png")
    review.report(OUTPUT / "audit.html")
    review.export(OUTPUT / "audit.csv")

    for item in review.queue(5)["items"]:  # a person would look at each image
        truth = dataset[item["id"]].truth
        verdict = "keep" if truth == item["given"] else "other"
        review.decide(item["id"], verdict, label=None if verdict == "keep" else truth)
    accepted = review.accept_above(0.9)
    review.refit()
    print(f"\n{accepted.text}; {review.progress()['n_issues_left']} suspicious labels are left")
    review.commit("corrected")
    truth, before, after = dataset.values(["truth", "doubtful.label", "corrected.label"])
    count = [
        sum(one != other for one, other in zip(truth, labels, strict=True)) for labels in (before, after)
    ]
    print(f"Wrong labels: {count[0]} of {len(truth)} before, {count[1]} after")
    print(f"\nPicture, report and table: {OUTPUT}")
    print(f"In the App: fiftyone-deepcluster open {DATASET}")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__.splitlines()[0], argument_default=SUPPRESS)
    parser.add_argument("--images", type=int, help="fewer are quicker; all 1797 by default")
    main(**vars(parser.parse_args()))
