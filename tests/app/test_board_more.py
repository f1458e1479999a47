"""The Clusters panel in the real App with other data and other windows; each test checks the database."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from bson import ObjectId
from fiftyone.core.utils import serialize_numpy_array
from playwright.sync_api import expect
from pydicom.data import get_testdata_file

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.io.fields import FieldNames, changing, declare_missing
from fiftyone_deepcluster.dataset.review.review import review
from fiftyone_deepcluster.dataset.runs.run import load_run
from tests.app.limits import LONG
from tests.app.test_board import images, largest, open_board, open_cluster, part, said, sizes, wait_for_board

expect.set_options(timeout=LONG)

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]

FROZEN = {"baselines": False, "progress": False, "compute_brain": False}


@pytest.fixture
def open_quietly(open_app, open_panel_alone, no_errors):
    """Function of a dataset that returns a page with the panel, beside which the grid can be shown, or alone."""

    def open_page(dataset, *, alone=False):
        if alone:
            page = open_panel_alone(dataset)
            wait_for_board(page)
        else:
            page = open_app(dataset)
            no_errors(page)
            open_board(page)
        return page

    return open_page


def keep(page, name):
    """Store a picture of the page in the folder that SCREENSHOTS names."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def samples(page, text):
    expect(part(page, "entry-counts")).to_have_text(text)


def put_into_grid(page, name, size):
    """Show the open cluster in the grid; wait for its labels there, as another cluster may be of equal size."""
    page.keyboard.press("g")
    samples(page, f"{size} samples")
    expect(page.locator('[data-cy="fo-grid"] [data-cy="tag-dc"]').first).to_have_text(name)


def add_rounds(dataset):
    """Round labels of three rounds: in the first, each cluster is in two halves."""
    with changing(dataset):
        declare_missing(dataset, FieldNames("dc"), ["round_labels"])
    for at, (sample_id, number) in enumerate(zip(*dataset.values(["id", "dc.cluster"]), strict=True)):
        row = np.array([2 * number + at % 2, number, number])
        dataset._sample_collection.update_one(
            {"_id": ObjectId(sample_id)},
            {"$set": {"dc_round_labels": serialize_numpy_array(row)}},
        )


def test_what_surrounds_a_cluster(open_quietly, clustered):
    """Neighbors, history, similar images, outliers; what is put into the grid, and the user's view after it."""
    add_rounds(clustered)
    first, second, *_ = largest(clustered)
    before = sizes(clustered)
    page = open_quietly(clustered)
    open_cluster(page, first)
    expect(part(page, "dc-outlier").first).to_be_attached()

    page.keyboard.press("b")
    montages = page.locator('[data-cy^="dc-montage-"]')
    expect(montages).to_have_count(5)
    for montage in montages.all():
        expect(montage.locator("img").first).to_be_visible()
    keep(page, "neighbors")
    page.keyboard.press("h")
    expect(part(page, "dc-flow").locator('rect[data-cy^="dc-flow-1-"]')).to_have_count(2)
    expect(part(page, "dc-flow").locator('rect[data-cy^="dc-flow-3-"]')).to_have_count(1)
    keep(page, "history")
    page.keyboard.press("h")

    page.keyboard.press("Space")
    page.keyboard.press("f")
    expect(part(page, "dc-similar")).to_contain_text("199 similar to the 1 image selected")
    expect(part(page, "dc-images")).to_contain_text(first)
    keep(page, "similar")
    page.keyboard.press("Space")
    moved = page.locator('[data-selected="true"]').get_attribute("data-cy").removeprefix("dc-image-")
    page.keyboard.press("m")
    expect(part(page, "dc-dialog-name")).to_be_focused()
    page.keyboard.press("Escape")  # once, also where suggestions are open
    expect(part(page, "dc-form-move")).to_have_count(0)
    page.keyboard.press("m")
    page.keyboard.type("found")
    page.keyboard.press("Enter")
    said(page, "moved 1 image to 'found'")
    assert clustered[moved].dc.label == "found"
    page.keyboard.press("Control+z")
    said(page, "Undone")
    assert sizes(clustered) == before

    page.keyboard.press("Escape")
    expect(part(page, "dc-similar")).to_have_count(0)
    put_into_grid(page, first, before[first])
    expect(part(page, "dc-colors")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("]")
    expect(part(page, "dc-cluster-name")).to_have_text(second)
    put_into_grid(page, second, before[second])
    keep(page, "grid")
    part(page, "dc-show-all").click()
    samples(page, "200 samples")
    expect(part(page, "dc-show-all")).to_have_count(0)


def test_a_narrow_panel_in_the_light_theme(open_app, open_quietly, clustered):
    """450 pixels wide: nothing is cut; naming and marking by mouse; sorting by the table's head; a reload."""
    first, *_ = largest(clustered)
    page = open_quietly(clustered)
    page.evaluate("localStorage.setItem('mui-mode', 'light')")
    page.set_viewport_size({"width": 1200, "height": 900})  # the sidebar has 300, the panel half of the rest
    page.reload()
    expect(part(page, "dc-overview")).to_be_visible()
    expect(part(page, f"dc-cluster-{first}")).to_be_visible()
    keep(page, "narrow-overview")
    board = part(page, "dc-board")
    assert 400 < board.bounding_box()["width"] < 460
    assert board.evaluate("board => board.scrollWidth <= board.clientWidth")
    part(page, "dc-look-table").click()
    part(page, "dc-sort-size").click()
    rows = page.locator('[data-cy^="dc-cluster-cluster"]')
    expect(rows.first).to_have_attribute("data-cy", f"dc-cluster-{first}")
    keep(page, "narrow-table")
    open_cluster(page, first)
    keep(page, "narrow-cluster")
    assert board.evaluate("board => board.scrollWidth <= board.clientWidth")
    part(page, "dc-do-name").click()
    part(page, "dc-dialog-name").fill("slim")
    part(page, "dc-dialog-ok").click()
    expect(part(page, "dc-cluster-name")).to_have_text("slim")
    part(page, "dc-do-reviewed").click()
    expect(part(page, "dc-progress")).to_contain_text("1 of 5 clusters")
    assert review(clustered, "dc").reviewed() == ["slim"]
    page.reload()
    expect(part(page, "dc-progress")).to_contain_text("1 of 5 clusters")
    part(page, "dc-undo").click()
    said(page, "Undone: marked 'slim' as reviewed")
    assert review(clustered, "dc").reviewed() == []
    part(page, "dc-commit").click()
    expect(part(page, "dc-commit-table")).to_be_visible()
    part(page, "dc-only-named").click()
    expect(part(page, "dc-commit-table").locator("tbody tr")).to_have_count(5)
    keep(page, "narrow-commit")


def test_objects_in_boxes(open_quietly, make_digits):
    dataset = make_digits(20, persistent=True)
    halves = [[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 0.5, 1.0]]
    dataset.set_values(
        "objects",
        [
            fo.Detections(detections=[fo.Detection(label="x", bounding_box=box) for box in halves])
            for _ in range(20)
        ],
    )
    fdc.cluster(dataset.to_patches("objects"), "frozen", "dc", n_clusters=3, **FROZEN)
    first, second, _ = largest(dataset)
    path = "objects.detections.dc"
    before = dataset.count_values(path)
    page = open_quietly(dataset)
    expect(part(page, "dc-progress")).to_contain_text("40 objects")
    open_cluster(page, first)
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("m")
    part(page, "dc-form-move").get_by_text("Move 2 objects").wait_for()
    page.keyboard.type(second)
    page.keyboard.press("Enter")
    said(page, f"moved 2 objects to '{second}'")
    after = dataset.count_values(path)
    assert after == before | {first: before[first] - 2, second: before[second] + 2}
    keep(page, "patches")
    page.keyboard.press("g")
    samples(page, f"{after[first]} patches")


def test_images_of_dicom_files(open_quietly, fiftyone_home, tmp_path, unique):
    for name in ("CT_small.dcm", "MR_small.dcm", "SC_rgb_rle_2frame.dcm", "MR_truncated.dcm"):
        shutil.copy(get_testdata_file(name, download=False), tmp_path / name)
    name = f"dicom-{unique}"
    fdc.add_dicom(tmp_path, name)
    dataset = fo.load_dataset(name)
    dataset.persistent = True
    try:
        fdc.cluster(dataset, "frozen", "dc", n_clusters=2, **FROZEN)
        first, _ = largest(dataset)
        page = open_quietly(dataset, alone=True)
        open_cluster(page, first)
        for picture in images(page).locator("img").all():
            expect(picture).to_be_visible()
            assert picture.evaluate("picture => picture.naturalWidth") > 0
        keep(page, "dicom")
        page.keyboard.press("n")
        page.keyboard.type("scan")
        page.keyboard.press("Enter")
        said(page, f"renamed '{first}' to 'scan'")
        assert "scan" in sizes(dataset)
    finally:
        dataset.delete()


def test_a_thousand_clusters(open_quietly, make_digits):
    """Few rows are drawn; the keyboard and the search reach every cluster."""
    from pymongo import UpdateOne

    dataset = make_digits(1200, persistent=True)
    fdc.cluster(dataset, "frozen", "dc", n_clusters=2, **FROZEN)
    places = [ObjectId(sample_id) for sample_id in dataset.values("id")]
    dataset._sample_collection.bulk_write(
        [
            UpdateOne(
                {"_id": place}, {"$set": {"dc.label": f"cluster-{at % 1000:03}", "dc.cluster": at % 1000}}
            )
            for at, place in enumerate(places)
        ]
    )
    page = open_quietly(dataset, alone=True)
    expect(part(page, "dc-progress")).to_contain_text("0 of 1,000 clusters")
    rows = page.locator('[data-cy^="dc-cluster-cluster"]')
    expect(rows.first).to_be_visible()
    assert rows.count() < 100
    page.keyboard.press("End")
    last = part(page, "dc-cluster-cluster-999")
    expect(last).to_have_attribute("data-focused", "true")
    expect(last.locator("img").first).to_be_visible()
    assert rows.count() < 100
    keep(page, "thousand")
    page.keyboard.press("/")
    page.keyboard.type("777")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    page.keyboard.press("Enter")
    expect(part(page, "dc-cluster-name")).to_have_text("cluster-777")
    page.keyboard.press("n")
    page.keyboard.type("lucky")
    page.keyboard.press("Enter")
    said(page, "renamed 'cluster-777' to 'lucky'")
    assert (sizes(dataset)["lucky"], len(sizes(dataset))) == (1, 1000)


def test_two_windows_at_once(open_quietly, clustered):
    """Neither loses the edit of the other; each sees it; both can undo."""
    first, _, third, *_ = largest(clustered)
    before = sizes(clustered)
    one, two = (open_quietly(clustered, alone=True) for _ in range(2))
    open_cluster(two, third)
    one.keyboard.press("n")
    one.keyboard.type("by one")
    images(two).nth(0).click()
    images(two).nth(2).click(modifiers=["Shift"])
    one.keyboard.press("Enter")
    two.keyboard.press("x")
    said(one, f"renamed '{first}' to 'by one'")
    said(two, "rejected 3 images")
    expected = {name: n for name, n in before.items() if name != first}
    expected |= {"by one": before[first], third: before[third] - 3, "noise": 3}
    assert sizes(clustered) == expected
    expect(part(one, "dc-cluster-noise")).to_be_visible()
    part(two, "dc-back").click()
    expect(part(two, "dc-cluster-by one")).to_be_visible()
    one.reload()
    expect(part(one, "dc-cluster-by one")).to_be_visible()
    one.bring_to_front()
    part(one, "dc-undo").click()
    said(one, "Undone")
    expect(part(two, "dc-redo")).to_be_enabled()
    part(two, "dc-undo").click()
    said(two, "Undone")
    assert sizes(clustered) == before
    assert [edit.undone for edit in review(clustered, "dc").log()] == [True, True]
    assert load_run(clustered, "dc").names() == sorted(before)
