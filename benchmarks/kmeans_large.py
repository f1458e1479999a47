"""Seconds and memory of an iteration of k-means with many clusters: this package and faiss from the same centers.

    python -m benchmarks.kmeans_large --n 1000000 --k 10000 --iterations 1
    python -m benchmarks.kmeans_large --n 100000 --k 1000 --iterations 20

Prints one line for each iteration: seconds, the share of the N x K distances that was computed (bounds exclude the
others, see ``clusterers/kmeans/bounds.py``), and the share of vectors that changed their cluster; then the same number
of iterations by faiss. The vectors are overlapping Gaussians with falling variances (``spectrum`` of
``benchmarks.kmeans``).
"""

from __future__ import annotations

import argparse
import os
import resource
import time

from benchmarks.report import table


def main() -> None:
    """Print the iterations of both."""
    arguments = _arguments()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(arguments.threads)
    import torch

    from benchmarks.kmeans import draw
    from fiftyone_deepcluster.clusterers.kmeans.seeding import first_centers

    torch.set_num_threads(arguments.threads)
    vectors = torch.from_numpy(draw("spectrum", arguments.n, arguments.d, arguments.k))
    print(
        f"n={arguments.n} d={arguments.d} k={arguments.k} threads={arguments.threads}, {_peak()} with the vectors"
    )
    began, cpu = time.perf_counter(), time.process_time()
    centers = first_centers(vectors, arguments.k, "kmeans++", seed=0)
    print(
        f"first centers {time.perf_counter() - began:.1f} s, cpu {time.process_time() - cpu:.1f} s",
        flush=True,
    )
    mine = _ours(vectors, centers, arguments.iterations)
    print(table(("iteration", "wall s", "cpu s", "distances computed", "changed"), mine))
    print(f"peak {_peak()}", flush=True)
    if not arguments.no_faiss:
        seconds = _faiss(vectors, centers, arguments.iterations)
        ours = sum(float(row[2]) for row in mine)
        print(
            f"faiss: {seconds[0]:.1f} s, cpu {seconds[1]:.1f} s; faiss / ours, cpu: {seconds[1] / ours:.2f}; "
            f"peak {_peak()}"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--d", type=int, default=256)
    parser.add_argument("--k", type=int, default=10_000)
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-faiss", action="store_true")
    return parser.parse_args()


def _ours(vectors, centers, iterations: int) -> list[list[object]]:
    """Lloyd's iterations as in ``clusterers.kmeans.lloyd``, each timed."""
    import torch

    from fiftyone_deepcluster.clusterers.distances import sums
    from fiftyone_deepcluster.clusterers.kmeans.bounds import Assigner
    from fiftyone_deepcluster.clusterers.kmeans.lloyd import split_for_empty

    generator = torch.Generator().manual_seed(0)
    assigner, last, rows = Assigner(vectors, centers.mean(dim=0)), None, []
    for iteration in range(iterations):
        wall, cpu = time.perf_counter(), time.process_time()
        labels = assigner.assign(centers)
        counts = torch.bincount(labels, minlength=len(centers))
        centers = sums(vectors, labels, len(centers)) / counts.clamp_min(1)[:, None]
        split_for_empty(centers, counts, generator)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        changed = 1.0 if last is None else float((labels != last).float().mean())
        rows.append(
            [iteration + 1, f"{wall:.1f}", f"{cpu:.1f}", f"{assigner.measured:.2f}", f"{changed:.4f}"]
        )
        last = labels
    return rows


def _faiss(vectors, centers, iterations: int) -> tuple[float, float]:
    import faiss

    n, d = vectors.shape
    kmeans = faiss.Kmeans(
        d, len(centers), niter=iterations, seed=0, max_points_per_centroid=n // len(centers) + 1
    )
    wall, cpu = time.perf_counter(), time.process_time()
    kmeans.train(vectors.numpy(), init_centroids=centers.numpy())
    return time.perf_counter() - wall, time.process_time() - cpu


def _peak() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB"


if __name__ == "__main__":
    main()
