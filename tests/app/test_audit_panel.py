"""Events of the tab Audit as its React component sends them: answers are JSON, bad ones are one sentence."""

from __future__ import annotations

import re

import fiftyone as fo
import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from tests.dataset.audit.conftest import break_labels

N = 120


@pytest.fixture
def labeled(plugin, make_digits):
    dataset = make_digits(N)
    dataset.add_sample_field("pixels", fo.VectorField)
    dataset.set_values("pixels", list(load_digits().data[:N].astype(np.float32)))
    labels, _ = break_labels(N)
    coarse = ["low" if label in ("zero", "one", "two", "three", "four") else "high" for label in labels]
    dataset.set_values("doubtful", [fo.Classification(label=label) for label in coarse])
    return dataset


@pytest.fixture
def ask(labeled, asker):
    fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels")
    return asker(labeled)


def test_without_an_audit(labeled, asker):
    ask = asker(labeled)
    assert ask("audit_load", audit=None) == {"audits": [], "audit": None}
    assert ask("audit_poll", audit=None, version=0)["audits"] == []
    assert ask("load", key=None, label_field=None)["audits"] == []
    ask("start", operator="audit_labels", key=None)
    assert list(ask.calls) == ["prompt_user_for_operation"]


def test_decisions_and_what_they_change(ask):
    loaded = ask("audit_load", audit=None)
    facts, version = loaded["audit"], loaded["history"]["version"]
    assert loaded["audits"] == ["audit"]
    assert (facts["classes"], facts["fields"][0], facts["run"]) == (["high", "low"], "doubtful", None)
    first, second = ask("audit_queue", audit="audit", n=2, first=None, wanted={}, count=True)["items"]
    assert first["path"] == ask.dataset[first["id"]].filepath
    decide = {"verb": "decide", "image": first["id"], "decision": "keep", "label": None}
    answer = ask("audit_edit", audit="audit", edit=decide, version=version)
    assert (answer["number"], answer["stale"], answer["progress"]["n_decided"]) == (1, False, 1)
    assert ask.calls == {}  # the grid is not loaded again for a decision
    fdc.review_labels(ask.dataset, user="another").decide(second["id"], "exclude")
    assert ask("audit_poll", audit="audit", version=answer["history"]["version"])["stale"]
    answer = ask("audit_edit", audit="audit", edit={"verb": "undo"}, version=answer["history"]["version"])
    assert (answer["number"], answer["stale"]) == (2, True)
    assert answer["change"]["text"] == "Undone: excluded 1 image"
    assert ask("audit_edit", audit="audit", edit={"verb": "redo"}, version=0)["number"] == 2
    assert ask("audit_queue", audit="audit", n=1, first=None, wanted={}, count=True)["total"] == N - 2
    assert ask("audit_refit", audit="audit") == {}
    assert list(ask.calls) == ["reload_samples"]
    assert ask("audit_poll", audit="audit", version=0)["n_fits"] == 2


def test_many_labels_and_a_field(ask):
    preview = ask("audit_preview_above", audit="audit", p_wrong=0.5, seed=0, wanted={"given": "low"})
    assert {pair["given"] for pair in preview["pairs"]} == {"low"}
    edit = {"verb": "accept_above", "p_wrong": 0.5, "wanted": {"given": "low"}}
    assert ask("audit_edit", audit="audit", edit=edit, version=0)["change"]["n_changed"] == preview["n"]
    found = ask("audit_preview_labels", audit="audit", field="doubtful")
    assert found["pairs"] == [{"given": "low", "label": "high", "n": preview["n"]}]
    answer = ask("audit_edit", audit="audit", edit={"verb": "commit", "field": "doubtful"}, version=0)
    assert answer["change"]["n_changed"] == preview["n"]
    assert list(ask.calls) == ["reload_samples"]


@pytest.mark.parametrize(
    ("event", "params", "message"),
    [
        ("audit_queue", {"audit": "no", "n": 1, "wanted": {}}, "has no label audit 'no'"),
        ("audit_queue", {"audit": 7, "n": 1, "wanted": {}}, "is not a string"),
        ("audit_queue", {"audit": "audit", "n": "x", "wanted": {}}, "is not a whole number"),
        (
            "audit_queue",
            {"audit": "audit", "n": 1, "wanted": {"$where": "x"}},
            "filter='\\$where' is not known",
        ),
        ("audit_queue", {"audit": "audit", "n": 1, "wanted": {"given": {"$ne": 1}}}, "given="),
        ("audit_queue", {"audit": "audit", "n": 1, "wanted": {}, "first": "x"}, "is not an id"),
        ("audit_edit", {"audit": "audit", "edit": {"verb": "drop"}}, "give a verb"),
        (
            "audit_edit",
            {"audit": "audit", "edit": {"verb": "decide", "decision": "keep"}},
            "samples or group",
        ),
        ("audit_edit", {"audit": "audit", "edit": {"verb": "accept_above", "p_wrong": "x"}}, "p_wrong="),
        ("audit_preview_above", {"audit": "audit", "p_wrong": {"$gt": 0}, "seed": 0}, "p_wrong="),
        (
            "audit_preview_above",
            {"audit": "audit", "p_wrong": 1.0, "seed": 0, "wanted": 7},
            "is not an object",
        ),
        ("audit_preview_labels", {"audit": "audit", "field": "audit_given"}, "belongs to a run"),
        ("start", {"operator": "drop", "key": None}, "give one of"),
    ],
)
def test_events_that_the_tab_does_not_send(ask, event, params, message):
    answer = ask.send(event, **params)
    assert "message" in answer, answer
    assert re.search(message, answer["message"]), answer
    assert fdc.review_labels(ask.dataset).log() == []
