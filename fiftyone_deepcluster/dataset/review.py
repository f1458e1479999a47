"""A person's edits of a run's clusters: each is counted before, logged, and can be undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.runs import Run


@dataclass(frozen=True)
class Edit:
    """One entry of the log.

    Attributes:
        number: from 1.
        verb: ``rename``, ``merge``, ``label`` ...
        text: the edit in words.
        who: user name.
        when: UTC.
        n_changed: images changed.
        undone: whether it was taken back.
    """

    number: int
    verb: str
    text: str
    who: str
    when: datetime
    n_changed: int
    undone: bool


@dataclass(frozen=True)
class Change:
    """What an edit changes, or would.

    Attributes:
        n_changed: images whose value changes.
        n_kept: images left alone because a person labelled them already.
        text: the edit in words.
    """

    n_changed: int
    n_kept: int
    text: str


class Review:
    """Edits of one run. ``review()`` makes it.

    Args:
        run: the run.
        user: named in the log; the system's user by default.
    """

    def __init__(self, run: Run, user: str | None = None) -> None:
        raise NotImplementedError

    def names(self) -> list[str]:
        """Names of the clusters as they are now, sorted."""
        raise NotImplementedError

    def rename(self, cluster: str, new_name: str, *, dry_run: bool = False) -> Change:
        """Give a cluster another name.

        Raises:
            InputError: no such cluster (near names are listed), an empty name, or one that another
                cluster has (``merge`` joins the two).
        """
        raise NotImplementedError

    def merge(self, clusters: Sequence[str], into: str, *, dry_run: bool = False) -> Change:
        """Join clusters under one name: that of one of them, or a new one.

        Raises:
            InputError: no such cluster, fewer than two to join, or ``into`` is another cluster's name.
        """
        raise NotImplementedError

    def label_cluster(
        self, cluster: str, field: str, label: str, *, overwrite: bool = False, dry_run: bool = False
    ) -> Change:
        """Write ``label`` to a Classification field of the cluster's images; made where it is missing.

        For patches, ``field`` is an attribute of the objects, and ``label`` their own class.

        Args:
            cluster: name of the cluster.
            field: the person's field; never one of a run.
            label: to write.
            overwrite: also replace labels that are there. They are kept otherwise.
            dry_run: count only.

        Raises:
            InputError: no such cluster, an empty label, or a field of another type.
        """
        raise NotImplementedError

    def undo(self, steps: int = 1) -> list[Edit]:
        """Take the last edits back, newest first; every value returns to what it was.

        Returns:
            The edits taken back; fewer than ``steps`` where the log is shorter.
        """
        raise NotImplementedError

    def log(self) -> list[Edit]:
        """All edits, oldest first, undone ones included."""
        raise NotImplementedError


def review(samples: fo.core.collections.SampleCollection, key: str, *, user: str | None = None) -> Review:
    """Edit the clusters of the run under ``key``.

    Raises:
        RunNotFoundError: no such run.
    """
    raise NotImplementedError
