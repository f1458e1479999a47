"""The real App in a real browser, against a real server and database."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import fiftyone as fo
import numpy as np
import pytest
from playwright.sync_api import TimeoutError as BrowserTimeout
from playwright.sync_api import expect

from fiftyone_deepcluster.app.option_fields import first_line
from fiftyone_deepcluster.cli.launch import free_port
from fiftyone_deepcluster.core.record import StopReason
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.display.workspace import CLUSTERS_PANEL, clusters_beside_the_grid
from fiftyone_deepcluster.dataset.results.categories import build_tree
from fiftyone_deepcluster.dataset.results.numbers import recommend_number, sweep_of_fields
from fiftyone_deepcluster.dataset.runs import queue, status
from fiftyone_deepcluster.dataset.runs.run import list_runs, load_run
from fiftyone_deepcluster.methods.base import METHODS
from tests.app.limits import LONG

expect.set_options(timeout=LONG)

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]


def part(page, name):
    return page.locator(f'[data-cy="{name}"]')


def samples(page):
    return part(page, "entry-counts")


def open_form(page, label):
    """Open an operator's form from the operator browser."""
    page.keyboard.press("`")
    part(page, "operators-browser-search").fill(label)
    part(page, "operators-browser").get_by_text(label, exact=True).click()
    form = page.get_by_role("dialog")
    form.wait_for()
    return form


def typed_in(form, label):
    """The input below a label."""
    return form.locator(f'xpath=.//p[normalize-space(.)="{label}"]/ancestor::div[.//input][1]//input').first


def show_advanced(form):
    """Check the box; retry if a late response to an earlier change removed the options."""
    box = form.get_by_label("Show advanced options")
    for _ in range(4):
        box.check()
        try:
            return form.get_by_label(re.compile("^Baselines")).wait_for(timeout=15_000)
        except BrowserTimeout:
            box.uncheck()
    return box.check()


def open_panel(page, name=CLUSTERS_PANEL):
    option = part(page, f"new-panel-option-{name}")
    for _ in range(6):
        part(page, "new-panel-btn").first.click()
        try:
            option.wait_for(timeout=8_000)
            break
        except BrowserTimeout:
            page.keyboard.press("Escape")
    option.click()
    part(page, f"panel-content-{name}").wait_for()


def row(page, name):
    """A cluster in the overview of the panel."""
    return part(page, f"dc-cluster-{name}")


def rows(page):
    return part(page, "dc-overview").locator('[data-cy^="dc-cluster-"]')


def choose_method(page, form, method):
    form.get_by_role("combobox").filter(has_text="auto").first.click()
    page.locator(f'li[data-value="{method}"]').click()
    # its inputs come with its description: what is typed before goes to the inputs of the other method
    expect(form.get_by_text(first_line(METHODS.get(method)))).to_be_visible()


def execute(form):
    """Submit a form; it closes at once."""
    button = form.get_by_role("button", name="Execute", exact=True)
    expect(button).to_be_enabled()
    button.click()
    expect(form).to_have_count(0)


def test_from_the_form_to_the_clusters(open_app, make_digits):
    """Form -> background -> field in the sidebar -> panel -> a cluster in the grid and in the database."""
    dataset = make_digits(60, persistent=True)
    page = open_app(dataset)
    expect(samples(page)).to_have_text("60 samples")
    form = open_form(page, "Cluster images")
    choose_method(page, form, "deepcluster")
    typed_in(form, "Number of clusters").fill("1")
    expect(form.get_by_text("needs 2 or more")).to_be_visible()
    expect(form.get_by_role("button", name="Execute", exact=True)).to_be_disabled()
    typed_in(form, "Number of clusters").fill("6")
    typed_in(form, "Rounds").fill("3")
    show_advanced(form)
    form.get_by_label(re.compile("^Baselines")).uncheck()
    form.get_by_label(re.compile("^Also compute a 2-D map")).uncheck()
    typed_in(form, "Name").fill("seen")
    execute(form)

    expect(part(page, "dc-run-seen")).to_be_visible()
    expect(part(page, "sidebar-field-container-seen")).to_be_visible()
    expect(part(page, "dc-progress")).to_contain_text("0 of 60 images reviewed")
    expect(rows(page)).to_have_count(6)

    dataset.reload()
    run = load_run(dataset, "seen")
    assert (run.record.method, len(run.rounds)) == ("deepcluster", 3)
    info = run.clusters()[1]
    row(page, info.name).click()
    expect(part(page, "dc-cluster-facts")).to_contain_text(f"{info.size} images")
    part(page, "dc-do-show_in_grid").click()
    expect(samples(page)).to_have_text(f"{info.size} samples")
    assert dataset.count_values("seen.label")[info.name] == info.size


IN_GROUP_DC = """field => {
    const top = (element) => element?.getBoundingClientRect().top;
    const row = top(document.querySelector(`[data-cy="sidebar-field-container-${field}"]`));
    const heads = [...document.querySelectorAll('[data-cy^="sidebar-group-entry-"]')];
    const above = heads.filter((head) => top(head) < row).sort((a, b) => top(b) - top(a));
    return above[0]?.dataset.cy === "sidebar-group-entry-DC";
}"""
"""Whether the row of a field in the sidebar is in the group of the run "dc"."""


def test_a_run_is_deleted_from_the_panel(open_app, clustered):
    page = open_app(clustered)
    open_panel(page)
    expect(rows(page)).to_have_count(5)
    page.wait_for_function(IN_GROUP_DC, arg="dc_embedding")  # vectors, too, and not under OTHER
    part(page, "dc-tab-runs").click()
    part(page, "dc-run-dc").get_by_role("button", name="Delete", exact=True).click()
    form = page.get_by_role("dialog")
    expect(form.get_by_text("dc_embedding")).to_be_visible()
    delete = form.get_by_role("button", name="Delete", exact=True)
    expect(delete).to_be_disabled()
    form.get_by_role("checkbox").check()
    expect(delete).to_be_enabled()
    delete.click()
    expect(part(page, "sidebar-field-container-dc")).to_have_count(0)
    expect(part(page, "dc-empty")).to_be_visible()
    clustered.reload()
    assert list_runs(clustered) == []


def test_a_run_at_work_shows_in_the_panel_and_can_be_cancelled(open_app, make_digits):
    """The panel shows the rounds of a run started by a script, and cancels it."""
    import threading

    dataset = make_digits(60, persistent=True)

    def work():
        cluster(
            dataset,
            "deepcluster",
            "far",
            n_clusters=5,
            rounds=2000,
            baselines=False,
            progress=False,
            compute_brain=False,
        )

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        page = open_app(dataset)
        open_panel(page)
        expect(part(page, "dc-run-far")).to_contain_text(re.compile(r"round \d+ of 2000"))
        expect(part(page, "dc-live-far")).to_contain_text("Loss")  # from the second round on
        part(page, "dc-cancel-far").click()
        expect(rows(page)).to_have_count(5)  # of the completed rounds
        part(page, "dc-tab-rounds").click()
        expect(part(page, "dc-resume")).to_be_visible()
        assert status.read_states(dataset)["far"].status == "cancelled"
    finally:
        queue.request_cancel(dataset, "far")
        thread.join(120)
    assert not thread.is_alive()
    assert load_run(dataset, "far").stop_reason == StopReason.CANCELLED


def test_a_click_on_the_tree_shows_the_images(open_app, make_digits):
    dataset = make_digits(60, persistent=True)
    quick = {"backbone": {"name": "small", "width": 8}, "min_steps": 10, "compute_brain": False}
    cluster(dataset, "deepcluster", "dc", n_clusters=6, rounds=1, baselines=False, progress=False, **quick)
    nodes = build_tree(dataset, "dc")
    page = open_app(dataset)
    open_panel(page)
    part(page, "dc-tab-analyses").click()
    expect(part(page, "dc-tree").locator('[data-cy^="dc-node-"]')).to_have_count(len(nodes))
    leaves = sorted((node for node in nodes if node.leaf), key=lambda node: node.size)
    for node in (leaves[0], leaves[-1]):
        part(page, f"dc-node-{node.name}").click()
        expect(samples(page)).to_have_text(f"{node.size} sample{'' if node.size == 1 else 's'}")


def test_the_recommended_number_of_clusters_is_drawn_in_the_panel_and_the_forms(open_app, clustered):
    page = open_app(clustered)
    open_panel(page)
    part(page, "dc-tab-analyses").click()
    part(page, "dc-analyses-again").wait_for()
    expect(part(page, "dc-number")).to_have_count(0)
    expect(part(page, "dc-no-analyses")).to_have_text(
        "This run has no analyses yet. Start one with a button above."
    )
    found = recommend_number(clustered, "dc", range(2, 8), repetitions=2, reducer="identity")
    advice = found.advice.removeprefix("recommended: ")
    part(page, "dc-analyses-again").click()
    expect(part(page, "dc-number")).to_have_text(f"Recommended: {advice}")
    expect(part(page, "dc-no-analyses")).to_have_count(0)
    curves = part(page, "dc-number-curves")
    expect(curves.locator("path")).to_have_count(6)
    expect(curves.locator("text").get_by_text("7", exact=True).first).to_be_visible()
    expect(part(page, "dc-chart-mark")).to_have_count(3)
    expect(part(page, "dc-chart-band")).to_have_count(3)
    part(page, "dc-start-recommend_number").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_text(advice)).to_be_visible()
    expect(form.locator(".js-plotly-plot .scatterlayer .trace")).to_have_count(5)
    page.keyboard.press("Escape")
    expect(form).to_have_count(0)
    expect(open_form(page, "Cluster images").get_by_text(advice)).to_be_visible()


def test_a_workspace_draws_the_grid_and_the_panel(open_app, clustered):
    clustered.save_workspace("clusters", clusters_beside_the_grid())
    page = open_app(clustered, query="?workspace=clusters")
    expect(rows(page)).to_have_count(5)
    expect(part(page, "looker").first).to_be_visible()


def wait_until_drawn(page):
    """Wait until the grid draws no more images: while it does, some may miss a change of colors."""
    drawn, before = 0, None
    while not drawn or drawn != before:
        page.wait_for_timeout(1000)
        drawn, before = page.locator('[data-cy="looker"] [data-cy^="tag-"]').count(), drawn


def colors_by_label(page, key, n_colors):
    """Background colors of the labels of a run on the images of the grid, by label, once there are ``n_colors``.

    The grid draws its images one after the other, so right after a change some have the earlier colors.
    """
    read = "tags => tags.map(tag => [tag.textContent, getComputedStyle(tag).backgroundColor])"
    end = time.monotonic() + LONG / 1000
    while True:
        pairs = {tuple(pair) for pair in part(page, f"tag-{key}").evaluate_all(read)}
        if len(pairs) == n_colors or time.monotonic() > end:
            return {label: {color for other, color in pairs if other == label} for label, _ in pairs}
        time.sleep(0.2)


def test_one_click_colors_the_grid_and_the_map_by_the_run_that_is_open(open_app, clustered):
    cluster(clustered, "frozen", "more", n_clusters=3, baselines=False, progress=False)
    panels = [
        fo.Panel(type="Samples", pinned=True),
        fo.Panel(type="Embeddings"),
        fo.Panel(type=CLUSTERS_PANEL),
    ]
    sides = [fo.Space(children=[panel], active_child=panel.component_id) for panel in panels]
    clustered.save_workspace("all", fo.Space(children=sides, orientation="horizontal"))
    page = open_app(clustered, query="?workspace=all")
    expect(rows(page)).to_have_count(3)
    expect(part(page, "embeddings-runs-page")).to_be_visible()
    wait_until_drawn(page)
    part(page, "dc-colors").click()
    for key, other, n_clusters in (("more", "dc", 3), ("dc", "more", 5)):
        expect(page.locator(".emb-plot-title")).to_contain_text(f"{key}_viz")
        expect(page.get_by_role("button", name="Color by")).to_contain_text(f"{key}.label")
        expect(part(page, f"tag-{key}").first).to_be_visible()
        expect(part(page, f"tag-{other}")).to_have_count(0)
        found = colors_by_label(page, key, n_clusters)
        assert set(found) == set(clustered.distinct(f"{key}.label"))
        assert {len(colors) for colors in found.values()} == {1}
        assert len(set.union(*found.values())) == n_clusters
        part(page, "dc-tab-runs").click()
        part(page, "dc-open-dc").click()


def test_the_open_command_shows_the_clusters_at_once(open_app, clustered):
    port = free_port(6151)
    command = [sys.executable, "-m", "fiftyone_deepcluster.cli", "open", clustered.name, "--port", str(port)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert any("App launched" in line for line in process.stdout)
        page = open_app(clustered, f"http://127.0.0.1:{port}")
        expect(rows(page)).to_have_count(5)
        expect(part(page, "looker").first).to_be_visible()
        page.context.close()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def test_several_fields_with_vectors_are_chosen_in_a_form(open_app, plugin, make_digits):
    dataset = make_digits(60, persistent=True)
    groups = np.eye(8)[np.arange(60) % 3] + 0.01 * np.random.default_rng(0).random((60, 8))
    dataset.set_values("clip", list(groups))
    dataset.set_values("dino", [None, *groups[1:, :4]])
    page = open_app(dataset)
    form = open_form(page, "Recommend number of clusters")
    expect(form.get_by_text("choose a field with vectors").first).to_be_visible()
    choice = typed_in(form, "Embeddings")
    for name in ("clip", "dino"):
        choice.click()
        page.get_by_role("option", name=name, exact=True).click()
    expect(form.get_by_text("1 of 60 images has no vector: left out")).to_be_visible()
    typed_in(form, "Largest number of clusters").fill("4")
    form.get_by_role("button", name="Recommend", exact=True).click()
    expect(form).to_have_count(0)
    part(page, "dc-tab-runs").click()
    expect(part(page, "dc-run-job-recommend_number")).to_contain_text("Recommended: 3 clusters")
    assert sweep_of_fields(dataset)[0] == ["clip", "dino"]
