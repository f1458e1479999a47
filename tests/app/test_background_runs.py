"""Runs in the background, in the real App: started from the form, followed, cancelled, failed, left alone."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from fiftyone_deepcluster.core.record import StopReason
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
    fill(page, form, run_name="far", rounds="9000", number_of_clusters="5")
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
    fill(page, form, run_name="seen", rounds="3", number_of_clusters="6")
    execute(form)
    expect(part(page, "dc-run-seen")).to_contain_text("deepcluster")
    page.context.close()

    end = time.monotonic() + LONG / 1000
    while status.read_states(dataset)["seen"].busy and time.monotonic() < end:
        time.sleep(0.1)
    dataset.reload()
    assert status.read_states(dataset)["seen"].status == "done"
    assert len(load_run(dataset, "seen").rounds) == 3
    page = open_app(dataset)  # its server remembers the layout
    expect(rows(page)).to_have_count(6)
    expect(part(page, "dc-progress")).to_contain_text("0 of 60 images reviewed")


def test_a_failure_is_told_and_what_was_typed_is_kept(open_app, dataset):
    page = open_app(dataset)
    form = open_form(page, "Cluster images")
    fill(page, form, run_name="many", rounds="2", number_of_clusters="61")
    execute(form)
    expect(part(page, "dc-why-many")).to_contain_text("more than the 60 images")
    assert status.read_states(dataset)["many"].status == "failed"
    assert list_runs(dataset) == []
    part(page, "dc-again-many").click()
    form = page.get_by_role("dialog")
    expect(typed_in(form, "Run name")).to_have_value("many")
    number = typed_in(form, "Number of clusters")
    expect(number).to_have_value("61")
    expect(typed_in(form, "Rounds")).to_have_value("2")
    number.fill("4")
    execute(form)
    expect(part(page, "dc-progress")).to_contain_text("0 of 4 clusters")
    expect(rows(page)).to_have_count(4)
    dataset.reload()
    assert len(load_run(dataset, "many").rounds) == 2
    assert dataset.count("many.label") == 60
