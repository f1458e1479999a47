"""Edits of clusters. Each is one call of ``Review``; the answer has only the clusters that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.app.panels.answers.clusters import (
    clusters_json,
    history_json,
    picture_json,
    shown_label_field,
)
from fiftyone_deepcluster.app.panels.answers.common import (
    Json,
    field_paths,
    flag_param,
    reload_shown,
    run_of,
    text_param,
    user_of,
)
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone.operators as foo

    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.review.edit_log import LogState
    from fiftyone_deepcluster.dataset.review.history import EditHistory
    from fiftyone_deepcluster.dataset.review.review import Change, Review


def edit(ctx: foo.ExecutionContext) -> Json:
    """Carry out an edit, or with ``dry_run`` count what it would change.

    The answer is ``stale`` if others edited after the version that the browser has.
    """
    from fiftyone_deepcluster.dataset.review.overview import label_fields
    from fiftyone_deepcluster.dataset.review.review import Review

    review = Review(run_of(ctx), user=user_of(ctx))
    asked = ctx.params.get("edit")
    if not isinstance(asked, dict) or asked.get("verb") not in _VERBS:
        raise InputError(f"edit={asked!r}: give a verb, one of {', '.join(_VERBS)}")
    dry_run = flag_param(ctx, "dry_run")
    fields = field_paths(ctx)
    change = _VERBS[asked["verb"]](review, asked, dry_run)
    if not dry_run:
        reload_shown(ctx, fields_changed=field_paths(ctx) != fields)
    return {
        "change": {"n_changed": change.n_changed, "n_kept": change.n_kept, "text": change.text},
        **_changed(ctx, review, change.clusters),
        "stale": review.version_before is not None and review.version_before != ctx.params.get("version"),
        "history": history_json(state_shown(review)),
        "label_fields": label_fields(review.run),
    }


def state_shown(review: EditHistory) -> LogState:
    """The log just after the edit, not the newest: edits that others made since must still be loaded."""
    return review.state_after or review.state()


def _changed(ctx: foo.ExecutionContext, review: Review, names: tuple[str, ...]) -> Json:
    """The clusters that an edit changed, and the names that are gone."""
    from fiftyone_deepcluster.dataset.review.overview import cluster_rows
    from fiftyone_deepcluster.dataset.review.reviewed import reviewed

    if not names:
        return {"clusters": [], "gone": []}
    rows = cluster_rows(review.run, shown_label_field(ctx, review.run), names)
    found = {row.name for row in rows}
    return {
        "clusters": clusters_json(review.run, rows, set(reviewed(review.run))),
        "gone": sorted({*names} - found),
    }


def _rename(review: Review, asked: Json, dry_run: bool) -> Change:
    return review.rename(asked["cluster"], asked["new_name"], dry_run=dry_run)


def _merge(review: Review, asked: Json, dry_run: bool) -> Change:
    return review.merge(asked["clusters"], into=asked["into"], dry_run=dry_run)


def _split(review: Review, asked: Json, dry_run: bool) -> Change:
    return review.split(asked["cluster"], n_clusters=asked.get("n_clusters"), dry_run=dry_run)


def _move(review: Review, asked: Json, dry_run: bool) -> Change:
    return review.move(**_chosen(asked), to=asked["to"], dry_run=dry_run)


def _reject(review: Review, asked: Json, dry_run: bool) -> Change:
    return review.reject(**_chosen(asked), dry_run=dry_run)


def _chosen(asked: Json) -> Json:
    """Images as ``Review`` takes them: ids, or a cluster without some ids."""
    images = asked["images"]
    if "ids" in images:
        return {"samples": images["ids"]}
    return {"samples": None, "cluster": images["cluster"], "besides": images.get("except", [])}


def _mark(review: Review, asked: Json, dry_run: bool) -> Change:
    return review.mark_reviewed(asked["clusters"], reviewed=asked.get("reviewed", True), dry_run=dry_run)


def _label(review: Review, asked: Json, dry_run: bool) -> Change:
    return review.label_cluster(
        asked["cluster"],
        asked["field"],
        asked["label"],
        overwrite=asked.get("overwrite", False),
        dry_run=dry_run,
    )


def _commit(review: Review, asked: Json, dry_run: bool) -> Change:
    return review.commit(
        asked["field"],
        overwrite=asked.get("overwrite", False),
        only_reviewed=asked.get("only_reviewed", False),
        only_named=asked.get("only_named", True),
        dry_run=dry_run,
    )


def _undo(review: Review, asked: Json, dry_run: bool) -> Change:
    return taken_back("Undone", review.run.fields, review.undo())


def _redo(review: Review, asked: Json, dry_run: bool) -> Change:
    return taken_back("Redone", review.run.fields, review.redo())


def taken_back(word: str, fields: FieldNames, edits: list[Any]) -> Change:
    """What undoing or redoing the given edits did.

    Args:
        word: "Undone" or "Redone".
        fields: fields of the run, which also know whether to write "images" or "objects".
        edits: the edits that were undone or redone.
    """
    from fiftyone_deepcluster.dataset.review.review import Change

    if not edits:
        return Change(0, 0, f"Nothing was {word.lower()}")
    done = edits[0]
    kept = ""
    if done.n_kept:
        stay = "was changed since and stays" if done.n_kept == 1 else "were changed since and stay"
        kept = f". {fields.counted(done.n_kept)} {stay}"
    touched = tuple(name for edit in edits for name in edit.clusters)
    return Change(done.n_changed, done.n_kept, f"{word}: {done.text}{kept}", touched)


_VERBS: dict[str, Callable[[Review, Json, bool], Change]] = {
    "rename": _rename,
    "merge": _merge,
    "split": _split,
    "move": _move,
    "reject": _reject,
    "mark_reviewed": _mark,
    "label_cluster": _label,
    "commit": _commit,
    "undo": _undo,
    "redo": _redo,
}


def preview_split(ctx: foo.ExecutionContext) -> Json:
    """Parts that a split would make: size and some images of each."""
    from fiftyone_deepcluster.dataset.review.review import Review

    n_clusters = ctx.params.get("n_clusters")
    parts = Review(run_of(ctx)).preview_split(text_param(ctx, "cluster"), n_clusters=n_clusters)
    return {
        "parts": [
            {"size": part.size, "pictures": [picture_json(picture) for picture in part.pictures]}
            for part in parts
        ]
    }


def preview_commit(ctx: foo.ExecutionContext) -> Json:
    """What writing the names to a field would change, cluster by cluster; no rows if there is no name to write."""
    from fiftyone_deepcluster.dataset.review.drafts import named_clusters
    from fiftyone_deepcluster.dataset.review.own_field import own_field
    from fiftyone_deepcluster.dataset.review.review import Review

    run, field = run_of(ctx), text_param(ctx, "field")
    only_reviewed, only_named = flag_param(ctx, "only_reviewed"), flag_param(ctx, "only_named")
    own_field(run, field)
    if not named_clusters(run, only_reviewed, only_named):
        return {"rows": []}
    rows = Review(run).preview_commit(
        field, overwrite=flag_param(ctx, "overwrite"), only_reviewed=only_reviewed, only_named=only_named
    )
    return {
        "rows": [
            {"cluster": row.cluster, "label": row.cluster, "changes": row.n_changed, "keeps": row.n_kept}
            for row in rows
        ]
    }
