"""Values that a form refuses, typed into the real App: the sentence is shown, and the form cannot be submitted."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from fiftyone_deepcluster.dataset.review.review import review
from fiftyone_deepcluster.dataset.runs import status
from tests.app.limits import LONG
from tests.app.test_browser import open_form, typed_in

expect.set_options(timeout=LONG)

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_refinement_is_refused_until_its_values_are_valid(open_app, clustered):
    page = open_app(clustered)
    form = open_form(page, "Refine clustering")
    button = form.get_by_role("button", name=re.compile("^(Refine|Execute)$"))
    expect(form).to_contain_text("nothing of run 'dc' was reviewed")
    expect(button).to_be_disabled()
    page.keyboard.press("Escape")
    expect(form).to_have_count(0)

    review(clustered, "dc").mark_reviewed(["cluster-00"])
    form = open_form(page, "Refine clustering")
    expect(form).to_contain_text("1 of 5 clusters is reviewed")
    expect(button).to_be_enabled()
    for label, value, sentence in (
        ("Weight of reviewed images", "-1", "Weight of reviewed images -1: give a number above 0"),
        ("Rounds", "1000000000", "Rounds 1000000000: needs 1 or less"),
    ):
        typed_in(form, label).fill(value)
        expect(form).to_contain_text(sentence)
        expect(button).to_be_disabled()
        typed_in(form, label).fill("1")
        expect(button).to_be_enabled()
    assert set(status.read_states(clustered)) == {"dc"}
