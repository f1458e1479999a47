"""Open the App on a dataset and stay until Ctrl-C.

``fo.launch_app`` alone starts its server and gives it ten seconds, less than two cold starts of the
interpreter may take; the session is then not connected for a while. Here the server is started first and
waited for; ``launch_app`` attaches to it at once.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from fiftyone_deepcluster.errors import DeepClusterError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import fiftyone as fo

ADDRESS = "127.0.0.1"  # the server hands out any file this user may read: never to the network
_START_SECONDS = 180
_PORTS_TRIED = 20


class AppError(DeepClusterError):
    """The App's server did not start."""


def open_app(name: str, port: int | None = None) -> None:
    """Serve the dataset ``name`` in the App until Ctrl-C: with its clusters beside the grid, where it has any.

    Args:
        name: of a FiftyOne dataset.
        port: of the server; by default FiftyOne's own, or the next one that is free.

    Raises:
        InputError: there is no such dataset.
        AppError: the server did not start.
    """
    import fiftyone as fo

    if name not in fo.list_datasets():
        raise InputError(f"there is no dataset {name!r}; `fiftyone datasets list` shows them")
    chosen = port or free_port(fo.config.default_app_port)
    with serving(chosen):
        dataset = fo.load_dataset(name)
        session = fo.launch_app(dataset, address=ADDRESS, port=chosen, spaces=_layout(dataset))
        with suppress(KeyboardInterrupt):  # how a person ends it: no failure
            session.wait(-1)


def _layout(dataset: fo.Dataset) -> fo.Space | None:
    """The Clusters panel where it has something to show and FiftyOne knows it; else the App's own layout."""
    import fiftyone.plugins as fop

    from fiftyone_deepcluster.cli.plugin import PLUGIN_NAME
    from fiftyone_deepcluster.dataset.display.workspace import clusters_beside_the_grid
    from fiftyone_deepcluster.dataset.runs.run import finished_runs

    known = PLUGIN_NAME in {plugin.name for plugin in fop.list_plugins()}
    return clusters_beside_the_grid() if known and finished_runs(dataset) else None


@contextmanager
def serving(port: int) -> Iterator[str]:
    """The App's server as a process of its own; gives its address once it answers.

    Raises:
        AppError: it ended, or did not answer in time.
    """
    # an operator may only be scheduled for `fiftyone-deepcluster worker` where this is set
    environment = {**os.environ, "FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS": "true"}
    words = [sys.executable, "-m", "fiftyone.server.main", "--port", str(port), "--address", ADDRESS]
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment)  # noqa: S603 - fixed words
    try:
        url = f"http://{ADDRESS}:{port}"
        _wait_until_it_answers(server, f"{url}/fiftyone")
        yield url
    finally:
        server.terminate()
        server.wait()


def free_port(first: int) -> int:
    """The first port from ``first`` on that nobody listens on.

    Raises:
        AppError: there is none near.
    """
    for port in range(first, first + _PORTS_TRIED):
        with socket.socket() as probe:
            if probe.connect_ex((ADDRESS, port)) != 0:
                return port
    raise AppError(f"ports {first} to {first + _PORTS_TRIED - 1} are taken; name another with --port")


def _wait_until_it_answers(server: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise AppError(
                f"the App's server ended with exit status {server.returncode}; its reason is above"
            )
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AppError(f"the App's server did not answer at {url} within {_START_SECONDS} s")
