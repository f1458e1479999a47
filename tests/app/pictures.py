"""Pictures of the Clusters panel for the documentation, taken in the real App.

``python -m pytest tests/app/pictures.py`` replaces the files in ``docs/images`` and ``examples``. Not part of the test
suite: pytest collects this file only by its name. ``examples/audit.py`` draws ``docs/images/audit.png``.
"""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING

import fiftyone as fo
import pytest
from PIL import Image
from playwright.sync_api import expect

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import ClusterImages, RecommendNumber
from fiftyone_deepcluster.dataset.runs import queue, status
from tests.app.conftest import ROOT
from tests.app.limits import LONG
from tests.app.test_audit_board import doubtful_digits
from tests.app.test_board import choose, images, largest, open_board, open_cluster, part

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect.set_options(timeout=LONG)

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]

FOLDER = ROOT / "docs" / "images"
LAYOUT = fo.Space(children=[fo.Panel(type="Samples", pinned=True)]).to_dict()
QUIET = {"baselines": False, "progress": False, "compute_brain": False}
NAMED = 3


def store(shown: Page | Locator, path, height: int | None = None) -> None:
    """Store a picture, or the upper ``height`` pixels of it, with 256 colors."""
    picture = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
    picture = picture.crop((0, 0, picture.width, height or picture.height))
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def opened(open_app, dataset, width: int, height: int) -> Page:
    """The App with the panel open, without a message."""
    page = open_app(dataset)
    page.set_viewport_size({"width": width, "height": height})
    open_board(page)
    loaded(page)
    return page


def loaded(page: Page) -> None:
    """Wait until every image that is visible is there, and no pointer is over a control."""
    page.mouse.move(0, 0)
    page.wait_for_function("[...document.images].every(image => image.complete)")
    page.wait_for_timeout(2000)


def until_idle(dataset: fo.Dataset, *wanted: str) -> None:
    """Wait until these jobs have ended."""
    end = time.monotonic() + LONG / 1000
    while any(status.read_states(dataset)[name].busy for name in wanted):
        assert time.monotonic() < end
        time.sleep(0.2)


def test_the_panel_beside_the_grid(plugin, open_app, make_digits):
    """Three clusters are named and reviewed."""
    dataset = make_digits(1797, persistent=True)
    run = fdc.cluster(dataset, "frozen", "dc", n_clusters=10, truth_field="ground_truth", **QUIET)
    review = fdc.review(dataset, "dc")
    shares = {}
    for name in run.names():
        counts = run.cluster_view(name).count_values("ground_truth.label")
        digit = max(counts, key=counts.get)
        shares[name] = (counts[digit] / sum(counts.values()), digit)
    purest = sorted(shares, key=shares.get, reverse=True)
    for name in purest[:NAMED]:
        review.rename(name, shares[name][1])
    review.mark_reviewed([shares[name][1] for name in purest[:NAMED]])
    page = opened(open_app, dataset, 1400, 820)
    store(page, ROOT / "examples" / "clusters-panel.png")

    choose(page, "dc-label-field", "ground_truth")
    open_cluster(page, purest[-1])
    choose(page, "dc-image-order", "Farthest from the center")
    part(page, "dc-captions").click()
    loaded(page)
    for at in (1, 4, 9):
        images(page).nth(at).click(modifiers=["Control"])
    expect(page.locator('[data-selected="true"]')).to_have_count(3)
    loaded(page)
    store(page, FOLDER / "review-cluster.png")


def test_the_nearest_clusters(open_app, clustered):
    page = opened(open_app, clustered, 1700, 1300)
    open_cluster(page, largest(clustered)[0])
    page.keyboard.press("b")
    expect(page.locator('[data-cy^="dc-montage-"]')).to_have_count(5)
    loaded(page)
    store(part(page, "dc-board"), FOLDER / "review-neighbors.png", 690)


def test_the_tab_runs(make_context, open_app, clustered):
    """An analysis that is done, a run in progress, one that failed, one that waits."""

    def start(operator, uri, **params):
        operator.execute(make_context(clustered, params, spaces=LAYOUT, operator_uri=uri))

    def cluster(key, method, **options):
        params = {"key": key, "method": {"name": method, **options}, "compute_brain": False}
        start(ClusterImages(), names.CLUSTER_IMAGES, **params)

    start(RecommendNumber(), names.RECOMMEND_NUMBER, key="dc", largest=12)
    cluster("many", "frozen", n_clusters=500)
    until_idle(clustered, "many", "job-recommend_number-dc")
    cluster("learned", "deepcluster", n_clusters=5, rounds=60, min_steps=10, baselines=False)
    cluster("next", "deepcluster", n_clusters=5, rounds=10, baselines=False)
    page = opened(open_app, clustered, 1500, 900)
    part(page, "dc-tab-runs").click()
    try:
        expect(part(page, "dc-run-learned")).to_contain_text(re.compile(r"round ([6-9]|[1-5]\d) of 60"))
        expect(part(page, "dc-run-next")).to_contain_text("waits for")
        page.mouse.move(0, 0)
        store(part(page, "dc-board"), FOLDER / "runs.png")
    finally:
        for key in ("learned", "next"):
            queue.request_cancel(clustered, key)
        until_idle(clustered, "learned", "next")


def test_the_tab_audit(plugin, open_app, make_digits):
    dataset = doubtful_digits(make_digits)
    fdc.cluster(dataset, "frozen", "dc", n_clusters=10, **QUIET)
    fdc.audit_labels(dataset, "doubtful", run="dc")
    page = opened(open_app, dataset, 1700, 1120)
    part(page, "dc-tab-audit").click()
    expect(part(page, "dc-audit-tables")).to_be_visible()
    loaded(page)
    store(part(page, "dc-board"), FOLDER / "audit-tables.png", 776)
    part(page, "dc-audit").focus()
    page.keyboard.press("Enter")
    expect(part(page, "dc-audit-neighbors").locator("img")).to_have_count(12)
    loaded(page)
    store(part(page, "dc-board"), FOLDER / "audit-queue.png")
