"""Many runs in one process: resident memory, open files and threads must not grow.

Each run clusters a few digits, is loaded, reviewed and deleted.

    make bench NAME=soak ARGS="--runs 50"
"""

from __future__ import annotations

import argparse
import gc
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import fiftyone_deepcluster as fdc

OPTIONS: dict[str, Any] = {"n_clusters": 4, "rounds": 2, "image_size": 16, "batch_size": 64, "device": "cpu"}


def process_size() -> dict[str, int]:
    """Resident memory in MB, open files, and threads of this process, of Python and of the system."""
    status = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line
    )
    return {
        "MB": int(status["VmRSS"].split()[0]) // 1024,
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "system threads": int(status["Threads"]),
    }


def one_run(dataset: Any, key: str, method: str, **more: Any) -> None:
    """Cluster, read and delete; ``more`` are further arguments of ``cluster``."""
    options = {**(OPTIONS if method == "deepcluster" else {"n_clusters": 4}), **more}
    run = fdc.cluster(dataset, method, key, truth_field="ground_truth", progress=False, **options)
    run.clusters(exemplars="random")
    fdc.review(dataset, key).rename(run.names()[0], "renamed")
    fdc.retrieval_score(dataset, key, "ground_truth", max_queries=20)
    if method == "deepcluster":
        fdc.probe(dataset, key, "ground_truth", layers="conv1", max_images=60)
    fdc.delete_run(dataset, key)


def objects() -> Counter[str]:
    """Number of live objects of every type."""
    gc.collect()
    return Counter(f"{type(item).__module__}.{type(item).__qualname__}" for item in gc.get_objects())


def digits_dataset(n: int) -> Any:
    """A new dataset of digits."""
    import tempfile

    import fiftyone as fo
    from PIL import Image
    from sklearn.datasets import load_digits

    folder, data = Path(tempfile.mkdtemp(prefix="soak-")), load_digits()
    dataset = fo.Dataset()
    samples = []
    for row in range(n):
        path = folder / f"{row}.png"
        Image.fromarray((data.images[row] * 15.9).astype("uint8")).save(path)
        samples.append(
            fo.Sample(filepath=str(path), ground_truth=fo.Classification(label=str(data.target[row])))
        )
    dataset.add_samples(samples, progress=False)
    return dataset


def main() -> None:
    """Print the sizes after every ten runs, and what grew between the second and the last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--method", default="deepcluster", choices=["deepcluster", "frozen"])
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--bare", action="store_true", help="without brain runs and baselines")
    given = parser.parse_args()
    dataset = digits_dataset(given.images)
    before: Counter[str] = Counter()
    for number in range(1, given.runs + 1):
        one_run(dataset, f"run{number}", given.method, compute_brain=not given.bare, baselines=not given.bare)
        if number == 2:
            before = objects()
        if number in (1, 2) or number % given.every == 0:
            print(
                f"after {number:>3} runs: ",
                ", ".join(f"{value} {name}" for name, value in process_size().items()),
            )
    grown = objects() - before
    print("objects that grew since run 2:", dict(grown.most_common(15)))
    dataset.delete()


if __name__ == "__main__":
    main()
