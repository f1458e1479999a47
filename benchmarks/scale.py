"""Many images through FiftyOne: memory, seconds by phase, size of the database, and opening the panel.

    python -m benchmarks.scale --method deepcluster --images 10000 100000 --clusters 1000
    python -m benchmarks.scale --method ucnn --images 100000 --clusters 1000 --zip cifar10.zip

Writes a few thousand PNG files of 32 x 32 (scikit-learn's digits, or images of ``--zip``), makes a dataset whose
samples refer to them over and over, clusters it in a process of its own for each number of images, with a MongoDB of
its own, and prints a line of JSON. Every sample is decoded, embedded, trained on and written by itself: that the files
repeat spares only the disk. Memory is that of the process and its children, without MongoDB: ``peak_gb`` is the largest
resident set, ``private_gb`` the part of it that is not a mapped file, such as that of the decoded pixels, which the
system can drop. Seconds are wall seconds and, as ``cpu``, those of the process and its children, which count where
other work shares the cores; ``cpu_database`` is MongoDB's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.own_database import own_database

if TYPE_CHECKING:
    import fiftyone as fo

SIDE, FILES = 32, 2_000
_INSERTED_AT_ONCE = 50_000


def main() -> None:
    """One process for each number of images."""
    arguments = _arguments()
    if arguments.child:
        _child(arguments)
        return
    for n in arguments.images:
        with tempfile.TemporaryDirectory(prefix="deepcluster-scale-", dir=arguments.folder) as name:
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scale", *sys.argv[1:]]
            subprocess.run([*command, "--images", str(n), "--folder", name, "--child"], check=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--method", default="deepcluster", choices=["deepcluster", "frozen", "ucnn"])
    parser.add_argument("--clusters", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="JSON values")
    parser.add_argument("--zip", type=Path, help="images for the files; by default scikit-learn's digits")
    parser.add_argument("--folder", type=Path, help="for files and database; by default the system's folder")
    parser.add_argument("--no-brain", action="store_true", help="without the 2-D map and similarity index")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _child(arguments: argparse.Namespace) -> None:
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    os.environ["FIFTYONE_DEEPCLUSTER_CACHE"] = str(arguments.folder / "cache")
    with own_database(arguments.folder) as database:
        try:
            print(json.dumps(measure(arguments, database.pid)), flush=True)
        finally:
            shutil.rmtree(arguments.folder / "cache", ignore_errors=True)


def measure(arguments: argparse.Namespace, database: int) -> dict[str, Any]:
    """Make the dataset, cluster it, and open what came out."""
    import torch

    import fiftyone_deepcluster as fdc

    torch.set_num_threads(arguments.threads)
    n = arguments.images[0]
    dataset = make_dataset(n, write_files(arguments.folder / "files", arguments.zip))
    empty = database_bytes()
    watch = Phases(database)
    with PeakMemory() as memory:
        run = fdc.cluster(
            dataset, arguments.method, "dc", observer=watch, progress=False,
            compute_brain=not arguments.no_brain, **_options(arguments),
        )  # fmt: skip
    watch.phase("", 0)
    return {
        "method": arguments.method,
        "images": n,
        "clusters": run.n_clusters,
        "rounds": len(run.rounds),
        "threads": arguments.threads,
        **watch.table(),
        "peak_gb": round(memory.peak / 2**30, 3),
        "private_gb": round(memory.private / 2**30, 3),
        "start_gb": round(memory.start / 2**30, 3),
        "checkpoint_mb": round(_run_files(dataset) / 2**20, 1),
        "database_mb": round((database_bytes() - empty) / 2**20, 1),
        "dataset_mb": round(empty / 2**20, 1),
        **open_run(dataset.name, database),
        "stop": run.stop_reason.value if run.stop_reason else None,
    }


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    options: dict[str, Any] = {"n_clusters": arguments.clusters, "device": "cpu", "baselines": False}
    if arguments.method != "frozen":
        options |= {"rounds": arguments.rounds}
    if arguments.method == "deepcluster":
        options |= {"epochs": 1, "min_steps": 0, "pseudo_clusters": arguments.clusters}
    for item in arguments.option:
        name, _, value = item.partition("=")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def write_files(folder: Path, archive: Path | None) -> list[str]:
    """Paths of real images, written as PNG files of 32 x 32."""
    import io
    import zipfile

    from PIL import Image

    folder.mkdir()
    if archive is None:
        from sklearn.datasets import load_digits

        images = [Image.fromarray((pixels * 15.9375).astype("uint8")) for pixels in load_digits().images]
    else:
        with zipfile.ZipFile(archive) as file:
            names = [name for name in file.namelist() if name.lower().endswith((".png", ".jpg", ".jpeg"))]
            step = max(1, len(names) // FILES)
            images = [Image.open(io.BytesIO(file.read(name))) for name in names[::step][:FILES]]
    paths = [str(folder / f"{row:05d}.png") for row in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
    return paths


def make_dataset(n: int, paths: list[str]) -> fo.Dataset:
    """A dataset of N samples whose files repeat, inserted as copies of one sample's document."""
    import random

    import fiftyone as fo
    from bson import ObjectId

    dataset = fo.Dataset("scale", persistent=True)
    dataset.add_sample(fo.Sample(filepath=paths[0]))
    collection = dataset._sample_collection
    first = collection.find_one()
    for start in range(1, n, _INSERTED_AT_ONCE):
        documents = [
            {**first, "_id": ObjectId(), "filepath": paths[row % len(paths)], "_rand": random.random()}
            for row in range(start, min(start + _INSERTED_AT_ONCE, n))
        ]
        collection.insert_many(documents, ordered=False)
    return dataset


def database_bytes() -> int:
    """Bytes of MongoDB's files: documents, as compressed, and indexes."""
    import fiftyone as fo

    connection = fo.core.odm.get_db_conn()
    connection.client.admin.command("fsync")
    found = connection.command("dbStats")
    return int(found["storageSize"] + found["indexSize"])


def open_run(name: str, database: int) -> dict[str, dict[str, float]]:
    """Wall seconds, and CPU seconds with MongoDB's, to load the run, list its clusters, and answer the panel."""
    import fiftyone as fo
    from fiftyone.operators.executor import ExecutionContext, Executor

    import fiftyone_deepcluster as fdc
    from fiftyone_deepcluster.app.panels.clusters import ClustersPanel

    watch = Phases(database)
    dataset = fo.load_dataset(name)
    watch.phase("load_run", 0)
    run = fdc.load_run(dataset, "dc")
    watch.phase("clusters", 0)
    infos = run.clusters()
    watch.phase("images of a cluster", 0)
    run.cluster_view(infos[0].name).limit(50).values("filepath")
    page = {"cluster": infos[0].name, "order": "nearest", "offset": 0, "limit": 200}
    for what, event in (
        ("panel", {"__method__": "load"}),
        ("next cluster", {"__method__": "images", **page}),
    ):
        watch.phase(what, 0)
        params = {"panel_id": "scale", "panel_state": {}, "key": "dc", **event}
        ctx = ExecutionContext(request_params={"dataset_name": name, "params": params}, executor=Executor())
        json.dumps(ClustersPanel().execute(ctx))
    watch.phase("", 0)
    found = watch.table()
    cpu = {what: round(took + found["cpu_database"][what], 1) for what, took in found["cpu"].items()}
    return {"open_seconds": found["seconds"], "open_cpu": cpu}


def _run_files(dataset: fo.Dataset) -> int:
    from fiftyone_deepcluster.dataset.runs.run_files import dataset_dir

    return sum(path.stat().st_size for path in dataset_dir(dataset).rglob("*") if path.is_file())


class Phases:
    """Observer that adds up wall and CPU seconds of each phase; the next phase ends one.

    Args:
        database: process id of MongoDB.
    """

    def __init__(self, database: int) -> None:
        import psutil

        self._database = psutil.Process(database)
        self._name, self._last = "read samples", self._now()
        self._found: dict[str, list[float]] = {}

    def phase(self, name: str, total: int) -> None:
        """End the last phase."""
        now = self._now()
        sums = self._found.setdefault(self._name, [0.0, 0.0, 0.0])
        self._found[self._name] = [a + b - c for a, b, c in zip(sums, now, self._last, strict=True)]
        self._name, self._last = name, now

    def advance(self, steps: int) -> None:
        """Do nothing."""

    def round_done(self, entry: object, rounds: int) -> None:
        """Time up to the next phase goes to checkpoints and metrics."""
        self.phase("checkpoint", 0)

    def cancelled(self) -> bool:
        """Return False."""
        return False

    def table(self) -> dict[str, dict[str, float]]:
        """Seconds by phase: wall, cpu, and MongoDB's."""
        kinds = ("seconds", "cpu", "cpu_database")
        return {
            kind: {name: round(values[place], 1) for name, values in self._found.items()}
            for place, kind in enumerate(kinds)
        }

    def _now(self) -> tuple[float, float, float]:
        mine, theirs = os.times(), self._database.cpu_times()
        used = mine.user + mine.system + mine.children_user + mine.children_system
        return time.perf_counter(), used, theirs.user + theirs.system


class PeakMemory:
    """Largest resident set of this process and its children while the block runs, looked at every 0.1 seconds.

    Attributes:
        start: bytes at the start of the block.
        peak: largest number of bytes.
        private: largest number of bytes that are not pages of files.
    """

    def __init__(self) -> None:
        self.start = self.peak = self.private = 0
        self._over = threading.Event()

    def __enter__(self) -> PeakMemory:
        self._look()
        self.start = self.peak
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self._look()

    def _look(self) -> None:
        import psutil

        me = psutil.Process()
        resident = private = 0
        for process in (me, *(child for child in me.children(recursive=True))):
            try:
                if process.name() == "mongod":
                    continue
                found = process.memory_info()
            except psutil.NoSuchProcess:
                continue
            resident += found.rss
            private += found.rss - found.shared
        self.peak, self.private = max(self.peak, resident), max(self.private, private)


if __name__ == "__main__":
    main()
