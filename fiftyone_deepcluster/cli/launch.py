"""Open a dataset in the App and block until Ctrl-C.

``fo.launch_app`` starts its server with a timeout of ten seconds, which two cold starts of the interpreter may
exceed; the session is then not connected for a while. Here the server is started and waited for first, so that
``launch_app`` connects to it immediately.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from fiftyone_deepcluster.cli.ending import interrupted_by_signals
from fiftyone_deepcluster.core.environment import Need, child_environment
from fiftyone_deepcluster.errors import DeepClusterError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import fiftyone as fo

ADDRESS = "127.0.0.1"  # the server serves any file that the user can read: do not expose it to the network
_START_SECONDS = 180
_STOP_SECONDS = 5
_AGAIN_SECONDS = 20  # above _STOP_SECONDS: by then the server has ended, unless the interrupt was caught
_PORTS_TRIED = 20


class AppError(DeepClusterError):
    """The App's server did not start."""


def open_app(name: str, port: int | None = None) -> None:
    """Serve the dataset ``name`` in the App; show its clusters beside the grid, if it has any.

    It ends with Ctrl-C, SIGTERM, or its terminal.

    Args:
        name: name of a FiftyOne dataset.
        port: port of the server; by default FiftyOne's default port, or the next free one.

    Raises:
        InputError: the dataset does not exist.
        AppError: the server did not start.
    """
    import fiftyone as fo

    if name not in fo.list_datasets():
        raise InputError(f"there is no dataset {name!r}; list existing ones with `fiftyone datasets list`")
    chosen = port or free_port(fo.config.default_app_port)
    with interrupted_by_signals(_AGAIN_SECONDS), serving(chosen):
        dataset = fo.load_dataset(name)
        session = fo.launch_app(dataset, address=ADDRESS, port=chosen, spaces=_layout(dataset))
        with suppress(KeyboardInterrupt):  # the regular way to stop the App
            session.wait(-1)


def _layout(dataset: fo.Dataset) -> fo.Space | None:
    """Layout with the Clusters panel if the dataset has runs and the plugin is registered; else None."""
    import fiftyone.plugins as fop

    from fiftyone_deepcluster.cli.plugin import PLUGIN_NAME
    from fiftyone_deepcluster.dataset.display.workspace import clusters_beside_the_grid
    from fiftyone_deepcluster.dataset.runs.run import finished_runs

    known = PLUGIN_NAME in {plugin.name for plugin in fop.list_plugins()}
    return clusters_beside_the_grid() if known and finished_runs(dataset) else None


@contextmanager
def serving(port: int) -> Iterator[str]:
    """Run the App's server in a subprocess; yield its URL once it listens.

    Raises:
        AppError: the server exited, or did not start in time.
    """
    # required to schedule operators for `fiftyone-deepcluster worker`; operators run and train in the server
    environment = child_environment(*Need) | {"FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS": "true"}
    words = [sys.executable, "-m", "fiftyone.server.main", "--port", str(port), "--address", ADDRESS]
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment)  # noqa: S603 - fixed arguments
    try:
        _wait_until_it_listens(server, port)
        yield f"http://{ADDRESS}:{port}"
    finally:
        _stop(server)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server, whose own end waits for open connections from Python 3.12 on, such as that of the session."""
    server.terminate()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    except BaseException:  # a second signal while it ends
        server.kill()
        raise


def free_port(first: int) -> int:
    """First free port of this machine from ``first`` on.

    Raises:
        AppError: no free port in the range.
    """
    for port in range(first, first + _PORTS_TRIED):
        with suppress(OSError), socket.create_server((ADDRESS, port)):
            return port
    raise AppError(f"ports {first} to {first + _PORTS_TRIED - 1} are in use; choose another with --port")


def _wait_until_it_listens(server: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise AppError(f"the App's server exited with status {server.returncode}; see its output above")
        if port in _listened_ports(server.pid):
            return
        time.sleep(0.2)
    raise AppError(f"the App's server did not listen on port {port} within {_START_SECONDS} s")


def _listened_ports(pid: int) -> set[int]:
    """TCP ports on which a process or its children listen; on Windows, a virtual environment's Python is a child."""
    import psutil

    ports: set[int] = set()
    with suppress(psutil.Error):  # a process that has just ended
        process = psutil.Process(pid)
        for one in (process, *process.children()):
            connections = one.net_connections(kind="tcp")
            ports |= {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
    return ports
