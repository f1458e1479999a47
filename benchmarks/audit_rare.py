"""Whether the label audit takes a rare class for noise.

    python -m benchmarks.audit_rare --npz fashion=fashion_mnist.npz --npz usps=usps.npz --seeds 51 52 53

One class of each set keeps only some of its images; all other images stay. A share of the labels of the other classes
is exchanged among images, so that no class becomes larger. The labels of all images of the rare class are right, and
some images of other classes (``--errors``) have its label, too. The table has the share of right labels that are called
an issue (``p_wrong`` of .5 or more), of the rare class and of all others, and the share of the wrong labels that are
found, with the label of the rare class and with others. ``cleanlab`` is its ``find_label_issues`` on five-fold logistic
regression.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.audit import held_out, reduced, sets
from benchmarks.report import table
from fiftyone_deepcluster.analysis.label_audit.audit import audit_vectors
from fiftyone_deepcluster.analysis.label_audit.noise import ISSUE_AT

if TYPE_CHECKING:
    from numpy.typing import NDArray


def main() -> None:
    """Print a row for each set and each size of the rare class."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--digits", action="store_true", help="scikit-learn's digits, by their pixels")
    parser.add_argument("--npz", action="append", default=[], metavar="NAME=PATH", help="images x, classes y")
    parser.add_argument(
        "--features", action="append", default=[], metavar="NAME=PATH", help="vectors x, classes y"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[12, 20, 50, 100])
    parser.add_argument("--noise", type=float, default=0.08)
    parser.add_argument("--errors", type=int, default=4, help="other images that get the label of the class")
    parser.add_argument("--dims", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=[51, 52, 53])
    arguments = parser.parse_args()
    rows = []
    for name, (vectors, names, _) in sets(arguments).items():
        classes = np.unique(names, return_inverse=True)[1]
        small = reduced(vectors, arguments.dims)
        for size in arguments.sizes:
            found = [measure(small, classes, size, seed, arguments) for seed in arguments.seeds]
            rows.append([name, f"{size} of {found[0]['n']:,}", *summary(found)])
            print(rows[-1], flush=True)
    header = [
        "set",
        "rare class",
        "judged",
        "called an issue",
        "wrong labels with it found",
        "of right labels of others",
        "wrong labels found",
    ]
    print(table([*header, "cleanlab: called an issue"], rows))


def measure(
    vectors: NDArray[np.float32],
    classes: NDArray[np.int64],
    size: int,
    seed: int,
    arguments: argparse.Namespace,
) -> dict[str, float]:
    """Counts of one audit; the seed chooses the rare class, too."""
    draw = np.random.default_rng(seed)
    rare = seed % (int(classes.max()) + 1)
    kept = np.concatenate(
        [np.flatnonzero(classes != rare), draw.permutation(np.flatnonzero(classes == rare))[:size]]
    )
    true, found = classes[kept], vectors[kept]
    labels = exchanged(true, rare, arguments.noise, draw)
    right_others = np.flatnonzero((labels == true) & (true != rare))
    labels[draw.choice(right_others, arguments.errors, replace=False)] = rare
    audit = audit_vectors(found, labels.tolist(), seed=seed)
    called = np.nan_to_num(audit.p_wrong) >= ISSUE_AT
    mine, right = true == rare, labels == true
    with_it = (labels == rare) & ~mine
    return {
        "n": len(kept), "size": int(mine.sum()), "judged": int(np.isfinite(audit.p_wrong[mine]).sum()),
        "called": int(called[mine].sum()), "errors": int(with_it.sum()), "errors_found": int(called[with_it].sum()),
        "others": float(called[~mine & right].mean()),
        "found": float(called[~right & ~with_it].mean()),
        "cleanlab": cleanlab_calls(found, labels, mine),
    }  # fmt: skip


def exchanged(
    true: NDArray[np.int64], rare: int, noise: float, draw: np.random.Generator
) -> NDArray[np.int64]:
    """Labels of which a share is that of another image; those of the rare class are right."""
    rows = draw.permutation(np.flatnonzero(true != rare))[: round(noise * len(true))]
    labels = true.copy()
    labels[rows] = true[draw.permutation(rows)]
    same = rows[labels[rows] == true[rows]]
    others = np.array([number for number in np.unique(true) if number != rare])
    for row in same.tolist():
        labels[row] = draw.choice(others[others != true[row]])
    return labels


def cleanlab_calls(vectors: NDArray[np.float32], labels: NDArray[np.int64], mine: NDArray[np.bool_]) -> float:
    """Labels of the rare class that cleanlab calls an issue; NaN without cleanlab."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return float("nan")
    return float(find_label_issues(labels, held_out(vectors, labels), n_jobs=1)[mine].sum())


def summary(found: list[dict[str, float]]) -> list[str]:
    """Sums over the seeds for the rare class, means for the others."""

    def counted(what: str, of: str = "size") -> str:
        n, total = (sum(line[name] for line in found) for name in (what, of))
        return "not installed" if np.isnan(n) else f"{n:.0f} of {total:.0f}"

    shares = [f"{np.mean([line[what] for line in found]):.3f}" for what in ("others", "found")]
    errors = counted("errors_found", "errors")
    return [counted("judged"), counted("called"), errors, *shares, counted("cleanlab")]


if __name__ == "__main__":
    main()
