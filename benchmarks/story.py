"""Seconds and keys from clusters to labels: a whole dataset is named in the App, by keyboard alone.

    python -m benchmarks.story --npz fashion=fashion_mnist.npz --images 10000 --clusters 60
    python -m benchmarks.story --images 0 --clusters 30                     # scikit-learn's digits

The real App in Chromium, on a MongoDB of its own. The person opens the largest cluster and goes through all of them: N,
the name of the class that most of the first images have, Enter; where a cluster has that name already, Enter joins the
two; Enter marks the cluster as reviewed and opens the next. At the end L applies the names to a new label field. The
person knows the class of the images that are shown, types as fast as the keys are taken, and waits for every answer:
what is counted is the App's time, on top of which comes the person's own.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.own_database import own_database
from benchmarks.report import table
from benchmarks.review import ImageSet, image_sets
from fiftyone_deepcluster.cli.doctor import find_chromium

if TYPE_CHECKING:
    import fiftyone as fo
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120_000
"""Milliseconds after which an answer counts as missing."""

LOOKED_AT = 24
"""Images of a cluster that the person looks at."""


def main() -> None:
    """Print the table."""
    arguments = arguments_given()
    with own_database() as database:
        plugins = database.folder / "plugins"
        plugins.mkdir()
        (plugins / "clustering").symlink_to(ROOT)
        os.environ["FIFTYONE_PLUGINS_DIR"] = str(plugins)
        rows = []
        for name, images in image_sets(arguments, database.folder).items():
            dataset = clustered(images, arguments)
            with served() as address, opened(address, dataset) as page:
                rows.append([name, *cells(page, dataset)])
        header = [
            "images", "n", "clusters", "keys", "keys a cluster", "seconds", "a cluster, median", "worst", "accuracy",
        ]  # fmt: skip
        print(table(header, rows))


def arguments_given() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--npz", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument(
        "--images", type=int, default=10_000, help="maximum number of images, the first ones; 0: all"
    )
    parser.add_argument("--clusters", type=int, default=60)
    parser.set_defaults(digits=False, zip=[], weights=None)
    return parser.parse_args()


def clustered(images: ImageSet, arguments: argparse.Namespace) -> fo.Dataset:
    """A dataset with a run ``dc`` on pixels, and no labels that the panel could show."""
    import fiftyone as fo

    import fiftyone_deepcluster as fdc

    dataset = fo.Dataset(persistent=True)
    samples = [
        fo.Sample(str(file), known=label) for file, label in zip(images.files, images.classes, strict=True)
    ]
    dataset.add_samples(samples, progress=False)
    fdc.cluster(
        dataset, "frozen", "dc", n_clusters=arguments.clusters, clusterer="kmeans", baselines=False,
        progress=False, compute_brain=False, **images.options,
    )  # fmt: skip
    return dataset


@contextmanager
def served() -> Iterator[str]:
    """Address of a server of the App."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "fiftyone.server.main", "--port", str(port), "--address", "127.0.0.1"]
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/fiftyone", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://localhost:{port}"
    finally:
        server.kill()
        server.wait(30)


@contextmanager
def opened(address: str, dataset: fo.Dataset) -> Iterator[Page]:
    """A page of the App with the Clusters panel open, and the keyboard in it."""
    from playwright.sync_api import sync_playwright

    from fiftyone_deepcluster.dataset.display.workspace import CLUSTERS_PANEL

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(),
            args=[
                "--no-sandbox",
                "--disable-gpu",
                # the App requests fonts from Google: nothing but this machine is found
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
            ],
        )
        context = browser.new_context(viewport={"width": 1600, "height": 1000})
        context.set_default_timeout(PATIENCE)
        context.add_init_script("localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')")
        page = context.new_page()
        page.goto(f"{address}/datasets/{dataset.name}")
        page.wait_for_selector('[data-cy="entry-counts"]')
        page.locator('[data-cy="new-panel-btn"]').first.click()
        page.locator(f'[data-cy="new-panel-option-{CLUSTERS_PANEL}"]').click()
        page.wait_for_selector('[data-cy="dc-overview"]')
        page.wait_for_selector('[data-cy="dc-clusters"]:focus')
        yield page
        browser.close()


class Person:
    """Goes through the clusters by keyboard, and counts the keys."""

    def __init__(self, page: Page, dataset: fo.Dataset) -> None:
        self.page = page
        self.keys = 0
        self.known = dict(zip(*dataset.values(["id", "known"]), strict=True))

    def press(self, key: str) -> None:
        """One key."""
        self.keys += 1
        self.page.keyboard.press(key)

    def write(self, text: str) -> None:
        """The keys of a text."""
        self.keys += len(text)
        self.page.keyboard.type(text)

    def cluster(self) -> str:
        """Name of the cluster that is open."""
        return self.page.locator('[data-cy="dc-cluster-name"]').inner_text()

    def seen(self) -> str:
        """The class that most of the first images have."""
        shown = self.page.locator('[data-cy^="dc-image-"][data-selected]:not([data-cy="dc-image-loading"])')
        shown.first.wait_for()
        names = [str(cell.get_attribute("data-cy")) for cell in shown.all()[:LOOKED_AT]]
        return Counter(self.known[name.removeprefix("dc-image-")] for name in names).most_common(1)[0][0]

    def name(self, text: str) -> None:
        """Name the open cluster, or join it with the one that has the name."""
        self.press("n")
        self.page.wait_for_selector('[data-cy="dc-dialog-name"]:focus')
        self.write(text)
        self.press("Enter")
        self.page.wait_for_selector(f'[data-cy="dc-cluster-name"]:text-is("{text}")')
        self.page.wait_for_selector('[data-cy="dc-dialog-name"]', state="detached")

    def reviewed(self, name: str) -> None:
        """Mark the open cluster as reviewed; the next one opens, or the overview after the last."""
        self.press("Enter")
        self.page.wait_for_selector(f'[data-cy="dc-cluster-name"]:text-is("{name}")', state="detached")

    def applied(self, field: str) -> None:
        """Write the names to a field."""
        self.page.wait_for_selector('[data-cy="dc-overview"]')
        self.press("l")
        self.page.wait_for_selector('[data-cy="dc-dialog-name"]:focus')
        self.press("Control+a")
        self.write(field)
        self.page.wait_for_selector('[data-cy="dc-dialog-ok"]:enabled')
        self.press("Enter")
        self.page.wait_for_selector('[data-cy="dc-message"]:has-text("wrote the names")')


def cells(page: Page, dataset: fo.Dataset) -> list[str]:
    """The row of the table."""
    n_clusters = len(dataset.distinct("dc.label"))
    person, spent = Person(page, dataset), []
    started = time.perf_counter()
    person.press("Enter")
    page.wait_for_selector('[data-cy="dc-cluster-name"]')
    while page.locator('[data-cy="dc-cluster-name"]').count():
        since = time.perf_counter()
        name = f"class {person.seen()}"
        if person.cluster() != name:
            person.name(name)
        person.reviewed(name)
        spent.append(time.perf_counter() - since)
    person.applied("digit")
    seconds = time.perf_counter() - started
    dataset.reload()
    pairs = list(zip(*dataset.values(["known", "digit.label"]), strict=True))
    right = sum(label == f"class {known}" for known, label in pairs) / len(pairs)
    return [
        f"{len(dataset):,}", str(n_clusters), str(person.keys), f"{person.keys / n_clusters:.1f}", f"{seconds:.0f}",
        f"{statistics.median(spent):.2f}", f"{max(spent):.2f}", f"{right:.3f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
