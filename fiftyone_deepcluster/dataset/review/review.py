"""User edits of the clusters of a run: each can be counted in advance, is logged, and can be undone and redone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.review import drafts
from fiftyone_deepcluster.dataset.review.apply import apply_edit
from fiftyone_deepcluster.dataset.review.changes import Change, CommitRow, Progress, SplitPart
from fiftyone_deepcluster.dataset.review.clusters import check_there, names_by_number
from fiftyone_deepcluster.dataset.review.edit_log import Edit, Entry
from fiftyone_deepcluster.dataset.review.export import export_review
from fiftyone_deepcluster.dataset.review.history import EditHistory
from fiftyone_deepcluster.dataset.review.overview import cluster_rows, pictures
from fiftyone_deepcluster.dataset.review.own_field import own_field
from fiftyone_deepcluster.dataset.review.reviewed import reviewed
from fiftyone_deepcluster.dataset.review.split import SplitBy, divide
from fiftyone_deepcluster.dataset.runs.database import all_need_database, database_needed
from fiftyone_deepcluster.dataset.runs.run import Run, load_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import fiftyone as fo

    Images: TypeAlias = fo.core.collections.SampleCollection | Sequence[str]

__all__ = ["Change", "Edit", "Review", "review"]


@all_need_database("repeat the call")
class Review(EditHistory):
    """Edits of one run; created by ``review()``.

    Args:
        run: the run.
        user: user name for the log; the system user by default.

    Attributes:
        version_before: ``version()`` just before the last edit, undo or redo; None before the first.
        state_after: ``state()`` just after it; None before the first, and after one that failed.
    """

    def __init__(self, run: Run, user: str | None = None) -> None:
        super().__init__(run, user)
        self.run = run

    def names(self) -> list[str]:
        """Current cluster names, sorted.

        Raises:
            RunNotFoundError: the run was deleted or renamed since it was loaded. Every edit raises it, too.
        """
        check_there(self.run)
        return self.run.names()

    # ---------------------------------------------------------------- clusters

    def rename(self, cluster: str, new_name: str, *, dry_run: bool = False) -> Change:
        """Rename a cluster.

        Args:
            cluster: name of the cluster.
            new_name: a name that no cluster has.
            dry_run: only count the images of the cluster.

        Raises:
            InputError: no such cluster (similar names are listed), an empty name, or the name of another
                cluster (use ``merge`` to join the two).
        """
        with self._editing(dry_run):
            return self._make(drafts.draft_rename(self.run, cluster, new_name), dry_run)

    def merge(self, clusters: Sequence[str], into: str, *, dry_run: bool = False) -> Change:
        """Join clusters under one name.

        Args:
            clusters: names of two clusters or more.
            into: the name of one of them, or a new name.
            dry_run: only count the images that would change.

        Raises:
            InputError: no such cluster, fewer than two clusters, not a list of names, or ``into`` is the
                name of a cluster that is not in ``clusters``.
        """
        with self._editing(dry_run):
            return self._make(drafts.draft_merge(self.run, clusters, into), dry_run)

    def split(
        self, cluster: str, n_clusters: int | None = None, *, by: SplitBy = "kmeans", dry_run: bool = False
    ) -> Change:
        """Divide a cluster into parts by clustering its own vectors; the largest part keeps the name.

        The other parts get new names with the next free numbers. The same arguments give the same parts.

        Args:
            cluster: name of the cluster.
            n_clusters: number of parts, 2 to 10; None: the number with the highest silhouette.
            by: "kmeans", or "gmm" for a Gaussian mixture with spherical components.
            dry_run: only count the images that would leave the cluster.

        Raises:
            InputError: no such cluster, a number out of range, or too few images.
            RunError: the run's vectors were deleted.
        """
        with self._editing(dry_run):
            return self._make(drafts.draft_split(self.run, cluster, n_clusters, by), dry_run)

    def preview_split(
        self, cluster: str, n_clusters: int | None = None, *, by: SplitBy = "kmeans", n_pictures: int = 8
    ) -> list[SplitPart]:
        """The parts that ``split`` would make, largest first; arguments and errors as in ``split``.

        Args:
            cluster: name of the cluster.
            n_clusters: number of parts, 2 to 10; None: the number with the highest silhouette.
            by: "kmeans" or "gmm".
            n_pictures: images shown of each part, those nearest to its mean; 0 or more.
        """
        n_pictures = arguments.whole_number("n_pictures", n_pictures, 0)
        self.run.check_names([cluster])
        parts = divide(self.run, cluster, n_clusters, by)
        found = []
        for part in range(parts.n_parts):
            rows = (parts.labels == part).nonzero()[0]
            nearest = rows[parts.distances[rows].argsort(kind="stable")[:n_pictures]]
            found.append(
                SplitPart(len(rows), pictures(self.run, [parts.images[row] for row in nearest.tolist()]))
            )
        return found

    # ---------------------------------------------------------------- images

    def move(
        self,
        samples: Images | None = None,
        *,
        to: str,
        cluster: str | None = None,
        besides: Sequence[str] = (),
        dry_run: bool = False,
    ) -> Change:
        """Move images to another cluster, or to a new one.

        Args:
            samples: a view, or ids of images (for patches, of objects). Images that the run did not cluster are
                ignored.
            to: name of the cluster; a name that does not exist makes a new cluster.
            cluster: instead of ``samples``, all images of this cluster ...
            besides: ... except those with these ids.
            dry_run: only count the images that would change.

        Raises:
            InputError: no such images, or an invalid name.
        """
        with self._editing(dry_run):
            chosen = drafts.Chosen(samples, cluster, besides)
            return self._make(drafts.draft_send(self.run, "move", chosen, to), dry_run)

    def reject(
        self,
        samples: Images | None = None,
        *,
        cluster: str | None = None,
        besides: Sequence[str] = (),
        dry_run: bool = False,
    ) -> Change:
        """Take images out of their clusters: they get the label "noise". ``move`` puts them back.

        Arguments and errors as in ``move``.
        """
        with self._editing(dry_run):
            chosen = drafts.Chosen(samples, cluster, besides)
            return self._make(drafts.draft_send(self.run, "reject", chosen, ""), dry_run)

    # ---------------------------------------------------------------- progress

    def mark_reviewed(
        self, clusters: Sequence[str], *, reviewed: bool = True, dry_run: bool = False
    ) -> Change:
        """Mark clusters as reviewed, or as not reviewed.

        A renamed cluster stays reviewed; a merged one is reviewed if all its clusters were; a split one is not.

        Args:
            clusters: names of clusters.
            reviewed: False removes the mark.
            dry_run: only return the clusters whose mark would change.

        Raises:
            InputError: no such cluster.
        """
        arguments.yes_or_no(reviewed=reviewed)
        with self._editing(dry_run):
            return self._make(drafts.draft_mark_reviewed(self.run, clusters, reviewed), dry_run)

    def reviewed(self) -> list[str]:
        """Names of the reviewed clusters that exist, sorted."""
        return sorted(set(reviewed(self.run)) & set(self.run.names()))

    def progress(self) -> Progress:
        """Number of clusters and images of the run, and how many of each are reviewed; noise is not counted."""
        rows = [row for row in cluster_rows(self.run) if not row.is_noise]
        marked = set(reviewed(self.run))
        done = [row for row in rows if row.name in marked]
        return Progress(len(rows), len(done), sum(row.size for row in rows), sum(row.size for row in done))

    # ---------------------------------------------------------------- labels

    def label_cluster(
        self, cluster: str, field: str, label: str, *, overwrite: bool = False, dry_run: bool = False
    ) -> Change:
        """Write ``label`` to a Classification field of the cluster's images; a missing field is created.

        For patches, ``field`` is an attribute of the objects; ``"label"`` is their class.

        Args:
            cluster: name of the cluster.
            field: a field that belongs to no run.
            label: label to write.
            overwrite: replace existing labels; otherwise they are kept.
            dry_run: only count the images that would change.

        Raises:
            InputError: no such cluster, an empty label, or a field of another type.
        """
        arguments.yes_or_no(overwrite=overwrite)
        with self._editing(dry_run):
            return self._make(drafts.draft_label_cluster(self.run, cluster, field, label, overwrite), dry_run)

    def commit(
        self,
        field: str,
        *,
        overwrite: bool = False,
        only_reviewed: bool = False,
        only_named: bool = True,
        dry_run: bool = False,
    ) -> Change:
        """Write the name of every cluster to a field of its images, as one edit. Images in no cluster get no label.

        Args:
            field: a field that belongs to no run; a missing field is created. For patches, an attribute.
            overwrite: replace existing labels; otherwise they are kept.
            only_reviewed: only clusters marked as reviewed.
            only_named: only clusters that a person named; otherwise ``cluster-03`` becomes a label, too.
            dry_run: only count the images that would change.

        Raises:
            InputError: a field of another type, or no cluster to write.
        """
        arguments.yes_or_no(overwrite=overwrite, only_reviewed=only_reviewed, only_named=only_named)
        with self._editing(dry_run):
            own_field(self.run, field)
            names = drafts.to_commit(self.run, only_reviewed, only_named)
            return self._make(drafts.draft_commit(self.run, field, names, overwrite), dry_run)

    def preview_commit(
        self, field: str, *, overwrite: bool = False, only_reviewed: bool = False, only_named: bool = True
    ) -> list[CommitRow]:
        """What ``commit`` would do, cluster by cluster; arguments and errors as in ``commit``.

        Clusters whose images all have the name as their label already are left out.
        """
        arguments.yes_or_no(overwrite=overwrite, only_reviewed=only_reviewed, only_named=only_named)
        own_field(self.run, field)
        rows = []
        for name in drafts.to_commit(self.run, only_reviewed, only_named):
            draft = drafts.draft_commit(self.run, field, [name], overwrite)
            rows.append(CommitRow(name, len(draft.images), draft.n_kept))
        return [row for row in rows if row.n_changed or row.n_kept]

    def export(self, path: str | Path) -> Path:
        """Write one row per image to a ``.csv`` or ``.json`` file: file, cluster, statistics, whether reviewed.

        Raises:
            InputError: not a path, another ending, or a folder that does not exist.
            DiskError: the file cannot be written; an older file is unchanged.
        """
        check_there(self.run)
        return export_review(self.run, self.reviewed(), path)

    # ---------------------------------------------------------------- internals

    def _make(self, draft: drafts.Draft, dry_run: bool) -> Change:
        """Log an edit and carry it out, unless it changes nothing or is only to be counted."""
        entry = replace(draft.entry, clusters=list(draft.clusters))
        if not draft.is_empty and not dry_run:
            before = names_by_number(self.run) if entry.value else {}
            whole = {str(number): name for number, name in before.items() if name in draft.whole}
            begun = self._log.begin(replace(entry, names=whole), draft.images)
            applied = apply_edit(self.run, self._log, begun)
            if entry.value and not draft.whole:
                self._note_names(applied, before)
        n_changed = len(draft.images)
        counted = self.run.fields.counted(n_changed)
        return Change(n_changed, draft.n_kept, entry.text, draft.clusters, counted)

    def _note_names(self, entry: Entry, before: dict[int, str]) -> None:
        """Store which cluster numbers changed their most frequent name, for images that are assigned later."""
        now = names_by_number(self.run)
        changed = {
            str(number): name
            for number, name in now.items()
            if name != before[number] and name in entry.written
        }
        names = {number: before[int(number)] for number in changed}
        joins = {number: entry.written.index(name) for number, name in changed.items()}
        self._log.note(replace(entry, names=names, joins=joins))


@database_needed("repeat the call")
def review(samples: fo.core.collections.SampleCollection, key: str, *, user: str | None = None) -> Review:
    """Edit the clusters of the run under ``key``.

    Args:
        samples: the dataset, or any view of it.
        key: key of the run.
        user: user name for the log; the system user by default.

    Raises:
        RunNotFoundError: no such run.
        InputError: ``user`` is not a name.
    """
    if user is not None:
        arguments.one_name("user", user, "ada")
    return Review(load_run(samples, key), user)
