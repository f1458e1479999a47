"""Names of clusters and labels: which characters they may contain."""

from __future__ import annotations

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.review.names import clean_name
from fiftyone_deepcluster.errors import InputError


@pytest.mark.parametrize(
    ("name", "character"),
    [
        ("ankle\u202etoob", "U+202E (RIGHT-TO-LEFT OVERRIDE)"),
        ("\u2066boot", "U+2066 (LEFT-TO-RIGHT ISOLATE)"),
        ("bo\u200bot", "U+200B (ZERO WIDTH SPACE)"),
        ("bo\u00adot", "U+00AD (SOFT HYPHEN)"),
        ("boot\ufeff", "U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
        ("a\u2028b", "U+2028 (LINE SEPARATOR)"),
        ("a\u2029b", "U+2029 (PARAGRAPH SEPARATOR)"),
        ("a\nb", "U+000A (a control character)"),
        ("a\x7fb", "U+007F (a control character)"),
        ("\u200dboot", "U+200D (ZERO WIDTH JOINER)"),
        ("boot\u200d", "U+200D (ZERO WIDTH JOINER)"),
        ("ankle \u200cboot", "U+200C (ZERO WIDTH NON-JOINER)"),
        ("bo\u200c\u200dot", "U+200C (ZERO WIDTH NON-JOINER)"),
    ],
)
def test_characters_that_cannot_be_seen_are_refused_by_name(name, character):
    with pytest.raises(InputError) as caught:
        clean_name(name, "new_name")
    assert f"contains the character {character}, which cannot be seen; give a name without it" in str(
        caught.value
    )
    assert "\u202e" not in str(caught.value), "it would reverse the message"


@pytest.mark.parametrize(
    "name",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a non-joiner
        "\u06f1\u06f0\u200c\u0633\u0627\u0644\u0647",  # Persian, after a number
        "\u0915\u094d\u200d\u0937",  # Devanagari, a joiner after a virama
        "\u0d05\u0d35\u0d28\u0d4d\u200d",  # Malayalam, at the end of the word
        "\U0001f469\u200d\U0001f680",  # an astronaut
        "\U0001f3f3\ufe0f\u200d\U0001f308",  # a flag
        "Stra\u00dfe \u2013 cafe\u0301",
    ],
)
def test_joiners_within_words_and_emoji_stay(name):
    assert clean_name(name, "new_name") == name


def test_every_verb_refuses_them(dataset):
    edits, name = fdc.review(dataset, "dc"), "boot\u202e"
    calls = [
        lambda: edits.rename("cluster-00", name),
        lambda: edits.merge(["cluster-00", "cluster-01"], into=name),
        lambda: edits.move([dataset.first().id], to=name),
        lambda: edits.label_cluster("cluster-00", "mine", name),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"U\+202E \(RIGHT-TO-LEFT OVERRIDE\)"):
            call()
    assert edits.log() == []
