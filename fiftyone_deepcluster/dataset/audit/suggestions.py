"""Undecided labels with a suggestion that are at least as suspicious as a given one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.dataset.audit.queue import QueueFilter, find_documents, items_of
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiftyone_deepcluster.dataset.audit.audit import Audit


def suggestions_above(audit: Audit, p_wrong: float, wanted: QueueFilter) -> list[dict[str, Any]]:
    """Documents of the labels, the most suspicious first.

    Raises:
        InputError: not a probability, or no such label.
    """
    least = arguments.share_of("p_wrong", p_wrong, "1")
    check_there(audit)
    conditions = {"rank": {"$gte": 0}, "decision": None, "suggestion": {"$ne": None}}
    found = find_documents(audit, {**conditions, **wanted.conditions(), "p_wrong": {"$gte": least}})
    if not found:
        raise InputError(f"p_wrong={least}: no undecided label with a suggestion is as suspicious; lower it")
    return found


def preview(audit: Audit, found: Sequence[dict[str, Any]], n: int, seed: int) -> dict[str, Any]:
    """JSON values, see ``LabelReview.preview_above``."""
    pairs = Counter((item["given"], item["suggestion"]) for item in found)
    drawn = rng(seed, "preview").permutation(len(found))[:n].tolist()
    ordered = sorted(pairs.items(), key=lambda entry: (-entry[1], entry[0]))
    return {
        "n": len(found),
        "pairs": [{"given": one, "suggestion": other, "n": count} for (one, other), count in ordered],
        "sample": items_of(audit, [found[row] for row in sorted(drawn)]),
    }
