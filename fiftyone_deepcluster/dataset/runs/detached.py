"""A Python process that outlives the process that starts it, and keeps FiftyOne's database up meanwhile.

The App's server ends all its descendants when it is stopped. So the process is started by an intermediate one, which
exits at once: it is then no descendant of the server. FiftyOne stops a database that it started when the last
registered client ends, so the process is registered as a client of that database before its parent can end.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from fiftyone_deepcluster.core.environment import Need, child_environment
from fiftyone_deepcluster.errors import RunError

logger = logging.getLogger(__name__)

_START_SECONDS = 120
_PORT = "FIFTYONE_PRIVATE_DATABASE_PORT"
"""Variable with the port of a database that FiftyOne started."""
_DATABASE_SERVICE = ["--51-service", "db", "--multi"]
_START = """
import subprocess, sys
flags = getattr(subprocess, "DETACHED_PROCESS", 0)
process = subprocess.Popen(sys.argv[1:], stdout=2, start_new_session=True, creationflags=flags)
print(process.pid)
"""


def start_detached(code: str, text: str, log: Path) -> int:
    """Start Python in a session of its own.

    Args:
        code: Python code to execute; finds the same packages as this process.
        text: standard input of the process.
        log: file for its output, replaced; output is lost where it cannot be written.

    Returns:
        Id of the process.

    Raises:
        RunError: it could not be started.
    """
    search = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); {code}"
    words = [sys.executable, "-c", search, json.dumps(sys.path)]
    with tempfile.TemporaryFile() as given, _output(log) as output:
        given.write(text.encode())
        given.seek(0)
        try:
            started = subprocess.run(  # noqa: S603 - this very interpreter
                [sys.executable, "-I", "-S", "-c", _START, *words],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=output,
                env=child_environment(*Need) | _same_database(),
                timeout=_START_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise RunError(
                f"no process could be started for the run ({error}); free memory, or run it from Python with "
                "fiftyone_deepcluster.cluster"
            ) from error
    pid = int(started.stdout)
    _keep_database_for(pid)
    return pid


def _same_database() -> dict[str, str]:
    """Variables for the database and folders of this process, also where they were chosen in Python."""
    import fiftyone as fo

    chosen = {
        "FIFTYONE_DATABASE_URI": fo.config.database_uri,
        "FIFTYONE_DATABASE_NAME": fo.config.database_name,
        "FIFTYONE_DATABASE_DIR": fo.config.database_dir,
        "FIFTYONE_DEFAULT_DATASET_DIR": fo.config.default_dataset_dir,
    }
    return {name: str(value) for name, value in chosen.items() if value}


def _output(log: Path) -> IO[bytes]:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("wb")
    except OSError as error:
        logger.warning("the output of the run is lost, since %s cannot be written: %s", log, error)
        return Path(os.devnull).open("wb")


def _keep_database_for(pid: int) -> None:
    """Register a process as a client of the database that FiftyOne started, if it started one."""
    import fiftyone as fo

    port = os.environ.get(_PORT)
    if port is None or fo.config.database_uri is not None:
        return
    from fiftyone.service import util

    for service in util.find_processes_by_args(_DATABASE_SERVICE):
        with suppress(Exception):  # a process of another user, or one that has just ended
            if _serves(service, int(port)):
                util.send_ipc_message(service, ("register", pid))
                return
    logger.warning("the database on port %s may end before the run does: its service does not answer", port)


def _serves(service: object, port: int) -> bool:
    from fiftyone.service import util

    children = service.children(recursive=True)  # type: ignore[attr-defined]
    return any(port in util.get_listening_tcp_ports(child) for child in children)
