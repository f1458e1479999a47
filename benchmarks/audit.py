"""Which labels are wrong: the label audit beside cleanlab, FiftyOne's mistakenness and votes of neighbors.

    python -m benchmarks.audit features --zip scenes=scene15.zip --weights mobilenet_v2.pth   # writes scenes.npz
    python -m benchmarks.audit run --digits --npz usps=usps.npz --features scenes=scenes.npz --out audit.jsonl
    python -m benchmarks.audit run --features cifar=cifar.npz --human cifar=labels.csv --out audit.jsonl
    python -m benchmarks.audit effort --digits --features scenes=scenes.npz --out effort.jsonl
    python -m benchmarks.audit table --out audit.jsonl

Labels are broken at random (``uniform``), or turned into the most similar class (``confused``), or are those of people
(``--human``: a CSV table with the columns ``file``, ``clean``, and one column for each set of labels). All methods get
the same vectors, reduced to ``--dims`` by PCA; those with a classifier get the same held-out probabilities of
scikit-learn's logistic regression in five folds. True labels are used to measure, and for nothing else.

cleanlab is not needed by the project: ``pip install cleanlab``. Without it its rows are missing.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.report import append_runs, read_runs, table
from fiftyone_deepcluster.analysis.label_audit.audit import audit_vectors
from fiftyone_deepcluster.analysis.label_audit.labeled_set import KnownSides

RATES = (0.05, 0.15, 0.3)
KINDS = ("uniform", "confused")
EFFORT = (50, 100, 200)
FIGURES = ("auroc", "ap", "precision", "found")
OURS = "audit"
PENALTY = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["features", "run", "effort", "table"])
    parser.add_argument("--digits", action="store_true", help="scikit-learn's digits, by their pixels")
    parser.add_argument("--npz", action="append", default=[], metavar="NAME=PATH", help="images x, classes y")
    parser.add_argument(
        "--features", action="append", default=[], metavar="NAME=PATH", help="vectors x, classes y"
    )
    parser.add_argument("--human", action="append", default=[], metavar="NAME=PATH", help="labels of people")
    parser.add_argument("--zip", action="append", default=[], metavar="NAME=PATH", help="CLASS/name.jpg")
    parser.add_argument("--weights", type=Path, help="state dict of torchvision's mobilenet_v2")
    parser.add_argument("--size", type=int, default=96, help="pixels of the images for --weights")
    parser.add_argument(
        "--images", type=int, default=2000, help="maximum number of images of each set, drawn at random"
    )
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--seeds", type=int, nargs="+", default=[51, 52, 53])
    parser.add_argument("--alone", action="store_true", help="only the audit, for its calibration and time")
    parser.add_argument("--out", type=Path, default=Path("audit.jsonl"))
    arguments = parser.parse_args()
    {"features": features, "run": run, "effort": effort, "table": show}[arguments.what](arguments)


# ---------------------------------------------------------------- data


def features(arguments: argparse.Namespace) -> None:
    """Pooled features of MobileNetV2 for images in folders named by their class."""
    import io
    import zipfile

    import torch
    from PIL import Image
    from torchvision.models import mobilenet_v2

    network = mobilenet_v2()
    network.load_state_dict(torch.load(arguments.weights, weights_only=True))
    network.eval()
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for name, path in pairs(arguments.zip):
        with zipfile.ZipFile(path) as archive, torch.inference_mode():
            files = sorted(
                file for file in archive.namelist() if file.lower().endswith((".jpg", ".jpeg", ".png"))
            )
            found = []
            for start in range(0, len(files), 64):
                batch = [
                    np.asarray(
                        Image.open(io.BytesIO(archive.read(file)))
                        .convert("RGB")
                        .resize((arguments.size, arguments.size), Image.Resampling.BILINEAR)
                    )
                    for file in files[start : start + 64]
                ]
                images = (torch.from_numpy(np.stack(batch)).float() / 255 - mean) / deviation
                found.append(network.features(images.permute(0, 3, 1, 2)).mean((2, 3)).numpy())
        classes = np.array([file.split("/")[-2] for file in files])
        np.savez(f"{name}.npz", x=np.concatenate(found), y=classes, names=np.array(files))
        print(f"{name}.npz: {len(files)} images")


def pairs(given: list[str]) -> list[tuple[str, str]]:
    return [(name, path) for name, _, path in (text.partition("=") for text in given)]


def sets(arguments: argparse.Namespace) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Vectors, classes, and names of the files of every set."""
    found: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]] = {}
    if arguments.digits:
        from sklearn.datasets import load_digits

        digits = load_digits()
        found["digits"] = digits.data, digits.target, None
    for name, path in pairs(arguments.npz):
        held = np.load(path)
        images, classes = (held["x"], held["y"]) if "x" in held else (held["x_test"], held["y_test"])
        found[name] = images.reshape(len(images), -1), classes, None
    for name, path in pairs(arguments.features):
        held = np.load(path)
        found[name] = held["x"], held["y"], held.get("names")
    return found


def reduced(vectors: np.ndarray, dims: int) -> np.ndarray:
    from sklearn.decomposition import PCA

    if vectors.shape[1] <= dims:
        return vectors.astype(np.float32)
    return PCA(dims, svd_solver="randomized", random_state=0).fit_transform(vectors.astype(np.float32))


def broken(vectors: np.ndarray, classes: np.ndarray, kind: str, rate: float, seed: int) -> np.ndarray:
    """Labels of which a share is wrong."""
    draw = np.random.default_rng(seed)
    k, labels = int(classes.max()) + 1, classes.copy()
    rows = draw.choice(len(classes), round(rate * len(classes)), replace=False)
    if kind == "uniform":
        labels[rows] = (classes[rows] + draw.integers(1, k, len(rows))) % k
        return labels
    scaled = (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + 1e-6)
    means = np.stack([scaled[classes == number].mean(axis=0) for number in range(k)])
    apart = np.square(means[:, None] - means[None]).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    labels[rows] = apart.argmin(axis=1)[classes[rows]]
    return labels


def jobs(arguments: argparse.Namespace):
    """Every set of labels: set, kind, rate, seed, vectors, true classes, labels."""
    human = dict(pairs(arguments.human))
    for seed in arguments.seeds:
        for name, (vectors, names, files) in sets(arguments).items():
            classes = np.unique(names, return_inverse=True)[1]
            draw = np.random.default_rng(seed)
            rows = draw.permutation(len(classes))[: arguments.images]
            chosen = reduced(vectors[rows], arguments.dims)
            if name in human and files is not None:
                with Path(human[name]).open(newline="") as file:
                    labels = {row["file"]: row for row in csv.DictReader(file)}
                order = np.unique([row["clean"] for row in labels.values()])
                for column in [name for name in next(iter(labels.values())) if name not in ("file", "clean")]:
                    given = np.array([labels[file][column] for file in files[rows]])
                    clean = np.array([labels[file]["clean"] for file in files[rows]])
                    yield (
                        name,
                        column,
                        0.0,
                        seed,
                        chosen,
                        np.searchsorted(order, clean),
                        np.searchsorted(order, given),
                    )
                continue
            for kind in KINDS:
                for rate in RATES:
                    yield (
                        name,
                        kind,
                        rate,
                        seed,
                        chosen,
                        classes[rows],
                        broken(chosen, classes[rows], kind, rate, seed),
                    )


# ---------------------------------------------------------------- methods


def held_out(vectors: np.ndarray, labels: np.ndarray, train: np.ndarray | None = None) -> np.ndarray:
    """(N, K) probabilities of a logistic regression in five folds, trained on the rows ``train`` only.

    Scaling and penalty are those of the audit's own, so that the methods differ and not the classifiers.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    scaled = (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + 1e-9)
    scaled /= np.sqrt(scaled.shape[1])
    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    usable = np.ones(len(labels), bool) if train is None else train
    for rest, fold in StratifiedKFold(5, shuffle=True, random_state=0).split(vectors, labels):
        rows = rest[usable[rest]]
        model = LogisticRegression(C=1 / (PENALTY * len(rows)), max_iter=300)
        model.fit(scaled[rows], labels[rows])
        probabilities[np.ix_(fold, model.classes_)] = model.predict_proba(scaled[fold])
    return probabilities


def neighbor_votes(vectors: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """(N,) share of the given label among the k nearest others, by cosine."""
    import faiss

    scaled = (vectors - vectors.mean(axis=0)).astype(np.float32)
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True) + 1e-9
    near = faiss.knn(scaled, scaled, k + 1, metric=faiss.METRIC_INNER_PRODUCT)[1][:, 1:]
    return (labels[near] == labels[:, None]).mean(axis=1)


def mistakenness(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """FiftyOne's: (1 ± exp(-entropy)) / 2, plus where the prediction is another label."""
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)
    return (1 + np.where(probabilities.argmax(axis=1) == labels, -1, 1) * np.exp(-entropy)) / 2


def peers(vectors: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Suspicion by every method that we compare with."""
    probabilities = held_out(vectors, labels)
    found = {
        "FiftyOne mistakenness": mistakenness(probabilities, labels),
        "votes of 10 neighbors": -neighbor_votes(vectors, labels, 10),
    }
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return found
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        found[f"cleanlab {method}"] = -get_label_quality_scores(labels, probabilities, method=method)
    adjusted = get_label_quality_scores(labels, probabilities, adjust_pred_probs=True)
    found["cleanlab self_confidence, adjusted"] = -adjusted
    issues = find_label_issues(labels, probabilities, n_jobs=1)
    counts = np.bincount(labels[~issues], minlength=int(labels.max()) + 1)
    kept = ~issues | (counts[labels] < 10)  # no class is emptied
    found["cleanlab, issues pruned, fitted again"] = -get_label_quality_scores(
        labels, held_out(vectors, labels, kept)
    )
    return found


def score(wrong: np.ndarray, suspicious: np.ndarray, rate: float) -> dict[str, float]:
    n, budget = int(wrong.sum()), round((rate or wrong.mean()) * len(wrong))
    order = np.argsort(-suspicious, kind="stable")
    return {
        "auroc": float(roc_auc_score(wrong, suspicious)),
        "ap": float(average_precision_score(wrong, suspicious)),
        "precision": float(wrong[order[:n]].mean()),
        "found": float(wrong[order[:budget]].sum() / n),
    }


def run(arguments: argparse.Namespace) -> None:
    for name, kind, rate, seed, vectors, classes, labels in jobs(arguments):
        wrong = labels != classes
        started = time.perf_counter()
        audit = audit_vectors(vectors, labels.tolist(), seed=seed)
        seconds = time.perf_counter() - started
        ranked = np.where(audit.rank < 0, len(labels), audit.rank)
        started = time.perf_counter()
        others = {} if arguments.alone else peers(vectors, labels)
        found = {OURS: -ranked, **others}
        lines = [
            {"set": name, "kind": kind, "rate": rate, "seed": seed, "n": len(labels), "method": method}
            | score(wrong, suspicious, rate)
            for method, suspicious in found.items()
        ]
        lines[0] |= {
            "seconds": seconds, "seconds_of_others": time.perf_counter() - started,
            "wrong": float(wrong.mean()), "estimated": float(np.nanmean(audit.p_wrong)),
            "calibration": calibration(audit.p_wrong, wrong),
        }  # fmt: skip
        append_runs(arguments.out, lines)
        print(name, kind, rate, seed, *(f"{line['auroc']:.3f}" for line in lines), flush=True)


def calibration(p_wrong: np.ndarray, wrong: np.ndarray) -> float:
    """Expected calibration error in ten bins of equal width."""
    known = np.isfinite(p_wrong)
    p_wrong, wrong = p_wrong[known], wrong[known]
    bins = np.minimum((p_wrong * 10).astype(int), 9)
    return float(
        sum(abs(p_wrong[bins == number].sum() - wrong[bins == number].sum()) for number in range(10))
        / len(wrong)
    )


def effort(arguments: argparse.Namespace) -> None:
    """Errors among the first 50, 100 and 200 decisions: with a refit after every 25, without, and in random order."""
    for name, kind, rate, seed, vectors, classes, labels in jobs(arguments):
        if not (kind == "confused" and rate == RATES[1]) and rate:
            continue
        wrong = labels != classes
        first = audit_vectors(vectors, labels.tolist(), seed=seed)
        static = np.argsort(np.where(first.rank < 0, len(labels), first.rank))[: EFFORT[-1]]
        now, order, audit = labels.copy(), np.zeros(0, np.int64), first
        for _ in range(EFFORT[-1] // 25):
            decided = np.isin(np.arange(len(labels)), order)
            left = np.argsort(np.where(decided | (audit.rank < 0), len(labels), audit.rank))[:25]
            order = np.concatenate([order, left])
            now[left], decided[left] = classes[left], True
            known = KnownSides(certain=decided, before=labels.tolist(), graph=first.graph)
            audit = audit_vectors(vectors, now.tolist(), seed=seed, known=known)
        line = {
            "set": name, "kind": kind, "rate": rate, "seed": seed, "wrong": int(wrong.sum()), "labels": len(labels),
            "refitted": [int(wrong[order[:n]].sum()) for n in EFFORT],
            "static": [int(wrong[static[:n]].sum()) for n in EFFORT],
            "random": [n * float(wrong.mean()) for n in EFFORT],
        }  # fmt: skip
        append_runs(arguments.out, [line])
        print(line, flush=True)


# ---------------------------------------------------------------- tables


def show(arguments: argparse.Namespace) -> None:
    """Mean figures over the seeds, by set; and how far ahead of the best other method, if others were measured."""
    lines = read_runs([arguments.out])
    methods = list(dict.fromkeys(line["method"] for line in lines))
    groups = list(dict.fromkeys((line["set"], group_of(line)) for line in lines))
    for figure in FIGURES if len(methods) > 1 else ():
        rows = []
        for name, group in groups:
            cells = [mean(lines, name, group, method, figure) for method in methods]
            rows.append(
                [name, group, *(f"{cell:.3f}" for cell in cells), f"{cells[0] - max(cells[1:]):+.3f}"]
            )
        overall = [np.mean([mean(lines, *pair, method, figure) for pair in groups]) for method in methods]
        rows.append(
            ["mean", "", *(f"{cell:.3f}" for cell in overall), f"{overall[0] - max(overall[1:]):+.3f}"]
        )
        print(f"\n{figure}\n" + table(["set", "labels", *methods, "ahead"], rows))
    ours: list[dict[str, Any]] = [line for line in lines if line["method"] == OURS]
    rows = []
    for name, group in groups:
        of = [line for line in ours if (line["set"], group_of(line)) == (name, group)]
        figures = [np.mean([line[what] for line in of]) for what in ("wrong", "estimated", "calibration")]
        seconds = np.mean([line["seconds"] for line in of])
        rows.append([name, group, len(of), *(f"{figure:.3f}" for figure in figures), f"{seconds:.1f}"])
    print("\n" + table(["set", "labels", "runs", "wrong", "estimated", "calibration error", "seconds"], rows))


def group_of(line: dict[str, Any]) -> str:
    return f"{line['kind']} {line['rate']:.0%}" if line["rate"] else line["kind"]


def mean(lines: list[dict[str, Any]], name: str, group: str, method: str, figure: str) -> float:
    chosen = [
        line[figure] for line in lines
        if (line["set"], group_of(line), line["method"]) == (name, group, method)
    ]  # fmt: skip
    return float(np.mean(chosen)) if chosen else float("nan")


if __name__ == "__main__":
    main()
