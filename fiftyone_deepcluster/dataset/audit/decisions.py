"""Decisions of a person about labels, as stored in a string field, and the edits that store them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from fiftyone_deepcluster.core import arguments, words
from fiftyone_deepcluster.dataset.review.edit_log import Entry
from fiftyone_deepcluster.dataset.review.members import members_of
from fiftyone_deepcluster.dataset.review.names import clean_name
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fiftyone_deepcluster.dataset.audit.audit import Audit
    from fiftyone_deepcluster.dataset.review.old_values import Old

Verdict = Literal["keep", "accept", "other", "exclude", "unsure"]
"""The label is right; the suggestion is right; another class is right; the image must not be used; not decided."""

_BETWEEN = ": "
_NAMED = 3
"""Labels that the text of an edit names."""


@dataclass(frozen=True)
class Decision:
    """A decision about one label.

    Attributes:
        verdict: what was decided.
        label: the right label, for ``accept`` and ``other``.
    """

    verdict: Verdict
    label: str | None = None

    @property
    def text(self) -> str:
        """As stored: ``keep``, ``accept: cat`` ..."""
        return self.verdict if self.label is None else f"{self.verdict}{_BETWEEN}{self.label}"


def read_decision(text: object) -> Decision | None:
    """Decision from its stored text; None for other values, such as those that were typed by hand."""
    if not isinstance(text, str):
        return None
    verdict, between, label = text.partition(_BETWEEN)
    if verdict not in get_args(Verdict) or bool(between) != (verdict in ("accept", "other")):
        return None
    return Decision(verdict, label if between else None)  # type: ignore[arg-type]


def make_decision(verdict: str, label: object, suggestion: str | None, where: str = "") -> Decision:
    """Validate a decision.

    Args:
        verdict: a ``Verdict``.
        label: label for ``other``; for ``accept`` the suggestion is used.
        suggestion: suggestion for the image, or None.
        where: end of an error message, which names the image.

    Raises:
        InputError: no such verdict, ``other`` without a label, or ``accept`` without a suggestion.
    """
    arguments.one_of("decision", verdict, get_args(Verdict))
    if verdict == "accept":
        if suggestion is None:
            raise InputError(
                f"decision='accept': there is no suggestion{where}; use 'keep', or 'other' with the right label"
            )
        return Decision("accept", suggestion)
    if verdict == "other":
        if label is None:
            raise InputError(f"decision='other' needs the right label{where}; give label")
        return Decision("other", clean_name(str(label), "label"))
    return Decision(verdict)  # type: ignore[arg-type]


def decision_entry(audit: Audit, decided: Mapping[str, Decision], verb: str) -> tuple[Entry, list[Old]]:
    """The edit that stores decisions.

    Args:
        audit: the audit.
        decided: id of each image -> decision.
        verb: verb of the edit, for the log.

    Raises:
        InputError: none of the images belongs to the audit.
    """
    texts = sorted({decision.text for decision in decided.values()})
    number = {text: which for which, text in enumerate(texts)}
    found = members_of(audit, list(decided), audit.fields.path("decision"))
    olds = [replace(old, which=number[decided[str(old.image_id)].text]) for old in found]
    olds = [old for old in olds if old.value != texts[old.which]]
    counts = Counter(decided[str(old.image_id)] for old in olds)
    return Entry(verb, decisions_text(counts, audit.fields.counted), texts, value="decision"), olds


def decisions_text(counts: Mapping[Decision, int], counted: Callable[[int], str]) -> str:
    """What was decided, in words: ``kept 2 labels; accepted 9 suggestions: 5 'cat', 4 'dog'``.

    Args:
        counts: number of labels of each decision.
        counted: a number of images in words, such as ``3 images`` or ``3 objects``.
    """
    parts = []
    for verdict in get_args(Verdict):
        some = {decision.label: n for decision, n in counts.items() if decision.verdict == verdict}
        if some:
            parts.append(_verdict_text(verdict, some, counted))
    return "; ".join(parts) or "no decision changed"


def _verdict_text(verdict: Verdict, labels: Mapping[str | None, int], counted: Callable[[int], str]) -> str:
    n = sum(labels.values())
    if verdict == "exclude":
        return f"excluded {counted(n)}"
    if verdict in ("keep", "unsure"):
        return f"{'kept' if verdict == 'keep' else 'put aside'} {words.counted(n, 'label')}"
    one = next(iter(labels)) if len(labels) == 1 else None
    if verdict == "accept":
        return (
            f"accepted {one!r} for {words.counted(n, 'label')}"
            if one
            else f"accepted {_each('suggestion', labels)}"
        )
    return (
        f"decided {one!r} for {words.counted(n, 'label')}"
        if one
        else f"decided {_each('other label', labels)}"
    )


def _each(what: str, labels: Mapping[str | None, int]) -> str:
    """The number of labels, and of the most frequent ones."""
    ranked = sorted(labels.items(), key=lambda item: (-item[1], str(item[0])))
    shown = ranked if len(ranked) <= _NAMED + 1 else ranked[:_NAMED]
    parts = [f"{n:,} {label!r}" for label, n in shown]
    rest = sum(n for _, n in ranked[len(shown) :])
    if rest:
        parts.append(f"{rest:,} with other labels")
    return f"{words.counted(sum(labels.values()), what)}: {', '.join(parts)}"


def count_decisions(texts: Mapping[str, int]) -> dict[str, int]:
    """Number of decisions of each verdict, from the number of each stored text."""
    counts = dict.fromkeys(get_args(Verdict), 0)
    for text, n in texts.items():
        decision = read_decision(text)
        if decision is not None:
            counts[decision.verdict] += n
    return counts


def several_ids(samples: object) -> list[str]:
    """Ids of the images of a view, or the given ids; one id is a list of one.

    Raises:
        InputError: neither.
    """
    from fiftyone.core.collections import SampleCollection

    found: object = samples.values("id") if isinstance(samples, SampleCollection) else samples
    return list(dict.fromkeys(arguments.names("samples", found, "6650f1c2e4b0a1b2c3d4e5f6")))
