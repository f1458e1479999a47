"""Whether a clustering run's clusters and rounds say more about wrong labels than the audit's own score.

    python -m benchmarks.audit_history --digits --npz fashion=fashion_mnist.npz --out history.jsonl
    python -m benchmarks.audit_history --zip cifar=cifar10.zip --features cifar=cifar.npz --human cifar=labels.csv
    python -m benchmarks.audit_history --table --out history.jsonl

Each set is clustered from its pixels by a deep-clustering run. What the run knows is turned into one more piece of
evidence, at deviation 1, and added to the audit's score with a weight:

- ``cluster``: log odds of the given class among the other labels of the image's cluster;
- ``history``: the same, mean over the clusters that the image was in, round by round;
- ``changes``: how often the image changed its cluster;
- ``loss``: its mean training loss over the rounds.

The score is that of the audit of frozen features (``--features``) or pixels, and of the vectors that the run learned.
True labels are used to measure, and for nothing else.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.audit import KINDS, broken, pairs, reduced
from benchmarks.report import append_runs, read_runs, table
from fiftyone_deepcluster.analysis.label_audit.audit import _N_NEIGHBORS
from fiftyone_deepcluster.analysis.label_audit.evidence import gather_evidence
from fiftyone_deepcluster.analysis.label_audit.labeled_set import KnownSides, class_labels, labeled_set
from fiftyone_deepcluster.analysis.label_audit.logistic import feature_rows
from fiftyone_deepcluster.analysis.label_audit.neighbors import neighbor_graph
from fiftyone_deepcluster.analysis.label_audit.scores import suspicion
from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.methods.base import parse_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fiftyone_deepcluster.api.fit import FitResult

WEIGHTS = (0.0, 0.5, 1.0, 2.0)
"""Of the run's evidence, in parts of the six that the score is the sum of."""

PRIOR = 1.0
"""Labels that every cluster has in advance, divided among the classes."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--digits", action="store_true")
    parser.add_argument("--npz", action="append", default=[], metavar="NAME=PATH", help="images x, classes y")
    parser.add_argument("--zip", action="append", default=[], metavar="NAME=PATH", help="CLASS/name.jpg")
    parser.add_argument("--features", action="append", default=[], metavar="NAME=PATH", help="x, names")
    parser.add_argument("--human", action="append", default=[], metavar="NAME=PATH", help="labels of people")
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--method", default="deepcluster")
    parser.add_argument("--clusters", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.15)
    parser.add_argument("--seeds", type=int, nargs="+", default=[51, 52])
    parser.add_argument("--table", action="store_true", help="print what --out holds")
    parser.add_argument("--out", type=Path, default=Path("history.jsonl"))
    arguments = parser.parse_args()
    if arguments.table:
        show(arguments.out)
        return
    for seed in arguments.seeds:
        for name, (images, classes, files) in sets(arguments).items():
            rows = np.random.default_rng(seed).permutation(len(images))[: arguments.images]
            chosen = None if files is None else [files[row] for row in rows.tolist()]
            for k in arguments.clusters:
                measure(arguments, (name, seed, k), images[rows], classes[rows], chosen)


def sets(arguments: argparse.Namespace) -> dict[str, tuple[Any, Any, list[str] | None]]:
    """Images (N, H, W[, C]), classes, and names of the files of every set."""
    found: dict[str, tuple[Any, Any, list[str] | None]] = {}
    if arguments.digits:
        from sklearn.datasets import load_digits

        digits = load_digits()
        found["digits"] = (digits.images * 15.9375).astype(np.uint8), digits.target, None
    for name, path in pairs(arguments.npz):
        held = np.load(path)
        found[name] = *((held["x"], held["y"]) if "x" in held else (held["x_test"], held["y_test"])), None
    for name, path in pairs(arguments.zip):
        found[name] = read_zip(path)
    return found


def read_zip(path: str) -> tuple[Any, Any, list[str]]:
    """Images of one size in folders named by their class."""
    from PIL import Image

    with zipfile.ZipFile(path) as archive:
        files = sorted(name for name in archive.namelist() if name.lower().endswith((".jpg", ".png")))
        images = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in files])
    return images, np.unique([name.split("/")[-2] for name in files], return_inverse=True)[1], files


def labelings(
    arguments: argparse.Namespace, name: str, seed: int, given: tuple[Any, Any, list[str] | None]
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.int64]]]:
    """Kind, labels, and true classes."""
    import csv

    vectors, classes, files = given
    human = dict(pairs(arguments.human)).get(name)
    if human is None or files is None:
        for kind in KINDS:
            yield kind, broken(vectors, classes, kind, arguments.rate, seed), classes
        return
    with Path(human).open(newline="") as file:
        lines = {row["file"]: row for row in csv.DictReader(file)}
    order = sorted({row["clean"] for row in lines.values()})
    clean = np.searchsorted(order, [lines[file]["clean"] for file in files])
    for kind in ("aggregate", "random1", "worst"):
        yield kind, np.searchsorted(order, [lines[file][kind] for file in files]), clean


def measure(
    arguments: argparse.Namespace,
    which: tuple[str, int, int],
    images: NDArray[np.uint8],
    classes: NDArray[np.int64],
    files: list[str] | None,
) -> None:
    """Append a line for each labeling, each kind of vectors, each evidence and each weight."""
    name, seed, k = which
    settings = {"n_clusters": k, "rounds": arguments.rounds, "seed": seed, "baselines": False}
    run = fit(images, parse_options(arguments.method, settings))
    frozen = reduced(frozen_vectors(arguments, name, images, files), 128)
    spaces = {"frozen": frozen, "learned": np.asarray(run.embeddings, np.float32)}
    for kind, labels, true in labelings(arguments, name, seed, (frozen, classes, files)):
        extras = evidence_of(run, labels)
        for space, vectors in spaces.items():
            base = audit_score(vectors, labels, seed)
            for extra, values in extras.items():
                scaled = (values - values.mean()) / max(float(values.std()), 1e-9)
                for weight in WEIGHTS:
                    both, wrong = base + weight * scaled, labels != true
                    line = {
                        "set": name, "seed": seed, "clusters": k, "kind": kind, "vectors": space, "evidence": extra,
                        "weight": weight, "auroc": roc_auc_score(wrong, both),
                        "ap": average_precision_score(wrong, both), "alone": roc_auc_score(wrong, scaled),
                    }  # fmt: skip
                    append_runs(arguments.out, [line])
        print(*which, kind, flush=True)


def frozen_vectors(
    arguments: argparse.Namespace, name: str, images: NDArray[np.uint8], files: list[str] | None
) -> NDArray[Any]:
    """Features of a file, in the order of the images; without one, the pixels."""
    path = dict(pairs(arguments.features)).get(name)
    if path is None or files is None:
        return images.reshape(len(images), -1)
    held = np.load(path)
    place = {file: row for row, file in enumerate(held["names"].tolist())}
    return np.asarray(held["x"][[place[file] for file in files]])


def audit_score(vectors: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """The audit's suspicion of every label."""
    features, known = feature_rows(vectors), class_labels(labels.tolist(), None)
    graph = neighbor_graph(features, _N_NEIGHBORS)
    return suspicion(*gather_evidence(labeled_set(features, graph, known, KnownSides(), seed)))


def evidence_of(run: FitResult, labels: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """What the run says about every label; more is more suspicious."""
    rounds = np.asarray(run.round_labels, np.int64)
    losses = np.nan_to_num(np.asarray(run.round_losses, np.float64))
    return {
        "cluster": share_odds(np.asarray(run.labels), labels),
        "history": np.mean([share_odds(column, labels) for column in rounds.T], axis=0),
        "changes": (rounds[:, 1:] != rounds[:, :-1]).sum(axis=1).astype(np.float64),
        "loss": losses.mean(axis=1),
    }


def share_odds(clusters: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log odds of the most frequent other class against the given one, among the other images of the cluster."""
    n_classes, at = int(labels.max()) + 1, np.arange(len(labels))
    ids = np.unique(clusters, return_inverse=True)[1]
    counts = np.zeros((int(ids.max()) + 1, n_classes))
    np.add.at(counts, (ids, labels), 1.0)
    mine = counts[ids]
    mine[at, labels] -= 1
    mine += PRIOR / n_classes
    own = mine[at, labels].copy()
    mine[at, labels] = 0
    return np.asarray(np.log(mine.max(axis=1) / own))


def show(path: Path) -> None:
    """Change of AUROC and average precision by each evidence at each weight, mean over seeds and clusters."""
    lines = read_runs([path])
    groups = list(dict.fromkeys((line["set"], line["kind"], line["vectors"]) for line in lines))
    rows = []
    for group in groups:
        mine = [line for line in lines if (line["set"], line["kind"], line["vectors"]) == group]
        start = {what: mean(mine, "cluster", 0.0, what) for what in ("auroc", "ap")}
        for extra in dict.fromkeys(line["evidence"] for line in mine):
            cells = [
                " / ".join(f"{mean(mine, extra, weight, what) - start[what]:+.3f}" for what in start)
                for weight in WEIGHTS[1:]
            ]
            alone = f"{mean(mine, extra, 0.0, 'alone'):.3f}"
            rows.append([*group, f"{start['auroc']:.3f} / {start['ap']:.3f}", extra, alone, *cells])
    header = [
        "set",
        "labels",
        "vectors",
        "score",
        "evidence",
        "alone",
        *(f"+ {weight} x" for weight in WEIGHTS[1:]),
    ]
    print(table(header, rows))


def mean(lines: list[dict[str, Any]], evidence: str, weight: float, what: str) -> float:
    chosen = [line[what] for line in lines if (line["evidence"], line["weight"]) == (evidence, weight)]
    return float(np.mean(chosen))


if __name__ == "__main__":
    main()
