"""Time and memory of a label audit of many vectors, and of a held-out logistic regression of the same vectors.

    python -m benchmarks.audit_large --images 100000 --classes 10
    python -m benchmarks.audit_large --images 20000 --classes 1000 --alone

Vectors of 512 dimensions lie in 30 clusters for each class; 8 % of the labels are wrong. What we compare with is what
cleanlab asks for: scikit-learn's logistic regression in five folds, with the audit's own scaling and penalty, and
cleanlab's self-confidence where it is installed. Give seconds only with what else ran on the machine; the CPU seconds
are those of all threads of the process.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks.audit import held_out
from benchmarks.report import table
from fiftyone_deepcluster.analysis.label_audit.audit import audit_vectors
from fiftyone_deepcluster.core.progress import Silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLUSTERS, INNER = 30, 32
"""Clusters of each class, and dimensions in which they differ."""


def main() -> None:
    """Print a table of phases, and a line for each method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--dims", type=int, default=512)
    parser.add_argument("--noise", type=float, default=0.08, help="share of wrong labels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="only the audit")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        print(table(["what", "wall s", "CPU s", "peak GB", "AUROC", "AP"], measured(arguments)))


def measured(arguments: argparse.Namespace) -> list[list[str]]:
    """Rows of the table."""
    vectors, labels, wrong = clustered(arguments)
    rows = [["vectors made", "", "", peak_gb(), "", ""]]
    clock = Phases()
    started = now()
    audit = audit_vectors(vectors, labels.tolist(), observer=clock)
    whole = spent(started)
    rows += [[f"  {name}", *seconds, "", "", ""] for name, seconds in clock.finished()]
    rows.insert(1, ["audit", *whole, peak_gb(), *quality(wrong, np.nan_to_num(audit.p_wrong))])
    if not arguments.alone:
        started = now()
        probabilities = held_out(vectors, labels)
        fitted = spent(started)
        own = probabilities[np.arange(len(labels)), labels]
        name, suspicion = "1 - probability of the label", 1 - own
        try:
            from cleanlab.rank import get_label_quality_scores
        except ImportError:
            pass
        else:
            name, suspicion = (
                "cleanlab, self-confidence",
                1 - get_label_quality_scores(labels, probabilities),
            )
        rows.append(
            [f"logistic regression in 5 folds: {name}", *fitted, peak_gb(), *quality(wrong, suspicion)]
        )
    return rows


def clustered(
    arguments: argparse.Namespace,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Vectors, labels, and which labels are wrong."""
    draw = np.random.default_rng(arguments.seed)
    n, k, width = arguments.images, arguments.classes, arguments.dims
    means = draw.normal(size=(CLUSTERS * k, INNER)).astype(np.float32)
    classes = draw.integers(k, size=n)
    inner = means[classes * CLUSTERS + draw.integers(CLUSTERS, size=n)]
    inner += 0.6 * draw.standard_normal(size=inner.shape, dtype=np.float32)
    vectors = inner @ draw.standard_normal(size=(INNER, width), dtype=np.float32) / 6
    vectors += 0.3 * draw.standard_normal(size=(n, width), dtype=np.float32)
    wrong = draw.random(n) < arguments.noise
    labels = np.where(wrong, (classes + draw.integers(1, k, size=n)) % k, classes)
    return vectors, labels, wrong


class Phases(Silent):
    """Observer that notes the time between two of its calls."""

    def __init__(self) -> None:
        self._since: tuple[float, float] = now()
        self._name = "vectors scaled"
        self._found: dict[str, tuple[float, float]] = {}

    def phase(self, name: str, total: int) -> None:
        """Another phase begins."""
        self._end()
        self._name = name

    def advance(self, steps: int) -> None:
        """A step of a phase ends."""
        self._end()

    def finished(self) -> list[tuple[str, list[str]]]:
        """Phases with their wall and CPU seconds."""
        self._end()
        return [(name, [f"{part:.1f}" for part in seconds]) for name, seconds in self._found.items()]

    def _end(self) -> None:
        before, later = self._found.get(self._name, (0.0, 0.0)), now()
        spans = (later[0] - self._since[0], later[1] - self._since[1])
        self._found[self._name] = before[0] + spans[0], before[1] + spans[1]
        self._since = now()


def now() -> tuple[float, float]:
    """Wall and CPU seconds."""
    return time.perf_counter(), time.process_time()


def spent(since: tuple[float, float]) -> list[str]:
    """Wall and CPU seconds since then."""
    return [f"{later - earlier:.1f}" for later, earlier in zip(now(), since, strict=True)]


def peak_gb() -> str:
    """Peak of the resident set so far."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}"


def quality(wrong: NDArray[np.bool_], suspicion: NDArray[np.floating]) -> list[str]:
    """AUROC and average precision."""
    return [f"{score(wrong, suspicion):.3f}" for score in (roc_auc_score, average_precision_score)]


if __name__ == "__main__":
    main()
