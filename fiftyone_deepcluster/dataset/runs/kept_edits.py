"""Edits of a run or decisions of an audit: a run that has some is neither replaced nor resumed."""

from __future__ import annotations

import logging
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


def count_edits(dataset: fo.Dataset, names: FieldNames, uid: str) -> int:
    """Number of edits of a stored run, or audit, that are not undone.

    Edits of clusters that somebody deleted with their field are gone already: they do not count.
    """
    n_edits = sum(not entry.undone for entry in EditLog(dataset, uid).entries())
    if not n_edits or names.kind == "audit" or has_values(dataset, names, names.path("label")):
        return n_edits
    logger.warning("the clusters of run %r were deleted, and its edits (%d) with them", names.key, n_edits)
    return 0


def check_may_replace(dataset: fo.Dataset, key: str, kind: RunKind = "clusters") -> None:
    """Check that replacing a stored run, or audit, loses no work of a person.

    Raises:
        RunExistsError: it has edits that are not undone.
    """
    header, _ = storage.header_of(dataset, key, kind)
    n_edits = count_edits(dataset, storage.fields_of(dataset, key, kind), header.uid)
    if not n_edits:
        return
    what = "run" if kind == "clusters" else "audit"
    raise RunExistsError(
        f"{what} {key!r} of {dataset.name!r} has {counted(n_edits, 'edit')}, which replacing it "
        f"would discard; choose another key, or delete the {what} first: delete_{what}(samples, {key!r})"
    )
