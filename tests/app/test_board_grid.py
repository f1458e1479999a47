"""The Clusters panel beside the grid of the real App: the grid shows what is edited, and the panel counts its view."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from fiftyone_deepcluster.dataset.display.workspace import clusters_beside_the_grid
from fiftyone_deepcluster.dataset.review.review import review
from tests.app.limits import LONG
from tests.app.test_board import largest, open_board, part, said, sizes

expect.set_options(timeout=LONG)

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]


def open_beside_the_grid(open_app, dataset):
    """A page with the panel beside the grid, and the labels in the grid."""
    dataset.save_workspace("beside", clusters_beside_the_grid())
    page = open_app(dataset, query="?workspace=beside")
    expect(part(page, "dc-overview")).to_be_visible()
    return page, page.locator('[data-cy="fo-grid"] [data-cy="tag-dc"]')


def test_labels_in_the_grid_beside_follow_edits(open_app, clustered):
    page, shown = open_beside_the_grid(open_app, clustered)
    first, *_ = largest(clustered)
    expect(shown.filter(has_text=first).first).to_be_visible()
    part(page, "dc-clusters").evaluate("board => { board.mark = 1; board.focus(); }")
    page.keyboard.press("Enter")
    expect(part(page, "dc-cluster-name")).to_have_text(first)
    page.keyboard.press("n")
    expect(part(page, "dc-dialog-name")).to_be_focused()
    page.keyboard.type("an eight")
    page.keyboard.press("Enter")
    expect(shown.filter(has_text="an eight").first).to_be_visible()
    expect(shown.filter(has_text=first)).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(shown.filter(has_text=first).first).to_be_visible()
    expect(shown.filter(has_text="an eight")).to_have_count(0)
    page.keyboard.press("j")
    expect(part(page, "dc-dialog-ok")).to_be_enabled()
    nearest = part(page, "dc-dialog-name").input_value()
    page.keyboard.press("Enter")
    said(page, "merged")
    expect(shown.filter(has_text=nearest)).to_have_count(0)
    expect(shown.filter(has_text=first).first).to_be_visible()
    assert part(page, "dc-clusters").evaluate("board => board.mark") == 1  # the panel was not drawn anew


def test_labels_in_the_grid_beside_follow_the_edits_of_another_person(open_app, clustered):
    page, shown = open_beside_the_grid(open_app, clustered)
    first, *_ = largest(clustered)
    expect(shown.filter(has_text=first).first).to_be_visible()
    review(clustered, "dc").rename(first, "by another")
    expect(part(page, "dc-cluster-by another")).to_be_visible()
    expect(shown.filter(has_text="by another").first).to_be_visible()
    expect(shown.filter(has_text=first)).to_have_count(0)


def test_a_cluster_in_the_grid_beside_stays_there_when_it_is_renamed(open_app, clustered):
    page, shown = open_beside_the_grid(open_app, clustered)
    first, *_ = largest(clustered)
    size = sizes(clustered)[first]

    def is_in_the_grid(name):
        expect(shown.filter(has_text=name).first).to_be_visible()
        expect(part(page, "entry-counts")).to_have_text(f"{size} samples")

    part(page, "dc-clusters").focus()
    page.keyboard.press("Enter")
    expect(part(page, "dc-cluster-name")).to_have_text(first)
    page.keyboard.press("g")
    is_in_the_grid(first)
    review(clustered, "dc").rename(first, "by another")
    is_in_the_grid("by another")
    expect(part(page, "dc-cluster-name")).to_have_text("by another")
    page.keyboard.press("n")
    expect(part(page, "dc-dialog-name")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("an eight")
    page.keyboard.press("Enter")
    is_in_the_grid("an eight")
    page.keyboard.press("Control+z")
    is_in_the_grid("by another")


def test_labels_of_images_that_were_scrolled_to_follow_edits(open_app, clustered):
    page, shown = open_beside_the_grid(open_app, clustered)
    first, *_ = largest(clustered)
    part(page, "dc-clusters").focus()
    page.keyboard.press("Enter")
    expect(part(page, "dc-cluster-name")).to_have_text(first)
    for before, name in ((first, "an eight"), ("an eight", "a nine")):
        page.keyboard.press("n")
        expect(part(page, "dc-dialog-name")).to_be_focused()
        page.keyboard.press("Control+a")
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        expect(shown.filter(has_text=name).first).to_be_visible()
        for down in (700, 700, 700, -2100):  # pages that were not read before the first edit
            part(page, "fo-grid").hover()
            page.mouse.wheel(0, down)
            page.wait_for_timeout(500)
            expect(shown.filter(has_text=name).first).to_be_visible()
            expect(shown.filter(has_text=before)).to_have_count(0)
        part(page, "dc-clusters").focus()


def test_the_view_of_the_app_is_counted_and_kept(open_app, clustered):
    first, *_ = largest(clustered)
    sevens = clustered.match({"ground_truth.label": "7"})
    clustered.save_view("sevens", sevens)
    page = open_app(clustered, query="?view=sevens")
    open_board(page)
    expected = sevens.count_values("dc.label").get(first, 0)
    text = f"in view: {expected} of {sizes(clustered)[first]}"
    expect(part(page, f"dc-cluster-{first}")).to_contain_text(text)
    expect(part(page, "entry-counts")).to_have_text(f"{len(sevens)} samples")
