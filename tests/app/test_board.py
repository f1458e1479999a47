"""The Clusters panel in the real App: each verb by keyboard and by mouse, checked in the database."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from fiftyone_deepcluster.dataset.review.review import review
from fiftyone_deepcluster.dataset.runs.run import load_run
from tests.app.limits import LONG
from tests.app.test_browser import open_panel, part

expect.set_options(timeout=LONG)

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def board(open_panel_alone, clustered):
    """A page with the panel alone, and the dataset of 200 digits in 5 clusters."""
    page = open_panel_alone(clustered)
    wait_for_board(page)
    return page, clustered


@pytest.fixture
def board_over_grid(open_app, clustered, no_errors):
    """A page with the grid, over which the panel was opened, and the dataset."""
    page = open_app(clustered)
    no_errors(page)
    open_board(page)
    return page, clustered


def open_board(page):
    open_panel(page)
    wait_for_board(page)


def wait_for_board(page):
    """Wait until the panel shows the clusters and takes keys."""
    expect(part(page, "dc-overview")).to_be_visible()
    expect(part(page, "dc-clusters")).to_be_focused()


def answered(page, event):
    """Wait for the next answer to an event of the panel."""
    with page.expect_response(
        lambda answer: f'"__method__":"{event}"' in (answer.request.post_data or "")
    ) as answer:
        pass
    answer.value.finished()


def said(page, text):
    """Wait until the panel has shown a message with the text; this one and those before it are not looked at again."""
    page.wait_for_function(
        """text => {
          const messages = window.messagesOfThePanel;
          const at = messages.findIndex(message => message.includes(text));
          messages.splice(0, at + 1);
          return at >= 0;
        }""",
        arg=text,
        polling=100,
    )


def open_cluster(page, name):
    part(page, f"dc-cluster-{name}").click()
    expect(part(page, "dc-cluster-name")).to_have_text(name)
    expect(images(page).first).to_be_visible()


def images(page):
    """Cells whose image is known; cells that are still loading have no id."""
    return page.locator('[data-cy^="dc-image-"][data-selected]:not([data-cy="dc-image-loading"])')


def sizes(dataset):
    return dataset.count_values("dc.label")


def largest(dataset):
    return [info.name for info in load_run(dataset, "dc").clusters(n_exemplars=0)]


def choose(page, control, option):
    part(page, control).click()
    page.get_by_role("option", name=option, exact=True).click()


def test_a_cluster_is_named_by_keyboard_and_it_is_undone_and_redone(board_over_grid):
    page, dataset = board_over_grid
    first, second, *_ = largest(dataset)
    page.keyboard.press("ArrowDown")
    expect(part(page, f"dc-cluster-{second}")).to_have_attribute("data-focused", "true")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(part(page, "dc-cluster-name")).to_have_text(first)
    page.keyboard.press("n")
    expect(part(page, "dc-dialog-name")).to_be_focused()
    page.keyboard.type("an eight")
    page.keyboard.press("Enter")
    expect(part(page, "dc-cluster-name")).to_have_text("an eight")
    said(page, f"renamed '{first}' to 'an eight'")
    assert "an eight" in sizes(dataset)
    page.keyboard.press("Control+z")
    said(page, "Undone")
    assert first in sizes(dataset)
    page.keyboard.press("Control+Shift+Z")
    said(page, "Redone")
    assert "an eight" in sizes(dataset)


def test_images_are_selected_and_moved_by_keyboard(board):
    page, dataset = board
    first, second, *_ = largest(dataset)
    before = sizes(dataset)
    open_cluster(page, first)
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator('[data-selected="true"]')).to_have_count(3)
    page.keyboard.press("m")
    expect(part(page, "dc-dialog-name")).to_be_focused()
    page.keyboard.type(second[-2:])  # enough letters to tell it from the others
    page.keyboard.press("Enter")
    said(page, f"moved 3 images to '{second}'")
    assert sizes(dataset) == before | {first: before[first] - 3, second: before[second] + 3}
    expect(part(page, "dc-cluster-facts")).to_contain_text(f"{before[first] - 3} images")


def test_the_next_cluster_is_never_shown_with_images_of_the_last(board):
    page, dataset = board
    first, second, *_ = largest(dataset)
    open_cluster(page, first)
    waiting, held = [], True

    def hold(route):
        asked = json.loads(route.request.post_data or "{}").get("params", {})
        waiting.append(route) if held and asked.get("cluster") == second else route.continue_()

    page.route("**/operators/execute", hold)
    page.keyboard.press("]")
    expect(part(page, "dc-cluster-name")).to_have_text(second)
    expect(images(page)).to_have_count(0)
    page.keyboard.press("Space")
    expect(part(page, "dc-do-reject")).to_be_disabled()
    held = False
    for route in waiting:
        route.continue_()
    expect(images(page).first).to_be_visible()
    shown = {cell.get_attribute("data-cy").removeprefix("dc-image-") for cell in images(page).all()}
    assert shown <= {*dataset.match({"dc.label": second}).values("id")}
    expect(page.locator('[data-selected="true"]')).to_have_count(0)


def test_images_are_rejected_by_mouse_and_come_back(board):
    page, dataset = board
    first, *_ = largest(dataset)
    before = sizes(dataset)
    open_cluster(page, first)
    images(page).nth(0).click()
    images(page).nth(4).click(modifiers=["Shift"])
    expect(page.locator('[data-selected="true"]')).to_have_count(5)
    part(page, "dc-do-reject").click()
    said(page, "rejected 5 images")
    assert sizes(dataset) == before | {first: before[first] - 5, "noise": 5}
    part(page, "dc-back").click()
    open_cluster(page, "noise")
    page.keyboard.press("Control+a")
    part(page, "dc-do-move").click()
    part(page, "dc-dialog-name").fill(first)
    part(page, "dc-dialog-ok").click()
    said(page, f"moved 5 images to '{first}'")
    assert sizes(dataset) == before


def test_a_rectangle_drawn_with_the_mouse_selects(board):
    page, dataset = board
    open_cluster(page, largest(dataset)[0])
    box = images(page).nth(0).bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 1.5 * box["width"], box["y"] + 1.5 * box["height"], steps=5)
    page.mouse.up()
    expect(page.locator('[data-selected="true"]')).to_have_count(4)


def test_a_cluster_is_split_after_a_preview(board):
    page, dataset = board
    first, *_ = largest(dataset)
    parts = review(dataset, "dc").preview_split(first, 3)
    before = sizes(dataset)
    open_cluster(page, first)
    waiting, held = [], True

    def hold(route):
        asked = json.loads(route.request.post_data or "{}").get("params", {})
        waiting.append(route) if held and asked.get("n_clusters") == 3 else route.continue_()

    page.route("**/operators/execute", hold)
    page.keyboard.press("s")
    expect(part(page, "dc-dialog-number")).to_be_focused()
    page.keyboard.type("3")
    page.keyboard.press("Enter")  # before the preview is there
    expect(part(page, "dc-split-state")).to_have_text("Computing the preview…")
    held = False
    for route in waiting:
        route.continue_()
    for piece in parts:
        expect(part(page, "dc-form-split")).to_contain_text(f"{piece.size} images")
    expect(part(page, "dc-dialog-ok")).to_have_text("Split into 3")
    assert sizes(dataset) == before
    page.keyboard.press("Enter")
    said(page, f"split '{first}' into")
    after = sizes(dataset)
    assert [after[name] for name in (first, "cluster-05", "cluster-06")] == [part.size for part in parts]
    # neither the dialog nor the focus has moved the page of the App
    scrolled = "at => { let sum = 0; for (; at; at = at.parentElement) sum += at.scrollTop; return sum; }"
    assert part(page, "dc-board").evaluate(scrolled) == 0


def test_a_cluster_is_joined_with_the_nearest(board):
    page, dataset = board
    first, *_ = largest(dataset)
    before = sizes(dataset)
    open_cluster(page, first)
    nearest = re.search(r"nearest: (\S+)", part(page, "dc-cluster-facts").inner_text()).group(1)
    page.keyboard.press("j")
    expect(part(page, "dc-dialog-name")).to_have_value(nearest)
    expect(part(page, "dc-dialog-ok")).to_be_enabled()
    page.keyboard.press("Enter")
    said(page, "merged")
    assert sizes(dataset)[first] == before[first] + before[nearest]
    assert nearest not in sizes(dataset)


def test_from_the_first_cluster_to_labels_by_keyboard_alone(board):
    """Name and review every cluster, largest first; then write the names to a field."""
    page, dataset = board
    names = ["eight", "one", "three", "six", "zero"]
    page.keyboard.press("Enter")
    for number, name in enumerate(names):
        old = part(page, "dc-cluster-name").inner_text()
        page.keyboard.press("n")
        expect(part(page, "dc-dialog-name")).to_be_focused()
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        expect(part(page, "dc-cluster-name")).to_have_text(name)
        assert old not in sizes(dataset)
        page.keyboard.press("Enter")
        expect(part(page, "dc-progress")).to_contain_text(f"{number + 1} of 5 clusters")
    expect(part(page, "dc-progress")).to_contain_text("200 of 200 images reviewed")
    expect(part(page, "dc-overview")).to_be_visible()
    page.keyboard.press("l")
    field = part(page, "dc-dialog-name")
    expect(field).to_be_focused()
    field.fill("digit")
    expect(part(page, "dc-dialog-ok")).to_have_text("Write 200 labels")
    page.keyboard.press("Enter")
    said(page, "wrote the names of 5 clusters to 'digit'")
    dataset.reload()
    assert dataset.count_values("digit.label") == sizes(dataset)
    assert sorted(sizes(dataset)) == sorted(names)


def test_labels_that_are_there_are_kept_and_counted_first(board):
    page, dataset = board
    labels = dataset.values("ground_truth.label")
    review(dataset, "dc").rename(largest(dataset)[0], "my eight")
    page.reload()
    expect(part(page, "dc-cluster-my eight")).to_be_visible()
    choose(page, "dc-label-field", "ground_truth")
    part(page, "dc-commit").click()
    row = part(page, "dc-commit-table").locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_have_text(re.compile(r"my eightmy eight0\d+"))
    expect(part(page, "dc-dialog-ok")).to_be_disabled()
    assert dataset.values("ground_truth.label") == labels


def test_polls_are_not_shown_as_work(board):
    page, _ = board
    spinner = '[data-cy="panel-tab-clusters"] [role="progressbar"]'
    answered(page, "poll")
    expect(page.locator(spinner)).to_have_count(0)  # what opening the panel has asked is answered
    page.evaluate(
        """(spinner) => {
            window.spins = 0;
            const count = () => { window.spins += document.querySelectorAll(spinner).length; };
            new MutationObserver(count).observe(document.body, {childList: true, subtree: true});
        }""",
        spinner,
    )
    answered(page, "poll")
    answered(page, "poll")
    assert page.evaluate("window.spins") == 0
    part(page, "dc-clusters").press("Enter")
    expect(part(page, "dc-cluster-name")).to_be_visible()
    assert page.evaluate("window.spins") > 0


def test_closing_the_tab_is_asked_about_only_while_an_edit_is_on_its_way(board):
    page, dataset = board
    first, *_ = largest(dataset)
    waiting, asked = [], []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))

    def hold(route):
        method = json.loads(route.request.post_data or "{}").get("params", {}).get("__method__")
        waiting.append(route) if method == "edit" else route.continue_()

    page.route("**/operators/execute", hold)
    page.keyboard.press("n")
    expect(part(page, "dc-dialog-name")).to_be_focused()
    page.keyboard.type("not lost")
    page.keyboard.press("Enter")
    expect(part(page, "dc-foot")).to_contain_text("Saving…")
    with page.expect_event("dialog"):
        page.close(run_before_unload=True)
    assert asked == ["beforeunload"]
    assert first in sizes(dataset)
    for route in waiting:
        route.continue_()
    said(page, "renamed")
    assert "not lost" in sizes(dataset)
    with page.expect_event("close"):
        page.close(run_before_unload=True)
    assert asked == ["beforeunload"]


def test_what_another_person_does_is_seen_within_seconds(board, open_app):
    page, dataset = board
    *_, smallest = largest(dataset)
    review(dataset, "dc", user="another").rename(smallest, "by another")
    expect(part(page, "dc-cluster-by another")).to_be_visible()
    page.keyboard.press("n")
    page.keyboard.type("by me")
    page.keyboard.press("Enter")
    expect(part(page, "dc-cluster-by me")).to_be_visible()
    assert {"by me", "by another"} <= set(sizes(dataset))
    assert [edit.who == "another" for edit in review(dataset, "dc").log()] == [True, False]


def test_a_label_field_shows_which_clusters_are_mixed(board):
    page, dataset = board
    choose(page, "dc-label-field", "ground_truth")
    first, *_ = largest(dataset)
    counts = dataset.match({"dc.label": first}).count_values("ground_truth.label")
    share = max(counts.values()) / sum(counts.values())
    expect(part(page, f"dc-cluster-{first}")).to_contain_text(f"{round(100 * share)} %")
    choose(page, "dc-order", "Most mixed first")
    rows = page.locator('[data-cy^="dc-cluster-cluster"]')
    tops = [int(re.search(r"(\d+) %", text).group(1)) for text in rows.all_inner_texts()]
    assert tops == sorted(tops)


def test_rounds_and_comparison(board_over_grid):
    page, dataset = board_over_grid
    part(page, "dc-tab-rounds").click()
    expect(part(page, "dc-facts")).to_contain_text("200 images · 5 clusters")
    part(page, "dc-tab-compare").click()
    choose(page, "dc-compare-with", "ground_truth")
    expect(part(page, "dc-agreement")).to_contain_text("ARI")
    first, *_ = largest(dataset)
    counts = dataset.match({"dc.label": first}).count_values("ground_truth.label")
    label, count = max(counts.items(), key=lambda item: item[1])
    cell = part(page, f"dc-cell-{first}-{label}")
    expect(cell).to_have_text(str(count))
    cell.click()
    expect(part(page, "entry-counts")).to_have_text(f"{count} samples")


def test_a_cluster_in_the_grid(board_over_grid):
    page, dataset = board_over_grid
    first, *_ = largest(dataset)
    page.keyboard.press("g")
    expect(part(page, "entry-counts")).to_have_text(f"{sizes(dataset)[first]} samples")
