"""How memory grows with the number of images.

    python -m benchmarks.memory [--few 10000 --many 100000 --method deepcluster --rounds 1]

PNG files of 32 x 32 are clustered in a process of their own for each number of images, with the same options;
the peak of the resident set is read when it ends. The limit: less than 1.5 GB of growth from 10,000 to 100,000.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.report import table

LIMIT_GB = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--method", default="deepcluster")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder is not None:
        child(arguments)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, arguments.many)
        found = [peak(folder, n, arguments) for n in (arguments.few, arguments.many)]
    counts = (arguments.few, arguments.many)
    rows = [
        [n, f"{line['peak_gb']:.2f}", f"{line['seconds']:.0f}"] for n, line in zip(counts, found, strict=True)
    ]
    print(table(["images of 32 x 32", "peak resident set, GB", "seconds of the loop"], rows))
    growth = found[1]["peak_gb"] - found[0]["peak_gb"]
    print(
        f"{arguments.method}, {arguments.rounds} round(s): growth {growth:.2f} GB, {growth / LIMIT_GB:.2f} of the limit"
    )


def write_images(folder: Path, n: int) -> None:
    """Ten kinds of noisy stripes, a thousand files a folder."""
    from PIL import Image

    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (10, 32, 1), dtype=np.uint8)
    for row in range(n):
        place = folder / f"{row // 1000:04d}"
        if row % 1000 == 0:
            place.mkdir()
        pixels = base[row % 10] ^ rng.integers(0, 32, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{row:06d}.png", compress_level=1)


def peak(folder: Path, n: int, arguments: argparse.Namespace) -> dict[str, float]:
    """The same fit over the first ``n`` files, in a fresh process."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.memory",
        "--folder",
        str(folder),
        "--many",
        str(n),
    ]
    command += ["--method", arguments.method, "--rounds", str(arguments.rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def child(arguments: argparse.Namespace) -> None:
    """Cluster, and print the peak."""
    from fiftyone_deepcluster.api.fit import fit
    from fiftyone_deepcluster.methods.base import parse_options

    paths = sorted(str(path) for path in arguments.folder.rglob("*.png"))[: arguments.many]
    options = parse_options(
        arguments.method, {"rounds": arguments.rounds, "n_clusters": 10, "baselines": False}
    )
    result = fit(paths, options)
    seconds = sum(sum(entry.seconds.values()) for entry in result.record.rounds)
    print(
        json.dumps(
            {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "seconds": seconds}
        )
    )


if __name__ == "__main__":
    main()
