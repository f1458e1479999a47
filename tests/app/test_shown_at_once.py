"""What the App shows at once: the field that an edit creates; and after a reload of the page, what was shown before."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.review.review import review
from tests.app.limits import LONG
from tests.app.test_board import largest, part
from tests.app.test_board_grid import open_beside_the_grid
from tests.app.test_browser import open_form, typed_in

expect.set_options(timeout=LONG)

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]


def label_fields(page):
    part(page, "dc-label-field").click()
    found = page.get_by_role("option").all_inner_texts()
    page.keyboard.press("Escape")
    return found


def test_the_field_that_an_edit_creates_is_shown_at_once(open_app, clustered):
    page, _ = open_beside_the_grid(open_app, clustered)
    first, second, *_ = largest(clustered)
    review(clustered, "dc").rename(first, "eight")
    expect(part(page, "dc-cluster-eight")).to_be_visible()
    part(page, "dc-clusters").evaluate("board => { board.mark = 1; board.focus(); }")
    page.keyboard.press("l")
    expect(part(page, "dc-dialog-name")).to_be_focused()
    page.keyboard.type("animal")  # instead of the proposed name
    expect(part(page, "dc-dialog-name")).to_have_value("animal")
    expect(part(page, "dc-dialog-ok")).to_be_enabled()
    page.keyboard.press("Enter")
    expect(part(page, "sidebar-field-container-animal")).to_be_visible()
    assert "animal" in label_fields(page)
    assert part(page, "dc-clusters").evaluate("board => board.mark") == 1  # the panel was not drawn anew
    # a field that another person creates
    review(clustered, "dc").label_cluster(second, "theirs", "nine")
    expect(part(page, "sidebar-field-container-theirs")).to_be_visible()
    assert "theirs" in label_fields(page)


def test_the_run_and_the_tab_are_kept_when_the_page_is_reloaded(open_panel_alone, clustered):
    cluster(clustered, "frozen", "later", n_clusters=4, baselines=False, compute_brain=False, progress=False)
    page = open_panel_alone(clustered)
    expect(part(page, "dc-run")).to_have_text("later")
    part(page, "dc-tab-runs").click()
    part(page, "dc-open-dc").click()
    expect(part(page, "dc-run")).to_have_text("dc")
    expect(part(page, "dc-tab-clusters")).to_have_attribute("aria-selected", "true")
    part(page, "dc-tab-rounds").click()
    page.reload()
    expect(part(page, "dc-tab-rounds")).to_have_attribute("aria-selected", "true")
    expect(part(page, "dc-run")).to_have_text("dc")


def test_a_form_says_what_is_wrong_with_a_value_before_it_is_executed(open_app, make_digits):
    page = open_app(make_digits(60, persistent=True))
    form = open_form(page, "Cluster images")
    execute = form.get_by_role("button", name="Execute", exact=True)
    expect(execute).to_be_enabled()
    for label, wrong, reason, right in (
        ("Name", "", "Name '' cannot be the name of a field", "mine"),
        ("Name", "my run", "Name 'my run' cannot be the name of a field", "mine"),
        ("Number of clusters", "61", "Number of clusters 61 is more than the 60 images", "6"),
    ):
        typed_in(form, label).fill(wrong)
        expect(form.get_by_text(reason)).to_be_visible()
        expect(execute).to_be_disabled()
        typed_in(form, label).fill(right)
        expect(execute).to_be_enabled()
