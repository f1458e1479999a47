"""Seconds and objective of k-means: this package, faiss and scikit-learn on the same vectors.

``python -m benchmarks.kmeans [--n 100000] [--d 256] [--k 1000] [--iterations 20] [--threads 2] [--data ...]``
draws N vectors (``mixture``: overlapping Gaussians; ``spectrum``: the same with falling variances, as features
have; ``noise``: one Gaussian, nothing to find), clusters them with every implementation, and prints wall and
processor seconds from vectors to labels, and the objective of those labels, both over faiss'. Ratios above 1 are
faster, objectives below 1 better. Processor seconds are the fairer ones on a machine with other work.
"""

from __future__ import annotations

import argparse
import os
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


def main() -> None:
    """Print one table for each kind of data."""
    args = _arguments()
    # Before the libraries are loaded, which read it once.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(args.threads)
    import torch

    torch.set_num_threads(args.threads)
    packages = ("torch", "numpy", "faiss-gpu", "faiss-cpu", "scikit-learn")
    print(f"n={args.n} d={args.d} k={args.k} iterations={args.iterations} threads={args.threads}")
    print(", ".join(f"{name} {_version(name)}" for name in packages if _version(name)))
    for kind in args.data:
        vectors = draw(kind, args.n, args.d, args.k)
        rows = compare(vectors, args)
        header = (
            "vectors: " + kind,
            "wall s",
            "cpu s",
            "faster, wall",
            "faster, cpu",
            "objective",
            "iterations",
        )
        print("\n" + table(header, rows), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--d", type=int, default=256)
    parser.add_argument("--k", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1, help="the fastest counts")
    parser.add_argument("--data", nargs="+", default=["mixture", "spectrum", "noise"])
    parser.add_argument("--without", nargs="*", default=[], help="implementations to leave out")
    return parser.parse_args()


def _version(package: str) -> str:
    try:
        return version(package)
    except ImportError:
        return ""


def draw(kind: str, n: int, d: int, k: int) -> np.ndarray:
    """(n, d) float32 vectors; the same in every run."""
    import numpy as np

    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((n, d), dtype=np.float32)
    if kind != "noise":
        middles = 0.5 * generator.standard_normal((k, d), dtype=np.float32)
        vectors += middles[generator.integers(0, k, n)]
    if kind == "spectrum":
        vectors /= np.sqrt(1 + np.arange(d, dtype=np.float32))
    return vectors


def compare(vectors: np.ndarray, args: argparse.Namespace) -> list[list[object]]:
    """A row for each implementation; faiss first, with which the others are compared."""
    rows: list[list[object]] = []
    base: tuple[float, float, float] | None = None
    for name, run in _implementations(args).items():
        if name in args.without:
            continue
        wall, cpu, (labels, iterations) = _fastest(lambda run=run: run(vectors), args.repeats)
        objective = _objective(vectors, labels)
        base = base or (wall, cpu, objective)
        ratios = [f"{base[0] / wall:.2f}", f"{base[1] / cpu:.2f}", f"{objective / base[2]:.4f}"]
        rows.append([name, f"{wall:.1f}", f"{cpu:.1f}", *ratios, iterations])
    return rows


def _fastest(run: Callable[[], Any], repeats: int) -> tuple[float, float, Any]:
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        result = run()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus), result


def _objective(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Sum of squared distances to the means of the labels' clusters: the same rule for all."""
    import torch

    from fiftyone_deepcluster.clusterers.distances import means

    found, points = torch.from_numpy(labels), torch.from_numpy(vectors)
    centers = means(points, found, int(found.max()) + 1)
    parts = (slice(begin, begin + 10_000) for begin in range(0, len(points), 10_000))
    return sum(
        float((points[rows] - centers[found[rows]]).square().sum(dtype=torch.float64)) for rows in parts
    )


def _implementations(args: argparse.Namespace) -> dict[str, Callable[[np.ndarray], tuple[Any, int]]]:
    from sklearn.cluster import KMeans as Sklearn
    from sklearn.cluster import MiniBatchKMeans

    k, iterations = args.k, args.iterations
    return {
        "faiss.Kmeans": lambda vectors: _faiss(vectors, k, iterations),
        "ours, auto": lambda vectors: _ours(vectors, k, iterations),
        "ours, torch, all iterations": lambda vectors: _ours(vectors, k, iterations, tolerance=0),
        "ours, torch, random start": lambda vectors: _ours(
            vectors, k, iterations, tolerance=0, init="sample"
        ),
        "ours, faiss": lambda vectors: _ours(vectors, k, iterations, backend="faiss"),
        "scikit-learn KMeans": lambda vectors: _sklearn(
            Sklearn(k, n_init=1, max_iter=iterations, random_state=0, init="random"), vectors
        ),
        "scikit-learn MiniBatchKMeans": lambda vectors: _sklearn(
            MiniBatchKMeans(k, n_init=1, batch_size=10 * k, random_state=0), vectors
        ),
    }


def _faiss(vectors: np.ndarray, k: int, iterations: int) -> tuple[Any, int]:
    import faiss

    kmeans = faiss.Kmeans(
        vectors.shape[1], k, niter=iterations, seed=0, max_points_per_centroid=len(vectors) // k + 1
    )
    kmeans.train(vectors)
    return kmeans.index.search(vectors, 1)[1][:, 0], iterations


def _ours(vectors: np.ndarray, k: int, iterations: int, **options: object) -> tuple[Any, int]:
    import torch

    from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest

    part = CLUSTERERS.parse({"name": "kmeans", "max_iter": iterations, **options})
    found = part.cluster(torch.from_numpy(vectors), ClusterRequest(k))
    return found.labels.numpy(), int(found.scores["n_iter"])


def _sklearn(model: Any, vectors: np.ndarray) -> tuple[Any, int]:
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # As many iterations as the others is what is asked.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = model.fit(vectors).labels_
    return labels.astype("int64"), int(model.n_iter_)


if __name__ == "__main__":
    main()
