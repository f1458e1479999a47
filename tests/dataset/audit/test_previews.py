"""Previews of a label review: what accepting suggestions and writing labels would change."""

from __future__ import annotations

import pytest

from fiftyone_deepcluster.errors import InputError


def test_a_preview_of_what_is_written(audited, review):
    items = review.queue(4)["items"]
    nothing = {"n": 0, "pairs": [], "n_as_given": 0, "n_kept": 0, "n_replaced": 0, "made_field": False}
    assert review.preview_commit() == nothing
    assert review.preview_commit("corrected") == {
        "n": 300,
        "pairs": [],
        "n_as_given": 300,
        "n_kept": 0,
        "n_replaced": 0,
        "made_field": True,
    }
    review.decide(items[0]["id"], "accept")
    review.decide(items[1]["id"], "other", label="ten")
    review.decide(items[2]["id"], "exclude")
    pairs = [
        {"given": items[0]["given"], "label": items[0]["suggestion"], "n": 1},
        {"given": items[1]["given"], "label": "ten", "n": 1},
    ]
    found = review.preview_commit()
    assert (found["n"], found["n_as_given"]) == (review.commit(dry_run=True).n_changed, 0) == (2, 0)
    assert sorted(found["pairs"], key=str) == sorted(pairs, key=str)
    found = review.preview_commit("corrected")
    assert (found["n"], found["n_as_given"]) == (299, 297)
    review.commit("corrected")
    assert review.preview_commit("corrected") == nothing
    with pytest.raises(InputError, match="belongs to a run"):
        review.preview_commit("audit_given")


def test_all_above_a_probability_of_one_cell(audited, review):
    given, suggestion, n = review.tables()["left"][0]
    preview = review.preview_above(0.5, given=given, suggestion=suggestion)
    assert preview["pairs"] == [{"given": given, "suggestion": suggestion, "n": n}]
    assert review.accept_above(0.5, given=given, suggestion=suggestion).n_changed == n
    assert audited.count_values("audit_decision") == {f"accept: {suggestion}": n, None: 300 - n}
    with pytest.raises(InputError, match="filter='no such' is not known"):
        review.accept_above(0.5, **{"no such": "x"})
