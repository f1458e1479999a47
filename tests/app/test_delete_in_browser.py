"""Deleting a run in the real App: the grid keeps the view of the user."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from fiftyone_deepcluster.dataset.runs.run import list_runs
from tests.app.limits import LONG
from tests.app.test_browser import open_form

expect.set_options(timeout=LONG)

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_saved_view_is_shown_after_the_deletion_of_a_run(open_app, clustered):
    sevens = clustered.match({"ground_truth.label": "7"})
    clustered.save_view("sevens", sevens)
    page = open_app(clustered, query="?view=sevens")
    counts = page.locator('[data-cy="entry-counts"]')
    expect(counts).to_have_text(re.compile(rf"^{len(sevens)} "))
    form = open_form(page, "Delete clustering run")
    form.get_by_text("Delete permanently").click()
    form.get_by_role("button", name=re.compile("^(Delete|Execute)$")).click()
    expect(page.get_by_text("Run dc deleted")).to_be_visible()
    expect(page.get_by_text("dc_embedding")).to_have_count(0)
    expect(counts).to_have_text(re.compile(rf"^{len(sevens)} "))
    assert "view=sevens" in page.url
    assert list_runs(clustered) == []
