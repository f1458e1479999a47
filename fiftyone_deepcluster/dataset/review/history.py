"""Undo and redo of the edits of a run, of clusters or of an audit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.dataset.review.apply import apply_edit, complete_edits, restore
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.dataset.review.edit_lock import hold
from fiftyone_deepcluster.dataset.review.edit_log import Edit, EditLog, LogState
from fiftyone_deepcluster.dataset.runs.database import all_need_database, database_needed
from fiftyone_deepcluster.errors import RunError

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun


_LOOK_AT_LOG = "look at log(): the next edit completes an edit that is listed there; repeat one that is not"


@all_need_database("repeat the call")
class EditHistory:
    """The logged edits of one run.

    Args:
        run: the run.
        user: user name for the log; the system user by default.
    """

    def __init__(self, run: KeptRun, user: str | None = None) -> None:
        self._kept = run
        self.version_before: int | None = None
        self.state_after: LogState | None = None
        self._log = EditLog(run.dataset, run.uid, user)

    def undo(self, steps: int = 1) -> list[Edit]:
        """Undo the last edits, newest first.

        Every value that an edit wrote is restored. A value that was changed since, by hand or by other programs,
        stays, and is counted in ``n_kept``.

        Returns:
            The edits undone; fewer than ``steps`` if the log is shorter.

        Raises:
            RunError: the dataset is a clone, and the log of the last edit could not be copied from its original.
        """
        steps = arguments.whole_number("steps", steps, 1)
        check_there(self._kept)
        with self._held():
            # an undo whose process died is the first of the steps
            state = self._log.state()
            standing, lost = {entry.number: entry for entry in state.entries if not entry.undone}, state.lost
            undone: list[Edit] = []
            for number in sorted({*standing, *lost}, reverse=True)[:steps]:
                if number in lost:
                    if not undone:
                        raise _not_in_clone(self._kept, len(lost))
                    break
                undone.append(restore(self._kept, self._log, standing[number]).shown())
            return undone

    def redo(self, steps: int = 1) -> list[Edit]:
        """Redo the edits undone last, in their order; a new edit ends this possibility.

        Returns:
            The edits redone; fewer than ``steps`` if fewer were undone.
        """
        steps = arguments.whole_number("steps", steps, 1)
        check_there(self._kept)
        with self._held():
            entries = [entry for entry in complete_edits(self._kept, self._log) if entry.state == "undone"]
            return [apply_edit(self._kept, self._log, entry).shown() for entry in entries[:steps]]

    def next_undo(self) -> Edit | None:
        """The edit that ``undo`` would undo."""
        return self.state().next_undo

    def next_redo(self) -> Edit | None:
        """The edit that ``redo`` would redo."""
        return self.state().next_redo

    def version(self) -> int:
        """A number that changes with every edit, undo and redo, also by others."""
        return self.state().version

    def state(self) -> LogState:
        """What the methods above answer, and the entries of the log, from reading it once."""
        return self._log.state()

    def log(self) -> list[Edit]:
        """All edits, oldest first, including undone edits."""
        return [entry.shown() for entry in self._log.entries()]

    def n_lost(self) -> int:
        """Number of edits that cannot be undone, because the dataset is a clone and their log could not be copied."""
        return len(self.state().lost)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the lock of the run."""
        with database_needed(_LOOK_AT_LOG, self._kept.key), hold(self._kept) as held:
            check_there(self._kept)  # again: another process may have deleted or replaced it meanwhile
            with self._log.held(held.confirm):
                self.version_before, self.state_after = self.version(), None
                yield
                self.state_after = self.state()

    @contextmanager
    def _editing(self, dry_run: bool) -> Iterator[None]:
        """Hold the lock of the run, with all earlier edits complete; ``dry_run`` only checks that the run exists."""
        arguments.yes_or_no(dry_run=dry_run)
        check_there(self._kept)
        if dry_run:
            yield
            return
        with self._held():
            complete_edits(self._kept, self._log)
            yield


def _not_in_clone(run: KeptRun, n_edits: int) -> RunError:
    return RunError(
        f"{counted(n_edits, 'edit')} of run {run.key!r} made before {run.dataset.name!r} was cloned cannot be undone: "
        "the dataset that it was cloned from, which has their log, was deleted, or has undone them since"
    )
