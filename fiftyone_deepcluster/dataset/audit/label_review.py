"""Decisions about the labels of an audit: edits that are logged and can be undone and redone, but change no label.

``commit`` writes the decided labels to a field, as an edit, too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeAlias

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.audit.audit import Audit, load_audit
from fiftyone_deepcluster.dataset.audit.commit import commit_draft, count_commit
from fiftyone_deepcluster.dataset.audit.decisions import (
    Decision,
    decision_entry,
    make_decision,
    several_ids,
)
from fiftyone_deepcluster.dataset.audit.progress import REFIT_EVERY, audit_progress, refit_due, refit_lock
from fiftyone_deepcluster.dataset.audit.queue import (
    MOST_ITEMS,
    count_decided,
    count_undecided,
    find_documents,
    queue_items,
    read_filter,
    suspicious_pairs,
)
from fiftyone_deepcluster.dataset.audit.refit import Refit
from fiftyone_deepcluster.dataset.audit.report import write_report
from fiftyone_deepcluster.dataset.audit.suggestions import preview, suggestions_above
from fiftyone_deepcluster.dataset.audit.tables import read_decisions, write_decisions
from fiftyone_deepcluster.dataset.review.apply import apply_edit
from fiftyone_deepcluster.dataset.review.changes import Change
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.dataset.review.history import EditHistory
from fiftyone_deepcluster.dataset.review.members import object_ids
from fiftyone_deepcluster.dataset.runs import lock
from fiftyone_deepcluster.dataset.runs.database import all_need_database
from fiftyone_deepcluster.errors import InputError, RunError, RunLockedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import fiftyone as fo

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.review.edit_log import Entry
    from fiftyone_deepcluster.dataset.review.old_values import Old

    Images: TypeAlias = fo.core.collections.SampleCollection | str | Sequence[str]

logger = logging.getLogger(__name__)

_PREVIEWED = 20
_LARGEST = 2**31 - 1


@all_need_database("repeat the call")
class LabelReview(EditHistory):
    """Decisions about the labels of one audit; created by ``review_labels()``.

    ``undo``, ``redo``, ``log``, ``version`` and the others of ``EditHistory`` work as in the review of clusters.

    Args:
        audit: the audit.
        user: user name for the log; the system user by default.
        refit_every: number of decisions after which ``decide`` fits the scores again; 0: only ``refit`` does.
    """

    def __init__(self, audit: Audit, user: str | None = None, refit_every: int = REFIT_EVERY) -> None:
        super().__init__(audit, user)
        self.audit = audit
        self._refit_every = refit_every
        self._refit = Refit()

    # ---------------------------------------------------------------- the queue

    def queue(
        self, n: int = 1, *, offset: int = 0, first: str | None = None, count: bool = True, **wanted: Any
    ) -> dict[str, Any]:
        """The next labels that nobody has decided, the most suspicious first.

        Args:
            n: number of labels, at most 200.
            offset: number of labels to skip.
            first: id of an image that comes before the others, if nobody has decided its label.
            count: whether to count the queue, which takes longer than to find its next labels.
            **wanted: only labels with this ``given`` or ``suggestion`` label, of this ``group``, with this kind of
                ``issue``, or with at least this probability ``p_wrong``.

        Returns:
            JSON values: ``total``, the number of labels in the queue or None, and ``items``. Each item has ``id``,
            ``sample_id``, ``filepath``, ``box``, ``given``, ``suggestion``, ``p_wrong``, ``reason``, ``rank``,
            ``group``, ``issues``, ``decision``, ``cluster`` in the run of the audit, and ``neighbors``: the nearest
            images with their ``given`` label and ``decision``, nearest first.
        """
        n = arguments.whole_number("n", n, 1, MOST_ITEMS)
        offset = arguments.whole_number("offset", offset, 0, _LARGEST)
        arguments.yes_or_no(count=count)
        check_there(self.audit)
        chosen = read_filter(wanted)
        return {
            "total": count_undecided(self.audit, chosen) if count else None,
            "items": queue_items(self.audit, chosen, n, offset, first),
        }

    def tables(self) -> dict[str, Any]:
        """JSON values for the overview: the record of the audit, ``progress``, and what is left of the matrix.

        ``left`` has given label, suggested label, and number of undecided labels that are more probably wrong than
        right.
        """
        check_there(self.audit)
        record = self.audit.record.model_dump(mode="json")
        return {**record, "progress": self.progress(), "left": suspicious_pairs(self.audit)}

    def progress(self) -> dict[str, Any]:
        """JSON values: ``n_audited``, ``n_decided``, ``n_issues_left``, ``verdicts``: number of labels by decision.

        ``n_issues_left`` is the number of undecided labels that are more probably wrong than right. ``refit_due``:
        25 or more decisions were made since the scores were fitted, or a refit was interrupted. ``refitting``: a refit
        is running.
        """
        check_there(self.audit)
        return audit_progress(self.audit)

    # ---------------------------------------------------------------- decisions

    def decide(
        self,
        samples: Images | None = None,
        decision: str = "keep",
        *,
        label: str | None = None,
        group: str | None = None,
        dry_run: bool = False,
    ) -> Change:
        """Decide about the labels of some images.

        Args:
            samples: a view, or ids of images (for patches, of objects); one id is enough for one image.
            decision: "keep": the label is right. "accept": the suggestion is right. "other": ``label`` is right.
                "exclude": the image must not be used. "unsure": put aside.
            label: the right label, for "other".
            group: instead of ``samples``, all undecided labels of this group.
            dry_run: only count the labels.

        Raises:
            InputError: no such images, no such decision, or one that needs a label or a suggestion.
        """
        if (samples is None) == (group is None):
            raise InputError(
                f"decide needs either samples or group (group={arguments.short(group)}); give one of them"
            )
        with self._editing(dry_run):
            found = self._chosen(samples, group)
            decided = {
                str(item["image"]): make_decision(
                    decision, label, item.get("suggestion"), f" for image {item['image']}"
                )
                for item in found
            }
            change = self._make(*decision_entry(self.audit, decided, "decide"), dry_run)
        return self._followed(change, dry_run)

    def accept_above(self, p_wrong: float, *, dry_run: bool = False, **wanted: Any) -> Change:
        """Accept all suggestions for undecided labels with at least this probability, as one edit.

        ``preview_above`` shows some of them first.

        Args:
            p_wrong: minimum probability.
            dry_run: only count the labels.
            **wanted: only such labels, as in ``queue``.

        Raises:
            InputError: not a probability, or no such label.
        """
        with self._editing(dry_run):
            found = suggestions_above(self.audit, p_wrong, read_filter(wanted))
            decided = {str(item["image"]): Decision("accept", item["suggestion"]) for item in found}
            change = self._make(*decision_entry(self.audit, decided, "accept_above"), dry_run)
        return self._followed(change, dry_run)

    def preview_above(
        self, p_wrong: float, n: int = _PREVIEWED, seed: int = 0, **wanted: Any
    ) -> dict[str, Any]:
        """What ``accept_above`` would do.

        Args:
            p_wrong: minimum probability.
            n: number of labels in ``sample``.
            seed: random seed of the draw of these labels.
            **wanted: only such labels, as in ``queue``.

        Returns:
            JSON values: ``n`` labels, ``pairs`` of given and suggested label with their number, and ``sample``: some
            of them drawn at random, as items of ``queue``.

        Raises:
            InputError: as ``accept_above``.
        """
        n = arguments.whole_number("n", n, 0, MOST_ITEMS)
        seed = arguments.whole_number("seed", seed, 0)
        found = suggestions_above(self.audit, p_wrong, read_filter(wanted))
        return preview(self.audit, found, n, seed)

    def commit(self, field: str | None = None, *, overwrite: bool = False, dry_run: bool = False) -> Change:
        """Write the decided labels to a field, as one edit.

        Args:
            field: None: the audited field itself; only labels that a decision changed are written. Another field gets
                all labels: as decided, else as given; excluded images get none. A missing field is created.
            overwrite: also replace labels that somebody else has written: in the audited field, labels changed since
                the audit; in another field, all that no commit of this audit has written.
            dry_run: only count the labels that would change.

        Returns:
            The effect. Its ``n_kept`` is the number of images that keep another label without ``overwrite``.

        Raises:
            InputError: a field that cannot hold the labels, or nothing to write.
        """
        arguments.yes_or_no(overwrite=overwrite)
        with self._editing(dry_run):
            draft = commit_draft(self.audit, field, overwrite=overwrite)
            return self._make(draft.entry, draft.images, dry_run, n_kept=draft.n_kept)

    def preview_commit(self, field: str | None = None, *, overwrite: bool = False) -> dict[str, Any]:
        """What ``commit`` would do.

        Returns:
            JSON values: ``n`` labels that would change; ``pairs``: given label, other label that is written, and their
            number; ``n_as_given`` of the ``n`` that are written as given; ``n_kept`` images that keep another label;
            ``n_replaced`` of the ``n`` replace a label that somebody else has written; ``made_field``: the field would
            be created.

        Raises:
            InputError: as ``commit``.
        """
        arguments.yes_or_no(overwrite=overwrite)
        check_there(self.audit)
        return count_commit(self.audit, field, overwrite=overwrite)

    # ---------------------------------------------------------------- scores

    def refit(self, *, observer: Observer | None = None) -> Audit:
        """Fit the scores again with the decisions: decided labels count as right, excluded and unsure ones not at all.

        Decisions can be made meanwhile.

        Raises:
            RunError: the vectors of the audit are no longer there.
            RunLockedError: another process is fitting them.
        """
        check_there(self.audit)
        with _fitting(self.audit):
            self._refit.run(load_audit(self.audit.dataset, self.audit.key), observer)
        self.audit = load_audit(self.audit.dataset, self.audit.key)
        return self.audit

    # ---------------------------------------------------------------- files

    def export(self, path: str | Path) -> Path:
        """Write a CSV table for a person without the App: file, given, suggestion, reason, decision.

        ``import_decisions`` reads it back.

        Raises:
            InputError: not a path that ends in ``.csv``, or a folder that does not exist.
            DiskError: the file cannot be written.
        """
        check_there(self.audit)
        return write_decisions(self.audit, path)

    def import_decisions(self, path: str | Path, *, dry_run: bool = False) -> Change:
        """Read decisions from a table that ``export`` wrote and somebody filled in, as one edit.

        Rows without a decision are skipped.

        Raises:
            InputError: no such file, missing columns, unknown ids, or invalid decisions; the message names the line,
                and no decision is stored.
        """
        with self._editing(dry_run):
            decided = read_decisions(self.audit, path)
            change = self._make(*decision_entry(self.audit, decided, "import_decisions"), dry_run)
        return self._followed(change, dry_run)

    def report(self, path: str | Path, n_worst: int = 60) -> Path:
        """Write one HTML file: noise by class, confusion matrix, issues, and the worst labels with their pictures.

        The pictures are inside the file.

        Raises:
            InputError: not a path that ends in ``.html``, or a folder that does not exist.
            DiskError: the file cannot be written.
        """
        return write_report(self.audit, path, n_worst)

    # ---------------------------------------------------------------- internals

    def _chosen(self, samples: Images | None, group: str | None) -> list[dict[str, Any]]:
        if group is not None:
            arguments.one_name("group", group, "patient 7")
            found = find_documents(self.audit, {"rank": {"$gte": 0}, "decision": None, "group": group})
            if not found:
                raise InputError(f"group={group!r} has no undecided labels that are wrong as a whole")
            return found
        ids = object_ids(several_ids(samples), "samples")
        found = find_documents(self.audit, {"rank": {"$gte": 0}}, ids=ids)
        if len(found) < len(ids):
            known = {item["image"] for item in found}
            missing = next(name for name in ids if name not in known)
            raise InputError(
                f"samples: {missing} is not an image of audit {self.audit.key!r} with a judged label; give ids of "
                "the queue"
            )
        return found

    def _make(self, entry: Entry, olds: list[Old], dry_run: bool, *, n_kept: int = 0) -> Change:
        if olds and not dry_run:
            apply_edit(self.audit, self._log, self._log.begin(entry, olds))
        return Change(len(olds), n_kept, entry.text, counted=self.audit.fields.counted(len(olds)))

    def _followed(self, change: Change, dry_run: bool) -> Change:
        """The change, after a refit if one is due; if the refit fails, the decisions are kept."""
        decided = bool(not dry_run and self._refit_every and change.n_changed)
        if decided and refit_due(self.audit, count_decided(self.audit), self._refit_every):
            try:
                self.refit()
            except (InputError, RunError, RunLockedError) as error:
                logger.warning("the decisions are stored, but the scores are not fitted again: %s", error)
        return change


def _fitting(audit: Audit) -> lock.RunLock:
    """Hold the lock of the refit."""
    try:
        return lock.acquire(audit.dataset, refit_lock(audit))
    except RunLockedError:
        held = lock.holder(audit.dataset, refit_lock(audit))
        raise RunLockedError(
            f"the scores of audit {audit.key!r} are being fitted again already ({held}); wait until that is done"
        ) from None


def review_labels(
    samples: fo.core.collections.SampleCollection,
    key: str = "audit",
    *,
    user: str | None = None,
    refit_every: int = REFIT_EVERY,
) -> LabelReview:
    """Decide about the labels of the audit under ``key``.

    Args:
        samples: the dataset, or any view of it.
        key: key of the audit.
        user: user name for the log; the system user by default.
        refit_every: number of decisions after which the scores are fitted again; 0: never by itself.

    Raises:
        RunNotFoundError: no such audit.
        InputError: ``user`` is not a name.
    """
    if user is not None:
        arguments.one_name("user", user, "ada")
    refit_every = arguments.whole_number("refit_every", refit_every, 0)
    return LabelReview(load_audit(samples, key), user, refit_every)
