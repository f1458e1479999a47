"""Fixtures: the plugin linked into the plugins folder, an App server, a browser, a clustered dataset."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fiftyone_deepcluster.cli.doctor import find_chromium
from tests.app.limits import LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import fiftyone as fo
    import fiftyone.operators as foo
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # the App requests fonts from Google: nothing but this machine is found. Routes of Playwright would ask Python about
    # every request, and load the App without a cache
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]

# FiftyOne's loading animation goes on, hidden, after the grid is drawn: without a GPU it takes a third of a core
STILL = """
const sheet = new CSSStyleSheet();
const parts = ["", "::before", "::after"].map((part) => `[class*="_fallingPixels_"]${part}`);
sheet.replaceSync(`${parts} { animation: none !important; }`);
document.adoptedStyleSheets = [sheet];
"""

# the panel's messages, in order: each is gone after a few seconds, in which a busy machine may not look at the page
MESSAGES = """
window.messagesOfThePanel = [];
const noted = new WeakMap();
const note = () => {
  for (const shown of [...document.querySelectorAll('[data-cy="dc-message"]')].reverse()) { // the newest is the first
    if (noted.get(shown) !== shown.textContent) window.messagesOfThePanel.push(shown.textContent);
    noted.set(shown, shown.textContent);
  }
};
new MutationObserver(note).observe(document, { childList: true, subtree: true, characterData: true });
"""


@pytest.fixture(scope="session")
def plugin(fiftyone_home: Any) -> Path:
    """The repository, linked into FiftyOne's plugins folder."""
    link = fiftyone_home.plugins / "clustering"
    if not link.exists():
        link.symlink_to(ROOT)
    return link


@pytest.fixture
def make_context(plugin: Path) -> Callable[..., foo.ExecutionContext]:
    """Function of dataset and params that returns a real execution context, as created for App requests."""
    import fiftyone.operators as foo
    from fiftyone.operators.executor import ExecutionContext, Executor

    def make(dataset: fo.Dataset, params: dict[str, Any] | None = None, **request: Any) -> ExecutionContext:
        return ExecutionContext(
            request_params={"dataset_name": dataset.name, "params": params or {}, **request},
            executor=Executor(),
        )

    assert foo.registry.OperatorRegistry().list_errors() == []
    return make


class Asker:
    """Sends events to the Clusters panel as its React component does."""

    def __init__(self, make_context: Callable[..., foo.ExecutionContext], dataset: fo.Dataset) -> None:
        self.make_context, self.dataset = make_context, dataset
        self.calls: dict[str, dict[str, Any]] = {}

    def send(self, event: str, **params: Any) -> dict[str, Any] | None:
        """The whole answer: ``{"value": ...}`` or ``{"message": ...}``; notes what the App is asked to do."""
        from fiftyone_deepcluster.app.panels.clusters import ClustersPanel

        self.dataset.reload()
        given = {"panel_id": "p", "panel_state": {}, "__method__": event, **params}
        ctx = self.make_context(self.dataset, given)
        answer = ClustersPanel().execute(ctx)
        requests = ctx.executor.to_json()["requests"]
        json.dumps([requests, answer], allow_nan=False)
        self.calls = {item["operator_uri"]: item["params"] for item in requests}
        return answer

    def __call__(self, event: str, **params: Any) -> Any:
        """The value of the answer."""
        answer = self.send(event, **params)
        assert answer is not None
        assert "value" in answer, answer
        return answer["value"]


@pytest.fixture
def asker(make_context: Callable[..., foo.ExecutionContext]) -> Callable[[fo.Dataset], Asker]:
    """Function of a dataset that returns its ``Asker``."""
    return lambda dataset: Asker(make_context, dataset)


# ---------------------------------------------------------------- server and browser


@pytest.fixture(scope="session")
def app_url(plugin: Path, fiftyone_home: Any) -> Iterator[str]:
    """Address of FiftyOne's server, started in a subprocess."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = fiftyone_home.root / "server.log"
    command = [sys.executable, "-m", "fiftyone.server.main", "--port", str(port), "--address", "127.0.0.1"]
    with log.open("wb") as out:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=fiftyone_home.root,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        _wait_for_server(port, server, log)
        yield f"http://localhost:{port}"
    finally:
        server.kill()  # terminate() would wait for responses that are still being streamed
        server.wait(30)


def _wait_for_server(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    import time

    end = time.monotonic() + LONG / 1000
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/fiftyone", timeout=2) as answer:
                json.load(answer)
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"FiftyOne's server did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium: the system's, else Playwright's.

    Module scope: while it is open, Playwright runs an event loop in this thread, where FiftyOne's
    ``execute_operator`` returns a task instead of the result.
    """
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=BROWSER_FLAGS)
        except Error as error:
            pytest.fail(
                "the tests of the App need Chromium; install it with `playwright install --with-deps chromium` "
                f"or `apt-get install chromium`: {error}"
            )
        yield browser
        browser.close()


@pytest.fixture
def open_app(browser: Browser, app_url: str) -> Iterator[Callable[..., Page]]:
    """Function of a dataset (and optionally a server address) that returns a page showing the dataset."""
    contexts = []

    def open_page(
        dataset: fo.Dataset,
        url: str = app_url,
        query: str = "",
        shown: str = '[data-cy="entry-counts"]',
        watch: Callable[[Page], None] = lambda page: None,
    ) -> Page:
        context = browser.new_context(viewport={"width": 1700, "height": 1300})
        contexts.append(context)
        context.set_default_timeout(LONG)
        context.add_init_script("localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')")
        context.add_init_script(STILL)
        context.add_init_script(MESSAGES)
        page = context.new_page()
        watch(page)
        page.goto(f"{url}/datasets/{dataset.name}{query}")
        page.wait_for_selector(shown)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def open_panel_alone(
    open_app: Callable[..., Page], no_errors: Callable[[Page], None]
) -> Callable[[fo.Dataset], Page]:
    """Function of a dataset that returns a page with the Clusters panel, with ``no_errors`` from the start.

    No grid: it takes half of the time in which a page is opened.
    """
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.display.workspace import CLUSTERS_PANEL

    def open_page(dataset: fo.Dataset) -> Page:
        panel = fo.Panel(type=CLUSTERS_PANEL, pinned=True)
        alone = fo.Space(children=[panel], active_child=panel.component_id)
        dataset.save_workspace("alone", alone, overwrite=True)
        return open_app(dataset, query="?workspace=alone", shown='[data-cy="dc-board"]', watch=no_errors)

    return open_page


@pytest.fixture
def no_errors() -> Iterator[Callable[[Page], None]]:
    """Function of a page, in which no error of ours may be raised until the end of the test."""
    found: list[str] = []
    yield lambda page: page.on("pageerror", lambda error: found.append(str(error)))
    assert [error for error in found if "entry is loading" not in error] == []


@pytest.fixture
def unique() -> str:
    """Random text, unique to the test."""
    return uuid.uuid4().hex[:8]


# ---------------------------------------------------------------- a finished run


@pytest.fixture
def clustered(plugin: Path, make_digits: Callable[..., fo.Dataset]) -> fo.Dataset:
    """200 digits with the run ``dc``: k-means on pixels, 5 clusters."""
    from fiftyone_deepcluster.dataset.api import cluster

    dataset = make_digits(200, persistent=True)
    cluster(
        dataset, "frozen", "dc", n_clusters=5, truth_field="ground_truth", baselines=False, progress=False
    )
    return dataset
