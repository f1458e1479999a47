"""The tab Audit of the Clusters panel in the real App, by keyboard; each test checks the database."""

from __future__ import annotations

import time
import uuid

import fiftyone as fo
import numpy as np
import pytest
from playwright.sync_api import expect
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from tests.app.limits import LONG
from tests.app.test_board import open_board, part
from tests.app.test_board_more import keep
from tests.app.test_browser import open_panel
from tests.dataset.audit.conftest import WORDS, break_labels

expect.set_options(timeout=LONG)

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]

N = 300


def doubtful_digits(make):
    """300 digits with their pixels as vectors, and 8 % of the labels in ``doubtful`` broken."""
    dataset = make(N, persistent=True)
    labels, _ = break_labels(N)
    dataset.add_sample_field("pixels", fo.VectorField)
    dataset.set_values("pixels", list(load_digits().data[:N].astype(np.float32)))
    dataset.set_values("doubtful", [fo.Classification(label=label) for label in labels])
    return dataset


@pytest.fixture
def labeled(plugin, make_digits):
    """Digits without an audit."""
    return doubtful_digits(make_digits)


@pytest.fixture(scope="module")
def audited_once(plugin, digits_dir):
    """The digits with a run of 10 clusters, and an audit that has it as evidence; tests have clones of it."""

    def make(n, persistent):
        dataset = fo.Dataset(f"digits-{uuid.uuid4().hex[:8]}", persistent=persistent)
        files = [str(file) for file in sorted(digits_dir.iterdir())[:n]]
        dataset.add_samples([fo.Sample(filepath=file) for file in files], progress=False)
        return dataset

    dataset = doubtful_digits(make)
    fdc.cluster(dataset, "frozen", "dc", n_clusters=10, baselines=False, progress=False, compute_brain=False)
    fdc.audit_labels(dataset, "doubtful", run="dc")
    yield dataset
    dataset.delete()


@pytest.fixture
def audited(audited_once):
    dataset = audited_once.clone(f"audited-{uuid.uuid4().hex[:8]}", persistent=True)
    yield dataset
    dataset.delete()


@pytest.fixture
def open_audit(open_app, no_errors):
    """Function of a dataset that returns a page with the tab open."""

    def open_page(dataset):
        page = open_app(dataset)
        no_errors(page)
        if fdc.list_runs(dataset):
            open_board(page)
            part(page, "dc-tab-audit").click()
        else:
            open_panel(page)
        return page

    return open_page


@pytest.fixture
def queue(open_panel_alone, audited):
    """A page with the queue open, and the dataset."""
    page = open_panel_alone(audited)
    part(page, "dc-tab-audit").click()
    expect(part(page, "dc-audit-tables")).to_be_visible()
    expect(part(page, "dc-audit")).to_be_focused()
    page.keyboard.press("Enter")
    expect(part(page, "dc-audit-label")).to_be_visible()
    return page, audited


def shown(page):
    """Id of the image that is shown."""
    return part(page, "dc-audit-label").get_attribute("data-image")


def press(page, key):
    """Press a key that decides; answers the image that was decided, once the next is shown."""
    image = shown(page)
    page.keyboard.press(key)
    expect(part(page, "dc-audit-label")).not_to_have_attribute("data-image", image)
    return image


def decided(page, dataset, n):
    """Wait for the answer to the last decision; the decisions in the database by image."""
    expect(part(page, "dc-audit-progress")).to_contain_text(f"{n} decided")
    until(page, lambda: dataset.count("audit_decision") == n)
    return dict(zip(*dataset.values(["id", "audit_decision"]), strict=True))


def until(page, holds):
    """Wait for what the server does; the page's requests go on meanwhile."""
    end = time.monotonic() + LONG / 1000
    while not holds():
        assert time.monotonic() < end
        page.wait_for_timeout(50)


def test_every_key_decides_and_is_undone_and_redone(queue):
    page, dataset = queue
    items = fdc.review_labels(dataset).queue(8)["items"]
    labels = dataset.values("doubtful.label")
    assert shown(page) == items[0]["id"]
    expect(part(page, "dc-audit-given")).to_have_text(items[0]["given"])
    expect(part(page, "dc-audit-suggestion")).to_have_text(items[0]["suggestion"])
    expect(part(page, "dc-audit-reason")).to_have_text(items[0]["reason"])
    expect(part(page, "dc-audit-neighbors").locator("img")).to_have_count(12)
    expect(part(page, "dc-audit-strip").locator("img").first).to_be_visible()
    keep(page, "audit-queue")

    press(page, "k")
    press(page, "a")
    fourth = part(page, "dc-audit-do-class-4").get_attribute("title")
    press(page, "4")
    press(page, "x")
    press(page, "u")
    page.keyboard.press("o")
    expect(part(page, "dc-dialog-name")).to_be_focused()
    page.keyboard.type("a smudge")
    page.keyboard.press("Enter")
    expect(part(page, "dc-audit-label")).to_have_attribute("data-image", items[6]["id"])
    found = decided(page, dataset, 6)
    ids = [item["id"] for item in items]
    assert [found[name] for name in ids] == [
        "keep",
        f"accept: {items[1]['suggestion']}",
        f"other: {fourth}",
        "exclude",
        "unsure",
        "other: a smudge",
        None,
        None,
    ]
    expect(part(page, "dc-audit-progress")).to_contain_text("1 kept, 3 corrected, 1 excluded, 1 not sure")

    page.keyboard.press("Control+z")
    expect(part(page, "dc-audit-label")).to_have_attribute("data-image", ids[5])
    page.keyboard.press("Control+z")
    expect(part(page, "dc-audit-label")).to_have_attribute("data-image", ids[4])
    assert [decided(page, dataset, 4)[name] for name in ids[4:6]] == [None, None]
    page.keyboard.press("Control+Shift+Z")
    expect(part(page, "dc-audit-label")).to_have_attribute("data-image", ids[5])
    assert decided(page, dataset, 5)[ids[4]] == "unsure"
    expect(part(page, "dc-audit-last")).to_contain_text("redone: not sure")
    assert dataset.values("doubtful.label") == labels
    assert len(fdc.review_labels(dataset).log()) == 6


def test_a_cell_of_the_matrix_is_a_queue(open_audit, audited):
    given, suggestion, n = fdc.review_labels(audited).tables()["left"][0]
    page = open_audit(audited)
    expect(part(page, "dc-audit-facts")).to_contain_text(f"{N} labels of doubtful in 10 classes")
    cell = part(page, f"dc-audit-cell-{given}-{suggestion}")
    expect(cell).to_have_text(str(n))
    keep(page, "audit-tables")
    cell.click()
    expect(part(page, "dc-audit-queue")).to_have_text(f"{given} → {suggestion}")
    expect(part(page, "dc-audit-total")).to_have_text(f"{n} left")
    for left in range(n - 1, -1, -1):
        expect(part(page, "dc-audit-given")).to_have_text(given)
        page.keyboard.press("a")
        expect(part(page, "dc-audit-total")).to_have_text(f"{left} left")
    expect(part(page, "dc-audit-empty")).to_be_visible()
    page.keyboard.press("Escape")
    expect(part(page, "dc-audit-tables")).to_be_visible()
    expect(cell).not_to_have_text(str(n))
    assert set(decided(page, audited, n).values()) == {None, f"accept: {suggestion}"}
    part(page, f"dc-audit-class-{given}").click()
    expect(part(page, "dc-audit-queue")).to_have_text(f"labeled {given}")
    expect(part(page, "dc-audit-given")).to_have_text(given)


def test_many_suggestions_are_accepted_after_a_look_and_written(queue):
    page, dataset = queue
    review = fdc.review_labels(dataset, refit_every=0)
    preview = review.preview_above(0.9)
    page.keyboard.press("p")
    expect(part(page, "dc-dialog-number")).to_be_focused()
    page.keyboard.type("0.9")
    expect(part(page, "dc-dialog-ok")).to_have_text(f"Accept {preview['n']} suggestions")
    expect(part(page, "dc-above-sample").locator("img")).to_have_count(len(preview["sample"]))
    expect(part(page, "dc-audit-pairs").locator("tbody tr")).to_have_count(len(preview["pairs"]))
    assert dataset.count("audit_decision") == 0
    keep(page, "audit-above")
    page.keyboard.press("Enter")
    found = decided(page, dataset, preview["n"])
    assert sum(text is not None and text.startswith("accept: ") for text in found.values()) == preview["n"]
    expect(part(page, "dc-audit-label")).to_have_attribute("data-image", review.queue(1)["items"][0]["id"])

    before = dataset.values("doubtful.label")
    page.keyboard.press("l")
    field = part(page, "dc-dialog-name")
    expect(field).to_have_value("doubtful")
    expect(part(page, "dc-dialog-ok")).to_have_text(f"Write {preview['n']} labels")
    keep(page, "audit-write")
    field.fill("corrected")
    expect(part(page, "dc-write-counts")).to_contain_text(f"{N - preview['n']} as given")
    expect(part(page, "dc-dialog-ok")).to_have_text(f"Write {N} labels")
    page.keyboard.press("Enter")
    expect(part(page, "dc-audit-last")).to_contain_text("wrote 300 labels to 'corrected'")
    dataset.reload()
    written = dataset.values("corrected.label")
    assert dataset.values("doubtful.label") == before
    assert sum(one != other for one, other in zip(before, written, strict=True)) == preview["n"]

    page.keyboard.press("l")
    expect(part(page, "dc-dialog-ok")).to_have_text(f"Write {preview['n']} labels")
    page.keyboard.press("Enter")
    expect(part(page, "dc-audit-last")).to_contain_text(f"wrote {preview['n']} labels to 'doubtful'")
    assert dataset.values("doubtful.label") == written
    page.keyboard.press("Control+z")
    expect(part(page, "dc-audit-last")).to_contain_text("Undone: wrote")
    assert dataset.values("doubtful.label") == before

    dataset.set_values("words", ["mine"] * N)
    page.keyboard.press("l")
    field.fill("words")
    expect(part(page, "dc-write-counts")).to_have_text(f"{N} keep a label that somebody else has written.")
    expect(part(page, "dc-dialog-ok")).to_be_disabled()
    part(page, "dc-write-replace").click()
    expect(part(page, "dc-dialog-ok")).to_have_text(f"Write {N} labels")
    part(page, "dc-dialog-ok").click()
    expect(part(page, "dc-audit-last")).to_contain_text("wrote 300 labels to 'words'")
    assert dataset.values("words") == written


def test_the_scores_are_fitted_again_while_the_next_image_is_there(queue):
    page, dataset = queue
    for _ in range(25):
        press(page, "k")
    kept = press(page, "u")
    expect(part(page, "dc-audit-progress")).to_contain_text("26 decided (25 kept, 1 not sure)")
    until(page, lambda: fdc.load_audit(dataset).record.n_fits == 2)
    expect(part(page, "dc-audit-fitting")).to_have_count(0)
    assert decided(page, dataset, 26)[kept] == "unsure"
    assert fdc.load_audit(dataset).record.n_decided >= 25
    before = shown(page)
    press(page, "k")
    assert decided(page, dataset, 27)[before] == "keep"


def test_what_another_person_decides_leaves_the_queue(queue):
    page, dataset = queue
    other = fdc.review_labels(dataset, user="another", refit_every=0)
    first, second, third = (item["id"] for item in other.queue(3)["items"])
    other.decide([first, second], "exclude")
    expect(part(page, "dc-audit-label")).to_have_attribute("data-image", third)
    expect(part(page, "dc-audit-progress")).to_contain_text("2 decided (2 excluded)")
    press(page, "k")
    assert decided(page, dataset, 3)[third] == "keep"

    rest = [item["id"] for start in (0, 200) for item in other.queue(200, offset=start)["items"]]
    other.decide(rest, "keep")
    expect(part(page, "dc-audit-empty")).to_contain_text("No suspicious label of doubtful is left")
    page.keyboard.press("Escape")
    expect(part(page, "dc-audit-start-queue")).to_have_text("All labels are decided")
    assert [edit.who for edit in other.log()][1] != "another"


def test_without_an_audit_and_without_suspicious_labels(open_audit, labeled):
    page = open_audit(labeled)
    part(page, "dc-audit-start").click()
    expect(page.get_by_text("The labels to audit.")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("The labels to audit.")).to_have_count(0)
    labeled.set_values("doubtful.label", [WORDS[digit] for digit in load_digits().target[:N]])
    fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels")
    review = fdc.review_labels(labeled, refit_every=0)
    suspicious = [item["id"] for item in review.queue(200, p_wrong=0.5)["items"]]
    expect(part(page, "dc-audit-facts")).to_be_visible()  # noticed without a reload
    if suspicious:
        review.decide(suspicious, "keep")
    expect(part(page, "dc-audit-none-left")).to_be_visible()
    part(page, "dc-audit-start-queue").click()
    expect(part(page, "dc-audit-label")).to_be_visible()
    page.keyboard.press("k")
    decided(page, labeled, len(suspicious) + 1)


def test_objects_in_a_narrow_panel_in_the_light_theme(open_audit, labeled):
    labels = labeled.values("doubtful.label")
    boxes = [
        fo.Detections(
            detections=[fo.Detection(label=label, bounding_box=[0.1, 0.1, 0.8, 0.8], vector=vector)]
        )
        for label, vector in zip(labels, labeled.values("pixels"), strict=True)
    ]
    labeled.set_values("objects", boxes, dynamic=True)
    fdc.audit_labels(labeled, "objects", embeddings_field="vector")
    item = fdc.review_labels(labeled).queue(1)["items"][0]
    page = open_audit(labeled)
    page.evaluate("localStorage.setItem('mui-mode', 'light')")
    page.set_viewport_size({"width": 1200, "height": 900})  # the sidebar has 300, the panel half of the rest
    page.reload()
    expect(part(page, "dc-audit-tables")).to_be_visible()
    expect(part(page, "dc-audit")).to_be_focused()
    keep(page, "audit-narrow-tables")
    page.keyboard.press("Enter")
    expect(part(page, "dc-audit-label")).to_have_attribute("data-image", item["id"])
    keep(page, "audit-narrow")
    board = part(page, "dc-board")
    assert 400 < board.bounding_box()["width"] < 460
    assert board.evaluate("board => board.scrollWidth <= board.clientWidth")
    part(page, "dc-audit-do-accept").click()
    expect(part(page, "dc-audit-progress")).to_contain_text("1 decided (1 corrected)")
    part(page, "dc-audit-write").click()
    expect(part(page, "dc-dialog-ok")).to_have_text("Write 1 label")
    part(page, "dc-dialog-ok").click()
    expect(part(page, "dc-audit-last")).to_contain_text("wrote 1 label to 'label'")
    assert labeled[item["sample_id"]].objects.detections[0].label == item["suggestion"]
