"""Events of the Clusters panel, as the App sends them."""

from __future__ import annotations

import json
import threading
import time
import uuid

import pytest

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.panels import event_order, model
from fiftyone_deepcluster.app.panels.clusters import ClustersPanel
from fiftyone_deepcluster.app.panels.hooks import event
from fiftyone_deepcluster.app.panels.model import N_EXEMPLARS, _shown_key
from fiftyone_deepcluster.app.panels.sections import table
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.runs import status
from fiftyone_deepcluster.dataset.runs.run import load_run

LEARNED = {"n_clusters": 4, "rounds": 2, "image_size": 16, "min_steps": 1}
LEARNED |= {"progress": False, "compute_brain": False, "baselines": False}


class Fails(Silent):
    """Raises an error after the first round of a run."""

    def round_done(self, entry, rounds):
        raise OSError("the disk is full")


class Screen:
    """The panel with its state as kept by a browser."""

    def __init__(self, dataset, make_context, state=None):
        self.dataset, self.make_context, self.state = dataset, make_context, dict(state or {})
        self.panel_id = uuid.uuid4().hex
        self.calls: list[tuple[str, dict]] = []

    def context(self, event, **params):
        given = {"panel_id": self.panel_id, "panel_state": self.state, "__method__": event, **params}
        return self.make_context(self.dataset, given)

    def send(self, event, **params):
        self.dataset.reload()
        ctx = self.context(event, **params)
        ClustersPanel().execute(ctx)
        sent = ctx.executor.to_json()["requests"]
        json.dumps(sent)
        self.calls = [(item["operator_uri"], item["params"]) for item in sent]
        self.state = ctx.panel_state
        return self

    @property
    def drawn(self):
        return next(params for uri, params in reversed(self.calls) if uri == "show_panel_output")["output"][
            "type"
        ]["properties"]

    def called(self, uri):
        return [params for known, params in self.calls if known == uri]

    @property
    def rows(self):
        return self.drawn["table"]["default"]["rows"]


@pytest.fixture
def screen(clustered, make_context):
    return Screen(clustered, make_context).send("on_load")


def test_without_a_run_it_says_what_to_do(digits_dataset, make_context):
    screen = Screen(digits_dataset, make_context).send("on_load")
    assert list(screen.drawn) == ["empty"]
    screen.send("on_new")
    assert screen.called("prompt_user_for_operation")[0]["operator_uri"] == names.CLUSTER_IMAGES


def test_it_opens_on_the_newest_run(screen, clustered):
    assert screen.drawn["bar"]["type"]["properties"]["run"]["default"] == "dc"
    assert "frozen" in screen.drawn["summary"]["type"]["properties"]["facts"]["default"]
    assert len(screen.rows) == 5
    assert screen.called("patch_panel_state") == []
    assert "timer" not in screen.drawn


def test_table_is_sorted_by_its_titles(screen):
    sizes = [int(row[1]) for row in screen.rows]
    assert sizes == sorted(sizes, reverse=True)
    names_ = [row[0] for row in screen.send("on_cell", row=-1, column=0).rows]
    assert names_ == sorted(names_)
    assert [row[0] for row in screen.send("on_cell", row=-1, column=0).rows] == names_[::-1]


def test_a_late_event_does_not_undo_a_click(screen):
    """A dropdown sends its event before the browser has received the response to a click on a header."""
    screen.send("on_cell", row=-1, column=0)
    by_name = [row[0] for row in screen.rows]
    late = Screen(screen.dataset, screen.make_context)
    late.panel_id = screen.panel_id
    assert [row[0] for row in late.send("on_run").rows] == by_name
    assert late.state["sort"] == "name"
    assert [row[0] for row in screen.send("on_cell", row=-1, column=0).rows] == by_name[::-1]

    opened_anew = Screen(screen.dataset, screen.make_context)
    opened_anew.panel_id = screen.panel_id
    assert [row[0] for row in opened_anew.send("on_load").rows] not in (by_name, by_name[::-1])


def test_a_row_is_the_one_that_was_seen(screen):
    """A click on a row sent before the new order is rendered refers to the old order."""
    seen = [row[0] for row in screen.rows]
    before = dict(screen.state)
    assert [row[0] for row in screen.send("on_cell", row=-1, column=0).rows] != seen
    screen.state = before
    screen.send("on_cell", row=0, column=0)
    assert screen.state["cluster"] == seen[0]
    assert screen.state["sort"] == "name"


def test_of_events_that_wait_the_last_one_draws(screen, monkeypatch):
    """Earlier responses would be overwritten."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(panel, ctx):
        begun.set()
        assert go_on.wait(30)

    monkeypatch.setattr(ClustersPanel, "on_run", event(slow))
    first, second = (Screen(screen.dataset, screen.make_context) for _ in range(2))
    first.panel_id = second.panel_id = screen.panel_id
    earlier = threading.Thread(target=first.send, args=("on_run",))
    later = threading.Thread(target=second.send, args=("on_cell",), kwargs={"row": -1, "column": 0})
    earlier.start()
    assert begun.wait(30)
    later.start()
    while not event_order._events(first.context("on_run")).waiting:
        time.sleep(0.01)
    go_on.set()
    earlier.join(30)
    later.join(30)
    assert first.called("show_panel_output") == []
    assert [row[0] for row in second.rows] == sorted(row[0] for row in second.rows)


def test_many_clusters_come_in_pages_and_are_found_by_name(screen, monkeypatch):
    monkeypatch.setattr(model, "ROWS_A_PAGE", 2)
    monkeypatch.setattr(table, "ROWS_A_PAGE", 2)
    monkeypatch.setattr(table, "_SEARCHED_FROM", 4)
    everything = [row[0] for row in screen.rows]
    seen = []
    for page in range(3):
        screen.state["find"] = {"page": str(page)}
        seen += [row[0] for row in screen.send("on_typed").rows]
    assert seen == everything
    assert screen.drawn["extent"]["default"] == "5 to 5 of 5 clusters"
    pages = screen.drawn["find"]["type"]["properties"]["page"]
    assert pages["type"]["values"] == ["0", "1", "2"]
    screen.send("on_cell", row=0, column=0)
    assert screen.state["cluster"] == everything[4]
    assert screen.drawn["table"]["default"]["selectedRows"] == [0]

    screen.state["find"] = {"name": " R-03", "page": "2"}
    assert [row[0] for row in screen.send("on_typed").rows] == ["cluster-03"]
    assert screen.drawn["extent"]["default"] == "1 to 1 of 1 found, of 5 clusters"
    assert "page" not in screen.drawn["find"]["type"]["properties"]
    screen.send("on_cell", row=0, column=0)
    assert screen.state["cluster"] == "cluster-03"
    screen.state["find"] = {"name": "nothing of the kind"}
    assert screen.send("on_typed").rows == []
    assert screen.drawn["extent"]["default"] == "No match among 5 clusters"


def test_few_clusters_need_no_search(screen):
    assert "find" not in screen.drawn


def test_what_an_interrupted_run_left_can_be_deleted_from_the_panel(make_digits, make_context):
    dataset = make_digits(40)
    with pytest.raises(OSError, match="disk is full"):
        cluster(dataset, "deepcluster", "dc", observer=Fails(), **LEARNED)
    screen = Screen(dataset, make_context).send("on_load")
    failure = screen.drawn["failure"]["type"]["properties"]
    assert {"why", "resume", "delete"} <= set(failure)
    screen.send("on_delete_run")
    prompt = screen.called("prompt_user_for_operation")[0]
    assert (prompt["operator_uri"], prompt["params"]) == (names.DELETE_CLUSTERING_RUN, {"key": "dc"})


def test_a_click_shows_the_cluster(screen, clustered):
    name, size, *_ = screen.rows[2]
    screen.send("on_cell", row=2, column=0)
    assert screen.drawn["table"]["default"]["selectedRows"] == [2]
    assert len(screen.called("set_view")) == 1
    assert len(load_run(clustered, "dc").cluster_view(name)) == int(size)
    pictures = screen.drawn["gallery"]["type"]["properties"]
    assert len(pictures) == min(N_EXEMPLARS, int(size))
    screen.send("on_image", id="abc")
    assert screen.called("open_sample")[0]["id"] == "abc"


def test_random_images_stand_beside_the_nearest(screen, clustered):
    name, size, *_ = screen.rows[0]
    assert int(size) > N_EXEMPLARS
    screen.send("on_cell", row=0, column=0)
    inside = set(load_run(clustered, "dc").cluster_view(name).values("id"))
    nearest, first = ids_in(screen, "gallery"), ids_in(screen, "random")
    assert len(set(first)) == N_EXEMPLARS
    assert set(first) <= inside
    assert first != nearest

    assert ids_in(screen.send("on_tick"), "random") == first, "drawn with a fixed seed"
    others = ids_in(screen.send("on_draw_others"), "random")
    assert others != first
    assert set(others) <= inside
    screen.send("on_cell", row=0, column=0)
    assert ids_in(screen, "random") == first, "a selected cluster first shows the same images"


def test_of_a_small_cluster_all_images_are_the_nearest(screen, monkeypatch):
    monkeypatch.setattr(model, "N_EXEMPLARS", 200)
    screen.send("on_cell", row=0, column=0)
    assert len(ids_in(screen, "gallery")) == int(screen.rows[0][1])
    assert "random" not in screen.drawn


def ids_in(screen, gallery):
    pictures = screen.drawn[gallery]["type"]["properties"].values()
    return [picture["view"]["params"]["id"] for picture in pictures]


def test_objects_are_shown_by_what_lies_in_their_boxes(make_digits, make_context):
    import fiftyone as fo

    dataset = make_digits(8)
    for sample in dataset.iter_samples(autosave=True):
        halves = [fo.Detection(label="half", bounding_box=[x, 0, 0.5, 1]) for x in (0, 0.5)]
        sample["objects"] = fo.Detections(detections=halves)
    cluster(
        dataset.to_patches("objects"), "frozen", "dc", n_clusters=2, baselines=False, compute_brain=False,
        progress=False,
    )  # fmt: skip
    screen = Screen(dataset, make_context).send("on_load").send("on_cell", row=0, column=0)
    pictures = screen.drawn["gallery"]["type"]["properties"].values()
    cuts = {item["view"]["componentsProps"]["image"]["style"]["objectViewBox"] for item in pictures}
    assert cuts <= {"inset(0.00% 50.00% 0.00% 0.00%)", "inset(0.00% 0.00% 0.00% 50.00%)"}
    ids = {item["view"]["params"]["id"] for item in pictures}
    assert ids <= set(dataset.values("objects.detections.id", unwind=True))


def test_rename(screen, clustered):
    screen.send("on_cell", row=0, column=0)
    screen.state["edits"] = {"rename": {"name": "zero"}}
    screen.send("on_rename")
    assert screen.rows[0][0] == "zero"
    assert screen.state["cluster"] == "zero"
    assert screen.state["edits"]["rename"]["name"] == ""
    assert "zero" in screen.drawn["history"]["type"]["properties"]["log"]["default"]


def test_merge_then_undo(screen, clustered):
    before = clustered.count_values("dc.label")
    one, two = screen.rows[0][0], screen.rows[1][0]
    screen.state["edits"] = {"merge": {"clusters": [one, two]}}
    screen.send("on_merge")
    assert len(screen.rows) == 4
    screen.send("on_undo")
    assert len(screen.rows) == 5
    assert clustered.count_values("dc.label") == before


def test_label_shows_the_count_first(screen, clustered):
    _name, size, *_ = screen.send("on_cell", row=0, column=0).rows[0]
    screen.state["edits"] = {"label": {"field": "person", "text": "zero"}}
    preview = screen.send("on_typed").drawn["edits"]["type"]["properties"]["preview"]["default"]
    assert f"{size} images would change" in preview
    assert not clustered.has_field("person")
    screen.send("on_label")
    clustered.reload()
    assert clustered.count_values("person.label")["zero"] == int(size)


def test_errors_become_notices(screen):
    screen.state["edits"] = {"merge": {"clusters": []}}
    screen.send("on_merge")
    assert screen.called("notify")[0]["variant"] == "error"
    assert len(screen.rows) == 5


def test_a_waiting_run_shows_and_can_be_cancelled(digits_dataset, make_context):
    status.queue(digits_dataset, "later", "deepcluster", 10)
    screen = Screen(digits_dataset, make_context).send("on_load")
    shown = screen.drawn["live"]["type"]["properties"]
    assert names.WORKER_COMMAND in shown["queued"]["default"]
    assert "timer" in screen.drawn
    screen.send("on_cancel")
    assert screen.called(names.CANCEL_CLUSTERING)[0] == {"key": "later"}


def test_which_run_is_shown():
    busy = status.LiveState("b", "running")
    assert _shown_key("a", ["a", "b"], {}) == "a"
    assert _shown_key("gone", ["a", "b", "c"], {"b": busy}) == "b"
    assert _shown_key(None, ["a", "b"], {}) == "b"
    assert _shown_key(None, ["a", "broken"], {}, ["a"]) == "a"
    assert _shown_key(None, [], {}) is None
