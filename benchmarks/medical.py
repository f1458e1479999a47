"""Medical images: the loop compared with k-means and the classes, and the key words of reports.

    python -m benchmarks.medical brain --zip brain_mr.zip --weights mobilenet_v2.pth --seeds 3 --out runs.jsonl
    python -m benchmarks.medical tree --zip brain_mr.zip --weights mobilenet_v2.pth --seeds 1
    python -m benchmarks.medical cxr --zip cxr.zip --weights mobilenet_v2.pth
    python -m benchmarks.medical summary runs.jsonl

``brain`` reads DICOM slices in folders named by their class, without FiftyOne. The others use
FiftyOne as a user does, with a MongoDB in a temporary folder. ``tree``: ``add_dicom`` on the same folders, two
clusters per class, ``build_tree``; prints the classes of each cluster, and the tree. ``cxr``: samples with clinical
notes and patient, ``cluster``, ``key_words`` and ``build_tree``; prints words and tree. Its zip contains ``images/``
and ``metadata.csv`` with the columns filename, patientid, view and clinical_notes.

Beside every method k-means, and UMAP + k-means, on the features of the same weights. Classes are used
for evaluation only. ``--option`` changes the loop's options, ``--only`` leaves rows out.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tempfile
import time
import zipfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.own_database import own_database
from benchmarks.quality import parsed, summaries
from benchmarks.report import append_runs, read_runs, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import fiftyone as fo

    from fiftyone_deepcluster.core.record import RunRecord
    from fiftyone_deepcluster.methods.base import Options

BACKBONE = {"name": "torchvision", "model": "mobilenet_v2"}

MIDDLE = {"name": "pooled", "pca": 0, "layer": "features.10", "bands": 2}
"""A middle layer of the network, as the paper's Conv5: contrast and outline rather than kinds of objects."""

NEIGHBORS = 10
"""Neighbors for merging pieces: half of a piece of 20 images, the smallest mean size."""

FEW = {
    "batch_size": 32, "min_steps": 0, "epochs": 2, "rounds": 3, "confident_share": 0.8, "learning_rate": 3e-5,
    "head_learning_rate": 1e-3,
}  # fmt: skip
"""The loop on some hundred images: small batches, two epochs per round, the most confident images, low rates."""

HEADER = ("images", "method", "ACC", "NMI", "ARI", "PURITY", "seconds", "seeds", "stopped")


def main() -> None:
    arguments = arguments_given()
    if arguments.what == "summary":
        runs = read_runs(arguments.runs)
        print(table(HEADER, summaries(runs)))
        return
    with own_database() if arguments.what in ("tree", "cxr") else nullcontext():
        runs = []
        for run in {"brain": brain, "tree": tree, "cxr": cxr}[arguments.what](arguments):
            runs.append(run)
            print(json.dumps({name: run[name] for name in ("method", "acc", "nmi", "history")}), flush=True)
            append_runs(arguments.out, [run])
        print(table(HEADER, summaries(runs)))


def arguments_given() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="what", required=True)
    for name, clusters in (("brain", 7), ("tree", 14), ("cxr", 8)):
        part = parts.add_parser(name)
        part.add_argument("--zip", type=Path, required=True)
        part.add_argument("--weights", required=True, help="of torchvision's MobileNetV2")
        part.add_argument("--clusters", type=int, default=clusters)
        part.add_argument("--image-size", type=int, default=128, help="side of the network's input in pixels")
        part.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
        part.add_argument("--only", action="append", default=[], metavar="METHOD")
        part.add_argument("--seeds", type=int, default=3)
        part.add_argument("--first-seed", type=int, default=51)
        part.add_argument("--out", type=Path, help="append every single run here, as JSON lines")
    parts.add_parser("summary").add_argument("runs", type=Path, nargs="+", help="files that --out wrote")
    return parser.parse_args()


def methods(arguments: argparse.Namespace, seed: int) -> dict[str, dict[str, Any]]:
    """Options of every row's method, by the row's name."""
    shared = {
        "n_clusters": arguments.clusters, "seed": seed, "image_size": arguments.image_size, "backbone": BACKBONE,
        "weights": arguments.weights, "baselines": False,
    }  # fmt: skip
    fixed = {**shared, "name": "frozen"}
    loop = {**shared, **FEW, "name": "ldpo", "reducer": "umap"}
    umap = {**fixed, "reducer": "umap"}
    merged = {"name": "merged", "n_neighbors": NEIGHBORS}
    return {
        "k-means": fixed,
        "UMAP + k-means": umap,
        "k-means, middle layer": {**fixed, "encoder": MIDDLE},
        "UMAP + k-means, middle layer": {**umap, "encoder": MIDDLE},
        "UMAP, merged, middle layer": {**umap, "encoder": MIDDLE, "clusterer": merged},
        "ldpo": loop,
        "ldpo, middle layer": {**loop, "encoder": MIDDLE, "augmentation": "affine", "clusterer": merged},
    }  # fmt: skip


def wanted(arguments: argparse.Namespace, known: dict[str, Any]) -> dict[str, Options]:
    """The rows that ``--only`` selects; the loop's with ``--option``."""
    from fiftyone_deepcluster.methods.base import parse_options

    changes = parsed(dict(item.split("=", 1) for item in arguments.option))
    found = {}
    for name, values in known.items():
        if not arguments.only or name in arguments.only:
            own = values if values["name"] == "frozen" else {**values, **changes}
            found[name] = parse_options(own["name"], own)
    return found


def figures(data: str, name: str, record: RunRecord, seconds: float) -> dict[str, Any]:
    """One run as a line of JSON, measured at its end."""
    truth = record.rounds[-1].truth
    if truth is None:
        raise SystemExit(f"{data}: no classes to measure against")
    history = [
        [r.truth.acc, r.truth.nmi, r.change.nmi if r.change else None] for r in record.rounds if r.truth
    ]
    return {
        "data": data, "n": record.n_images, "method": name, "options": record.options, "seconds": seconds,
        "stop": record.stop_reason.value if record.stop_reason else "", "rounds": len(record.rounds),
        "history": history, **truth.model_dump(),
    }  # fmt: skip


def brain(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Slices of brain MR, read from DICOM without FiftyOne."""
    from fiftyone_deepcluster.api.fit import fit
    from fiftyone_deepcluster.core.progress import Tqdm

    folder = unpacked(arguments.zip)
    paths = sorted(str(path) for path in folder.rglob("*.dcm"))
    classes = [Path(path).parent.name for path in paths]
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for name, options in wanted(arguments, methods(arguments, seed)).items():
            started = time.perf_counter()
            record = fit(paths, options, truth=classes, observer=Tqdm()).record
            yield figures("brain MR", name, record, time.perf_counter() - started)
    shutil.rmtree(folder)


def tree(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The same slices through FiftyOne: the classes in each cluster, and the category tree."""
    folder = unpacked(arguments.zip)
    try:
        import fiftyone as fo

        import fiftyone_deepcluster as fdc

        dataset = fo.Dataset()
        print(fdc.add_dicom(folder, dataset))
        classes = [Path(path).parent.name for path in dataset.values("dicom_path")]
        dataset.set_values("kind", [fo.Classification(label=name) for name in classes])
        arguments.only = arguments.only or ["ldpo, middle layer"]
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            for name, options in wanted(arguments, methods(arguments, seed)).items():
                started = time.perf_counter()
                run = fdc.cluster(dataset, options, key="dc", truth_field="kind", overwrite=True)
                yield figures("brain MR", name, run.record, time.perf_counter() - started)
                contents(dataset)
                branches(dataset)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def contents(dataset: fo.Dataset) -> None:
    """Print the classes in each cluster."""
    counts: dict[str, Counter[str]] = {}
    for name, kind in zip(*dataset.values(["dc.label", "kind.label"]), strict=True):
        counts.setdefault(name or "none", Counter())[kind] += 1
    for name in sorted(counts):
        print(f"{name}: " + ", ".join(f"{kind} {n}" for kind, n in counts[name].most_common()))


def branches(dataset: fo.Dataset) -> None:
    """Print the tree of the clusters."""
    import fiftyone_deepcluster as fdc

    for node in fdc.build_tree(dataset, "dc"):
        print(f"{'  ' * node.parent.count('.')}{node.parent or 'top'} > {node.name} ({node.size})")


def cxr(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Chest x-rays with clinical notes, through FiftyOne."""
    folder = unpacked(arguments.zip)
    try:
        import fiftyone_deepcluster as fdc

        dataset = reported(folder)
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            known = methods(arguments, seed)
            loop = {**known["ldpo"], "text_field": "notes", "group_field": "patient", "n_topics": 8}
            known |= {"ldpo": loop, "ldpo from topics": {**loop, "initial": "topics"}}
            for name, options in wanted(arguments, known).items():
                started = time.perf_counter()
                run = fdc.cluster(dataset, options, key="dc", truth_field="view", overwrite=True)
                yield figures("chest x-rays", name, run.record, time.perf_counter() - started)
                if options.name == "ldpo":
                    print_reports(dataset)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def reported(folder: Path) -> fo.Dataset:
    """A dataset of the images with view, notes and patient."""
    import fiftyone as fo

    dataset = fo.Dataset()
    samples = []
    for row in csv.DictReader((folder / "metadata.csv").open(encoding="utf-8")):
        view = fo.Classification(label=row["view"]) if row["view"].strip("? ") else None
        notes, path = row["clinical_notes"].strip() or None, str(folder / "images" / row["filename"])
        samples.append(fo.Sample(filepath=path, view=view, notes=notes, patient=row["patientid"]))
    dataset.add_samples(samples, progress=False)
    return dataset


def print_reports(dataset: fo.Dataset) -> None:
    """Print the key words of every cluster with both ranks, and the tree."""
    import fiftyone_deepcluster as fdc

    sizes = dataset.count_values("dc.label")
    frequent, own = (fdc.key_words(dataset, "dc", "notes", rank=rank) for rank in ("count", "distinct"))
    for name, words in frequent.items():
        print(f"{name} ({sizes[name]}): {', '.join(word.word for word in words)}")
        print(f"    its own: {', '.join(word.word for word in own[name])}")
    branches(dataset)


def unpacked(path: Path) -> Path:
    """A new folder with the files of the zip."""
    folder = Path(tempfile.mkdtemp(prefix="deepcluster-bench-"))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


if __name__ == "__main__":
    main()
