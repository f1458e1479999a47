"""What each edit would do: the images that change, and the entry for the log. Nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.io.write import NOISE
from fiftyone_deepcluster.dataset.review.apply import stored_label
from fiftyone_deepcluster.dataset.review.edit_log import Entry
from fiftyone_deepcluster.dataset.review.members import members, members_of, members_without
from fiftyone_deepcluster.dataset.review.names import (
    clean_name,
    cluster_name,
    free_names,
    is_automatic,
    several,
)
from fiftyone_deepcluster.dataset.review.own_field import own_field
from fiftyone_deepcluster.dataset.review.reviewed import reviewed
from fiftyone_deepcluster.dataset.review.split import SplitBy, divide
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.review.old_values import Old
    from fiftyone_deepcluster.dataset.runs.run import Run


# Condition of ``commit``, what meets it, and how to do without
_NAMED = ("has a name of its own", "rename clusters", "only_named=False")
_REVIEWED = ("is reviewed", "mark clusters as reviewed", "only_reviewed=False")


@dataclass(frozen=True)
class Draft:
    """An edit before it is made.

    Attributes:
        entry: the edit as it will be logged.
        images: images that change, with their current values.
        n_kept: number of images that keep another label.
        clusters: names of the clusters that change, appear or disappear.
        whole: names of clusters that change as a whole: images assigned to them later follow the edit and its undo.
    """

    entry: Entry
    images: list[Old]
    n_kept: int = 0
    clusters: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the edit changes nothing."""
        return not (self.images or self.entry.marked or self.entry.unmarked)


@dataclass(frozen=True)
class Chosen:
    """Images chosen for an edit: either ``samples``, or all images of ``cluster`` but those with ids ``besides``."""

    samples: fo.core.collections.SampleCollection | Sequence[str] | None
    cluster: str | None = None
    besides: Sequence[str] = ()


def draft_rename(run: Run, cluster: str, new_name: str) -> Draft:
    """Give a cluster another name."""
    new_name = cluster_name(new_name, "new_name")
    run.check_names([cluster])
    if new_name != cluster and new_name in run.names():
        raise InputError(
            f"there is already a cluster {new_name!r}; choose another name, or join the two: "
            f"merge([{cluster!r}, {new_name!r}], into={new_name!r})"
        )
    return _relabel(run, "rename", [cluster], new_name, f"renamed {cluster!r} to {new_name!r}")


def draft_merge(run: Run, clusters: Sequence[str], into: str) -> Draft:
    """Give several clusters one name."""
    chosen = several(clusters)
    into = cluster_name(into, "into")
    run.check_names(chosen)
    if len(chosen) < 2:
        raise InputError(f"clusters={chosen}: give two or more clusters to join (to rename one, use rename)")
    if into not in chosen and into in run.names():
        raise InputError(f"into={into!r} is another cluster; to join it as well, add it to clusters")
    return _relabel(run, "merge", chosen, into, f"merged {', '.join(map(repr, chosen))} into {into!r}")


def _relabel(run: Run, verb: str, clusters: list[str], name: str, text: str) -> Draft:
    """Give all images of some clusters one name; the result is reviewed if all of them were."""
    olds = [old for old in members(run, clusters, run.fields.path("label")) if old.value != name]
    marked = _marked(run, clusters)
    all_marked = len(marked) == len(clusters)
    entry = Entry(
        verb,
        text,
        [name],
        value="label",
        marked=[name] if olds and all_marked and name not in marked else [],
        unmarked=[other for other in marked if olds and (other != name or not all_marked)],
    )
    return Draft(entry, olds, clusters=_distinct(*clusters, name), whole=tuple(clusters))


def draft_split(run: Run, cluster: str, n_clusters: int | None, by: SplitBy) -> Draft:
    """Give the parts of a cluster names of their own, except the largest."""
    run.check_names([cluster])
    parts = divide(run, cluster, n_clusters, by)
    new = free_names(run.names(), run.n_clusters, parts.n_parts - 1)
    pairs = zip(parts.images, parts.labels.tolist(), strict=True)
    olds = [replace(old, which=part - 1) for old, part in pairs if part > 0]
    text = f"split {cluster!r} into {', '.join(map(repr, [cluster, *new]))}"
    entry = Entry("split", text, new, value="label", unmarked=_marked(run, [cluster]) if olds else [])
    return Draft(entry, olds, clusters=(cluster, *new))


def draft_send(run: Run, verb: Literal["move", "reject"], chosen: Chosen, to: str) -> Draft:
    """Give chosen images the name of a cluster, or "noise"."""
    name = NOISE if verb == "reject" else cluster_name(to, "to")
    if (chosen.samples is None) == (chosen.cluster is None):
        raise InputError(
            f"{verb} needs either samples or cluster; give one of them (besides={arguments.short(chosen.besides)} "
            "leaves out images of the cluster)"
        )
    if chosen.cluster is not None:
        run.check_names([chosen.cluster])
        found = members_without(run, chosen.cluster, chosen.besides)
    else:
        found = members_of(run, chosen.samples if chosen.samples is not None else [])
    olds = [old for old in found if old.value != name]
    count = run.fields.counted(len(olds))
    text = f"moved {count} to {name!r}" if verb == "move" else f"rejected {count}"
    touched = _distinct(*sorted({str(old.value) for old in olds}), name)
    return Draft(Entry(verb, text, [name], value="label"), olds, clusters=touched)


def draft_mark_reviewed(run: Run, clusters: Sequence[str], is_reviewed: bool) -> Draft:
    """Mark clusters as reviewed, or as not reviewed."""
    chosen = several(clusters)
    run.check_names(chosen)
    marked = _marked(run, chosen)
    missing = [name for name in chosen if name not in marked and name != NOISE]
    text = f"marked {', '.join(map(repr, chosen))} as {'reviewed' if is_reviewed else 'not reviewed'}"
    entry = Entry("mark_reviewed", text)
    if is_reviewed:
        return Draft(replace(entry, marked=missing), [], clusters=tuple(missing))
    return Draft(replace(entry, unmarked=marked), [], clusters=tuple(marked))


def draft_label_cluster(run: Run, cluster: str, field: str, label: str, overwrite: bool) -> Draft:
    """Write a label to the images of a cluster."""
    label = clean_name(label, "label")
    run.check_names([cluster])
    path, missing = own_field(run, field)
    olds, kept = to_label(members(run, [cluster], path), label, overwrite)
    text = f"labeled {cluster!r} as {label!r} in {field!r}"
    return Draft(Entry("label", text, [label], field=path, made_field=missing), olds, kept)


def draft_commit(run: Run, field: str, names: Sequence[str], overwrite: bool) -> Draft:
    """Write the names of clusters to their images."""
    path, missing = own_field(run, field)
    olds: list[Old] = []
    kept = 0
    for which, name in enumerate(names):
        some, others = to_label(members(run, [name], path), name, overwrite)
        olds += [replace(old, which=which) for old in some]
        kept += others
    what = "name of 1 cluster" if len(names) == 1 else f"names of {len(names):,} clusters"
    text = f"wrote the {what} to {field!r}"
    return Draft(Entry("commit", text, list(names), field=path, made_field=missing), olds, kept)


def to_commit(run: Run, only_reviewed: bool, only_named: bool) -> list[str]:
    """Names of the clusters that ``commit`` writes.

    Raises:
        InputError: there are none.
    """
    chosen = named_clusters(run, only_reviewed, only_named)
    if not chosen:
        asked = [words for words, on in ((_NAMED, only_named), (_REVIEWED, only_reviewed)) if on]
        if not asked:
            raise InputError(f"run {run.key!r} has no clusters to write")
        need, way, option = (" and ".join(words) for words in zip(*asked, strict=True))
        raise InputError(f"there is no cluster to write that {need}; {way}, or give {option}")
    return chosen


def named_clusters(run: Run, only_reviewed: bool, only_named: bool) -> list[str]:
    """Names of the clusters without noise: all, those that are reviewed, those that a person named."""
    marked = set(reviewed(run))
    return [
        name
        for name in run.names()
        if name != NOISE and (not only_reviewed or name in marked) and not (only_named and is_automatic(name))
    ]


def to_label(olds: list[Old], label: str, overwrite: bool) -> tuple[list[Old], int]:
    """Images whose label changes to ``label``, and the number of images that keep another label."""
    others = [old for old in olds if stored_label(old.value) != label]
    chosen = others if overwrite else [old for old in others if stored_label(old.value) is None]
    return chosen, len(others) - len(chosen)


def _marked(run: Run, clusters: Sequence[str]) -> list[str]:
    """Those of the clusters that are reviewed."""
    marked = set(reviewed(run))
    return [name for name in clusters if name in marked]


def _distinct(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
