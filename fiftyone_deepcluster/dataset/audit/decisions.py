"""What a person decides about a label, as stored in one string field, and drafts of such edits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.review.edit_log import Entry
from fiftyone_deepcluster.dataset.review.members import members_of
from fiftyone_deepcluster.dataset.review.names import clean_name
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fiftyone_deepcluster.dataset.audit.audit import Audit
    from fiftyone_deepcluster.dataset.review.old_values import Old

Verdict = Literal["keep", "accept", "other", "exclude", "unsure"]
"""The label is right; the suggestion is right; another class is right; the image must not be used; not decided."""

_BETWEEN = ": "


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
    """A checked decision.

    Args:
        verdict: a ``Verdict``.
        label: label for ``other``; for ``accept`` the suggestion is used.
        suggestion: suggestion for the image, or None.
        where: words that end an error message and say which image it is.

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
    what = texts[0] if len(texts) == 1 else f"{len(texts)} decisions"
    count = f"{len(olds):,} label{'' if len(olds) == 1 else 's'}"
    return Entry(verb, f"{what} for {count}", texts, value="decision"), olds


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
