"""Edits of a run or decisions of an audit: a run that has some is neither replaced nor resumed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.dataset.io.fields import has_values
from fiftyone_deepcluster.dataset.review.edit_log import EditLog
from fiftyone_deepcluster.dataset.runs import storage
from fiftyone_deepcluster.errors import RunExistsError

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.io.layouts import RunKind

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Edits:
    """Edits of a stored run, or audit, that are in effect.

    Attributes:
        n: their number.
        undoable: whether all can be undone; not in a clone of the dataset without the log of its original.
    """

    n: int
    undoable: bool = True


def find_edits(dataset: fo.Dataset, names: FieldNames, uid: str) -> Edits:
    """Edits of a stored run, or audit. Those of clusters that somebody deleted with their field are gone already."""
    state = EditLog(dataset, uid).state()
    found = Edits(sum(not entry.undone for entry in state.entries) + len(state.lost), undoable=not state.lost)
    if not found.n or names.kind == "audit" or has_values(dataset, names, names.path("label")):
        return found
    logger.warning("the clusters of run %r were deleted, and its edits (%d) with them", names.key, found.n)
    return Edits(0)


def check_may_replace(dataset: fo.Dataset, key: str, kind: RunKind = "clusters") -> None:
    """Check that replacing a stored run, or audit, loses no work of a person.

    Raises:
        RunExistsError: it has edits that are not undone.
    """
    header, _ = storage.header_of(dataset, key, kind)
    found = find_edits(dataset, storage.fields_of(dataset, key, kind), header.uid)
    if not found.n:
        return
    what = "run" if kind == "clusters" else "audit"
    raise RunExistsError(
        f"{what} {key!r} of {dataset.name!r} has {counted(found.n, 'edit')}, which replacing it "
        f"would discard; choose another key, or delete the {what} first: delete_{what}(samples, {key!r})"
    )
