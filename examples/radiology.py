"""DICOM files in; groups with key words and a tree of categories out.

Run it: ``python examples/radiology.py``.

pydicom's own test files, some ninety images of many kinds, become the FiftyOne dataset
``deepcluster-radiology``: found by content, windowed by their headers, without names of patients. LDPO clusters
them; all images of a patient are in the same part of a split. The files have no reports, so a sentence from each
header is used instead; the key words of a cluster come from these sentences.

The files are thumbnails of scans, test charts, and one slice in ten encodings: enough to show every step, too few
to judge a method by. LDPO is better than k-means with some seeds and worse with others; the last lines compare them.

Two pictures are written to ``examples/output``. ``fiftyone-deepcluster open deepcluster-radiology`` shows the clusters
beside the images in the App; the workspace "clusters" has the same layout.
"""

from __future__ import annotations

import sys
import warnings
from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING

import fiftyone as fo
import pydicom.data
from matplotlib.figure import Figure
from PIL import Image

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.cli.tables import rounds_table
from fiftyone_deepcluster.dataset.display.workspace import clusters_beside_the_grid
from fiftyone_deepcluster.errors import RunExistsError

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.results.categories import Node
    from fiftyone_deepcluster.dataset.runs.run import Run

DATASET = "deepcluster-radiology"
FILES = Path(pydicom.data.__file__).parent / "test_files"
OUTPUT = Path(__file__).parent / "output"
EXEMPLARS = 8
KINDS = {
    "CT": "computed tomography", "MR": "magnetic resonance", "CR": "radiography", "US": "ultrasound",
    "NM": "nuclear medicine", "RTDOSE": "radiotherapy dose", "SEG": "segmentation", "OT": "secondary capture",
}  # fmt: skip


def make_dataset() -> fo.Dataset:
    """The images with sentences as reports; the same dataset when called again."""
    dataset = fo.load_dataset(DATASET) if fo.dataset_exists(DATASET) else fo.Dataset(DATASET, persistent=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # test files are odd on purpose, and pydicom says so
        summary = fdc.add_dicom(FILES, dataset, frames="first")
    print(
        f"{summary.imported} images imported, {summary.known} known already, {len(summary.skipped)} files skipped"
    )
    reports = [
        " ".join(filter(None, [KINDS.get(kind, "image"), body, color, "axial" if "AXIAL" in str(view) else None]))
        for kind, body, color, view in zip(
            *dataset.values(["dicom_modality", "dicom_body_part_examined", "dicom_photometric_interpretation",
                             "dicom_image_type"]), strict=True,
        )
    ]  # fmt: skip
    dataset.set_values("report", [f"{report.lower()} image" for report in reports])
    return dataset


def draw_clusters(run: Run, words: dict[str, list[str]], path: Path) -> None:
    """One row a cluster: its key words, and the images nearest to its center."""
    clusters = sorted(run.clusters(n_exemplars=EXEMPLARS), key=lambda cluster: cluster.name)
    size = EXEMPLARS * 0.9 + 3.2, len(clusters) * 0.95
    figure = Figure(figsize=size, facecolor="#e4e7eb")  # some images are white
    for row, cluster in enumerate(clusters):
        for column, file in enumerate(cluster.exemplar_paths):
            axis = figure.add_axes(
                ((3.2 + column * 0.9) / (EXEMPLARS * 0.9 + 3.2), 1 - (row + 0.97) / len(clusters),
                 0.85 / (EXEMPLARS * 0.9 + 3.2), 0.94 / len(clusters))
            )  # fmt: skip
            axis.imshow(Image.open(file), cmap="gray")
            axis.set_axis_off()
        text = f"{cluster.name}, {cluster.size} images\n{', '.join(words[cluster.name][:4])}"
        figure.text(0.01, 1 - (row + 0.5) / len(clusters), text, va="center", fontsize=8, wrap=True)
    figure.savefig(path, dpi=120)


def draw_tree(nodes: list[Node], path: Path) -> None:
    """Groups as nested bars, the widest on top: as long as they have images."""
    children: dict[str, list[Node]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node)
    total = sum(node.size for node in nodes if node.leaf)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axis = figure.subplots()

    def draw(parent: str, start: int, depth: int) -> None:
        for node in children.get(parent, []):
            axis.barh(-depth, node.size, left=start, height=0.94, edgecolor="white", linewidth=2,
                      color="#4a6076" if node.leaf else "#2b6cb0")  # fmt: skip
            upright = node.size < total * 0.07  # narrower than its name
            text = f"{node.name}, {node.size}" if upright else f"{node.name}\n{node.size}"
            axis.text(start + node.size / 2, -depth, text, ha="center", va="center", color="white",
                      fontsize=8, rotation=90 if upright else 0)  # fmt: skip
            draw(node.name, start, depth + 1)
            start += node.size

    draw("", 0, 0)
    axis.set_xlim(0, total)
    axis.set_axis_off()
    axis.set_title("What the network confuses, grouped: number of images", fontsize=10)
    figure.savefig(path, dpi=120)


def main(**options: int) -> None:
    """Import, cluster, name, group, draw."""
    dataset = make_dataset()
    ldpo = fdc.LDPO(
        n_clusters=12,  # more than there are kinds: the tree puts together what is alike
        image_size=32,  # most files are not much larger
        min_steps=20,  # with more, so few images are memorized
        augmentation="none",
        text_field="report",
        group_field="dicom_patient",
        **{"rounds": 6, **options},
    )
    run = fdc.cluster(dataset, ldpo, key="ldpo", truth_field="dicom_modality", overwrite=True)
    found = fdc.key_words(dataset, "ldpo", rank="distinct")  # words specific to a cluster
    words = {name: [word.word for word in some] for name, some in found.items()}
    nodes = fdc.build_tree(dataset, "ldpo")
    dataset.save_workspace("clusters", clusters_beside_the_grid(), overwrite=True)
    print(f"\n{rounds_table(run.rounds)}\n")
    for cluster in run.clusters():
        some = ", ".join(words[cluster.name][:5]) or "no words of its own"
        print(f"{cluster.name}: {cluster.size:>3} images, {some}")
    OUTPUT.mkdir(exist_ok=True)
    draw_clusters(run, words, OUTPUT / "radiology-clusters.png")
    draw_tree(nodes, OUTPUT / "radiology-tree.png")
    print(f"\nStopped: {run.record.outcome}")
    print(f"Beside simple methods: {run.record.verdict}")
    print(f"\nPictures: {OUTPUT / 'radiology-clusters.png'}, {OUTPUT / 'radiology-tree.png'}")
    print(f"In the App: fiftyone-deepcluster open {DATASET}")


if __name__ == "__main__":
    parser = ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=SUPPRESS, help="rounds at most")
    parser.add_argument("--seed", type=int, default=SUPPRESS, help="other seeds, other clusters")
    try:
        main(**vars(parser.parse_args()))
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command continues after the last completed round")
    except RunExistsError as error:  # somebody has named its clusters
        sys.exit(str(error))
