"""Runs and other jobs in the background, in the real App: started from the form, followed, cancelled, failed, left."""

from __future__ import annotations

import re
import shutil
import time
from contextlib import contextmanager

import fiftyone as fo
import pytest
from playwright.sync_api import expect
from pydicom.data import get_testdata_file

from fiftyone_deepcluster.core.record import StopReason
from fiftyone_deepcluster.dataset.audit.audit import list_audits
from fiftyone_deepcluster.dataset.results.numbers import stored_sweep
from fiftyone_deepcluster.dataset.runs import queue, status
from fiftyone_deepcluster.dataset.runs.run import list_runs, load_run
from tests.app.limits import LONG
from tests.app.test_browser import (
    choose_method,
    execute,
    open_form,
    open_panel,
    part,
    rows,
    show_advanced,
    typed_in,
)

expect.set_options(timeout=LONG)

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]


def fill(page, form, **values):
    """Fill in inputs by their labels; without baselines and map, which take long."""
    choose_method(page, form, "deepcluster")
    for label, value in values.items():
        typed_in(form, label.replace("_", " ").capitalize()).fill(value)
    show_advanced(form)
    form.get_by_label(re.compile("^Baselines")).uncheck()
    form.get_by_label(re.compile("^Also compute a 2-D map")).uncheck()


@contextmanager
def layout_stored(page):
    """The panel is opened within; at the end the server has the layout that contains it, with which the next tab opens.

    The App also sends the layout before that, without the panel.
    """

    def has_panel(response):
        sent = response.request.post_data or ""
        return "setSpaces" in sent and '"type":"clusters"' in sent

    with page.expect_response(has_panel) as stored:
        yield
    stored.value.finished()


@pytest.fixture
def dataset(make_digits):
    dataset = make_digits(60, persistent=True)
    yield dataset
    for key in status.read_states(dataset):
        queue.request_cancel(dataset, key)
    end = time.monotonic() + LONG / 1000
    while any(state.busy for state in status.read_states(dataset).values()) and time.monotonic() < end:
        time.sleep(0.1)


def test_a_run_goes_on_beside_the_panel_and_is_cancelled(open_app, clustered):
    page = open_app(clustered)
    open_panel(page)
    expect(rows(page)).to_have_count(5)
    part(page, "dc-tab-runs").click()
    part(page, "dc-start").click()
    form = page.get_by_role("dialog")
    form.wait_for()
    fill(page, form, name="far", rounds="9000", number_of_clusters="5")
    execute(form)
    row = part(page, "dc-run-far")
    expect(row).to_contain_text(re.compile(r"round \d+ of 9000"))
    expect(part(page, "dc-live-far")).to_contain_text("Loss")  # from the second round on

    # meanwhile the panel edits the other run
    part(page, "dc-tab-clusters").click()
    expect(rows(page)).to_have_count(5)
    page.keyboard.press("n")
    part(page, "dc-dialog-name").fill("an eight")
    page.keyboard.press("Enter")
    expect(part(page, "dc-cluster-an eight")).to_be_visible()
    assert "an eight" in clustered.count_values("dc.label")
    assert status.read_states(clustered)["far"].status == "running"

    part(page, "dc-tab-runs").click()
    part(page, "dc-cancel-far").click()
    expect(row).to_contain_text(re.compile("stops after this batch|finished"))
    expect(part(page, "dc-cancel-far")).to_have_count(0)
    expect(part(page, "dc-resume-far")).to_be_visible()
    expect(part(page, "sidebar-field-container-far")).to_be_visible()
    clustered.reload()
    assert load_run(clustered, "far").stop_reason == StopReason.CANCELLED
    assert clustered.count("far.label") == 200
    assert status.read_states(clustered)["far"].status == "cancelled"


def test_a_run_outlives_the_tab(open_app, dataset):
    page = open_app(dataset)
    form = open_form(page, "Cluster images")
    fill(page, form, name="seen", rounds="3", number_of_clusters="6")
    with layout_stored(page):
        execute(form)
        expect(part(page, "dc-run-seen")).to_contain_text("deepcluster")
    page.context.close()

    end = time.monotonic() + LONG / 1000
    while status.read_states(dataset)["seen"].busy and time.monotonic() < end:
        time.sleep(0.1)
    dataset.reload()
    assert status.read_states(dataset)["seen"].status == "finished"
    assert len(load_run(dataset, "seen").rounds) == 3
    page = open_app(dataset)  # with the panel, as in the stored layout
    expect(rows(page)).to_have_count(6)
    expect(part(page, "dc-progress")).to_contain_text("0 of 60 images reviewed")


def test_a_failure_is_told_and_what_was_typed_is_kept(open_app, dataset):
    page = open_app(dataset)
    form = open_form(page, "Cluster images")
    fill(page, form, name="many", rounds="2", number_of_clusters="60")
    first = dataset.first()  # as many clusters as images, of which one cannot be read
    first.filepath = first.filepath.replace(".png", ".gone.png")
    first.save()
    execute(form)
    expect(part(page, "dc-why-many")).to_contain_text("Number of clusters 60 is more than the 59")
    assert status.read_states(dataset)["many"].status == "failed"
    assert list_runs(dataset) == []
    part(page, "dc-again-many").click()
    form = page.get_by_role("dialog")
    expect(typed_in(form, "Name")).to_have_value("many")
    number = typed_in(form, "Number of clusters")
    expect(number).to_have_value("60")
    expect(typed_in(form, "Rounds")).to_have_value("2")
    number.fill("4")
    execute(form)
    expect(part(page, "dc-progress")).to_contain_text("0 of 4 clusters")
    expect(rows(page)).to_have_count(4)
    dataset.reload()
    assert len(load_run(dataset, "many").rounds) == 2
    assert dataset.count("many.label") == 59


def submit(form, name):
    """Submit a form by the button with this name; it closes at once."""
    button = form.get_by_role("button", name=re.compile(f"^({name}|Execute)$"))
    expect(button).to_be_enabled()
    button.click()
    expect(form).to_have_count(0)


def test_an_audit_is_started_followed_and_its_result_seen(open_app, clustered):
    page = open_app(clustered)
    open_panel(page)
    part(page, "dc-tab-audit").click()
    part(page, "dc-audit-start").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_text("The labels to audit.")).to_be_visible()
    submit(form, "Audit")
    job = "job-audit_labels-audit"
    expect(part(page, f"dc-run-{job}")).to_contain_text(re.compile("queued|running"))
    expect(part(page, "dc-no-audit")).to_have_count(0)
    expect(part(page, "dc-audit-facts")).to_contain_text("200 labels of ground_truth in 10 classes")
    assert status.read_states(clustered)[job].status == "finished"
    part(page, "dc-tab-runs").click()
    expect(part(page, f"dc-run-{job}")).to_contain_text("200 labels audited; about ")
    part(page, f"dc-show-{job}").click()
    expect(part(page, "dc-audit-facts")).to_be_visible()
    part(page, "dc-tab-runs").click()
    part(page, f"dc-dismiss-{job}").click()
    expect(part(page, f"dc-run-{job}")).to_have_count(0)
    expect(part(page, "dc-run-dc")).to_be_visible()
    clustered.reload()
    assert list_audits(clustered) == ["audit"]


def test_an_analysis_is_cancelled(open_app, clustered):
    page = open_app(clustered)
    open_panel(page)
    part(page, "dc-tab-analyses").click()
    part(page, "dc-start-recommend_number").click()
    form = page.get_by_role("dialog")
    form.wait_for()
    typed_in(form, "Largest number of clusters").fill("199")
    typed_in(form, "Repetitions").fill("10")
    submit(form, "Recommend")
    job = "job-recommend_number-dc"
    row = part(page, f"dc-run-{job}")
    expect(row).to_contain_text(re.compile(r"running · .+ of \d+"))
    part(page, f"dc-cancel-{job}").click()
    expect(row).to_contain_text(re.compile("stops after this batch|cancelled"))
    expect(row).to_contain_text("dc · cancelled")
    assert stored_sweep(load_run(clustered, "dc")) is None
    part(page, f"dc-again-{job}").click()
    form = page.get_by_role("dialog")
    expect(typed_in(form, "Repetitions")).to_have_value("10")
    typed_in(form, "Largest number of clusters").fill("4")
    typed_in(form, "Repetitions").fill("2")
    submit(form, "Recommend")
    expect(part(page, "dc-number")).to_contain_text("Recommended: ")  # without a click on "Refresh"
    assert stored_sweep(load_run(clustered, "dc")).numbers == (2, 3, 4)


def test_an_import_outlives_the_tab_and_opens_what_it_made(open_app, dataset, tmp_path, unique):
    for name in ("CT_small.dcm", "MR_small.dcm"):
        shutil.copy(get_testdata_file(name, download=False), tmp_path)
    page = open_app(dataset)
    form = open_form(page, "Import DICOM")
    form.get_by_role("textbox").nth(0).fill(str(tmp_path))
    form.get_by_role("textbox").nth(1).fill(f"scans-{unique}")
    expect(form).to_contain_text("is created from the images")
    with layout_stored(page):
        submit(form, "Import")
        expect(part(page, "dc-run-job-import_dicom")).to_be_visible()
    page.context.close()
    end = time.monotonic() + LONG / 1000
    while status.read_states(dataset)["job-import_dicom"].busy and time.monotonic() < end:
        time.sleep(0.1)
    page = open_app(dataset)
    expect(part(page, "dc-run-job-import_dicom")).to_contain_text("2 images imported")
    part(page, "dc-open-job-import_dicom").click()
    expect(part(page, "entry-counts")).to_have_text("2 samples")
    fo.delete_dataset(f"scans-{unique}")
