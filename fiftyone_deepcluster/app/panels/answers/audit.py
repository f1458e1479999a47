"""The label audit of the panel: tables, the queue, decisions, refits. Each is one call of ``LabelReview``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.app.panels.answers.clusters import history_json
from fiftyone_deepcluster.app.panels.answers.common import (
    Json,
    count_param,
    field_paths,
    flag_param,
    optional_text_param,
    reload_shown,
    text_param,
    user_of,
)
from fiftyone_deepcluster.app.panels.answers.edits import state_shown, taken_back
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone.operators as foo

    from fiftyone_deepcluster.dataset.audit.audit import Audit
    from fiftyone_deepcluster.dataset.audit.label_review import LabelReview
    from fiftyone_deepcluster.dataset.review.changes import Change

_MOST_ITEMS, _MOST_ROWS, _MOST_CLASSES = 40, 1_000, 10_000


def load_audits(ctx: foo.ExecutionContext) -> Json:
    """Audits of the dataset, and the tables of one of them: the one asked for, else the newest."""
    from fiftyone_deepcluster.dataset.audit.audit import list_audits

    keys = list_audits(ctx.dataset)
    asked = optional_text_param(ctx, "audit")
    key = asked if asked in keys else keys[-1] if keys else None
    if key is None:
        return {"audits": [], "audit": None}
    review = _review(ctx, key)
    return {"audits": keys, "audit": _facts(review.audit), **_state(review)}


def _facts(audit: Audit) -> Json:
    """The part of the answer that changes only when the scores are fitted again."""
    from fiftyone_deepcluster.app.operators.fields import own_label_fields
    from fiftyone_deepcluster.dataset.audit.commit import audited_field
    from fiftyone_deepcluster.dataset.runs import storage

    record, run, field = audit.record, audit.settings_now["run"], audited_field(audit)
    others = [] if audit.patches_field is not None else own_label_fields(audit.dataset)
    tables = record.model_dump(mode="json")
    return {
        "key": audit.key,
        "unit": audit.fields.unit,
        "label_field": audit.label_field,
        "fields": list(dict.fromkeys([field, *others])),
        "run": run if run in storage.keys(audit.dataset) else None,
        "classes": tables["classes"][:_MOST_CLASSES],
        "by_class": tables["by_class"][:_MOST_ROWS],
        "clusters": tables["clusters"][:_MOST_ROWS],
        **{
            name: tables[name] for name in ("n_images", "n_labeled", "n_audited", "noise", "issues", "n_fits")
        },
    }


def _state(review: LabelReview) -> Json:
    """The part of the answer that every decision changes."""
    from fiftyone_deepcluster.dataset.audit.queue import suspicious_pairs

    state = review.state()  # read first, so that decisions made while this answer is built cause a reload
    return {
        "left": suspicious_pairs(review.audit)[:_MOST_ROWS],
        "progress": review.progress(),
        "history": history_json(state),
    }


def audit_queue(ctx: foo.ExecutionContext) -> Json:
    """The next labels of a queue."""
    n = max(1, count_param(ctx, "n", _MOST_ITEMS))
    count, first = flag_param(ctx, "count"), optional_text_param(ctx, "first")
    found = _review(ctx).queue(n, first=first, count=count, **_wanted(ctx))
    return {"total": found["total"], "items": [_item(item) for item in found["items"]]}


def _item(item: Json) -> Json:
    """An item of the queue, with its pictures in the format of the other answers."""
    names = ("given", "suggestion", "p_wrong", "reason", "group", "cluster")
    near = [
        {**_picture(other), "given": other["given"], "decision": other["decision"]}
        for other in item["neighbors"]
    ]
    return {
        **_picture(item),
        **{name: item[name] for name in names},
        "issues": item["issues"] or [],
        "neighbors": near,
    }


def _picture(item: Json) -> Json:
    return {"id": item["id"], "sample": item["sample_id"], "path": item["filepath"], "box": item["box"]}


def audit_edit(ctx: foo.ExecutionContext) -> Json:
    """Carry out an edit. The answer is ``stale`` if others edited after the version that the browser has.

    ``number`` is that of the newest edit, or of the one that was undone or redone.
    """
    review = _review(ctx)
    asked = ctx.params.get("edit")
    if not isinstance(asked, dict) or asked.get("verb") not in _VERBS:
        raise InputError(f"edit={asked!r}: give a verb, one of {', '.join(_VERBS)}")
    fields = field_paths(ctx)
    change, number, changes_labels = _VERBS[asked["verb"]](review, asked)
    if changes_labels:
        reload_shown(ctx, fields_changed=field_paths(ctx) != fields)
    return {
        "change": {"n_changed": change.n_changed, "n_kept": change.n_kept, "text": change.text},
        "number": number,
        "progress": review.progress(),
        "history": history_json(state_shown(review)),
        "stale": review.version_before is not None and review.version_before != ctx.params.get("version"),
    }


def _decide(review: LabelReview, asked: Json) -> tuple[Change, int | None, bool]:
    image, group = asked.get("image"), asked.get("group")
    change = review.decide(image, asked["decision"], label=asked.get("label"), group=group)
    return change, _newest(review), False


def _accept_above(review: LabelReview, asked: Json) -> tuple[Change, int | None, bool]:
    change = review.accept_above(asked["p_wrong"], **asked.get("wanted", {}))
    return change, _newest(review), False


def _commit(review: LabelReview, asked: Json) -> tuple[Change, int | None, bool]:
    return review.commit(asked["field"], overwrite=asked.get("overwrite", False)), _newest(review), True


def _newest(review: LabelReview) -> int | None:
    newest = state_shown(review).next_undo
    return None if newest is None else newest.number


def _undo(review: LabelReview, asked: Json) -> tuple[Change, int | None, bool]:
    return _taken_back("Undone", review, review.undo())


def _redo(review: LabelReview, asked: Json) -> tuple[Change, int | None, bool]:
    return _taken_back("Redone", review, review.redo())


def _taken_back(word: str, review: LabelReview, edits: list[Any]) -> tuple[Change, int | None, bool]:
    change = taken_back(word, review.audit.fields, edits)
    return change, edits[0].number if edits else None, any(edit.verb == "commit" for edit in edits)


_VERBS: dict[str, Callable[[LabelReview, Json], tuple[Change, int | None, bool]]] = {
    "decide": _decide,
    "accept_above": _accept_above,
    "commit": _commit,
    "undo": _undo,
    "redo": _redo,
}


def preview_above(ctx: foo.ExecutionContext) -> Json:
    """What accepting all suggestions above a probability would do, and some of the images."""
    p_wrong, seed = ctx.params.get("p_wrong"), count_param(ctx, "seed", 10**9)
    found = _review(ctx).preview_above(p_wrong, seed=seed, **_wanted(ctx))  # type: ignore[arg-type]
    return {
        "n": found["n"],
        "pairs": found["pairs"][:_MOST_ROWS],
        "sample": [_item(item) for item in found["sample"]],
    }


def preview_labels(ctx: foo.ExecutionContext) -> Json:
    """What writing the decided labels to a field would change."""
    found = _review(ctx).preview_commit(text_param(ctx, "field"), overwrite=flag_param(ctx, "overwrite"))
    return {**found, "pairs": found["pairs"][:_MOST_ROWS]}


def refit(ctx: foo.ExecutionContext) -> Json:
    """Fit the scores again; other events are answered meanwhile."""
    _review(ctx).refit()
    ctx.ops.reload_samples()
    return {}


def poll_audit(ctx: foo.ExecutionContext) -> Json:
    """Whether decisions were made elsewhere, and how often the scores were fitted."""
    from fiftyone_deepcluster.dataset.audit.audit import list_audits
    from fiftyone_deepcluster.dataset.audit.progress import is_refitting

    keys, key = list_audits(ctx.dataset), optional_text_param(ctx, "audit")
    if key not in keys:
        return {"audits": keys, "stale": False, "n_fits": 0, "refitting": False}
    review = _review(ctx, key)
    return {
        "audits": keys,
        "stale": review.version() != ctx.params.get("version"),
        "n_fits": review.audit.record.n_fits,
        "refitting": is_refitting(review.audit),
    }


def _review(ctx: foo.ExecutionContext, key: str | None = None) -> LabelReview:
    """The audit that the event is about; its scores are fitted again by an event of their own."""
    from fiftyone_deepcluster.dataset.audit.label_review import review_labels

    name = text_param(ctx, "audit") if key is None else key
    return review_labels(ctx.dataset, name, user=user_of(ctx), refit_every=0)


def _wanted(ctx: foo.ExecutionContext) -> Json:
    """Which labels of the queue are wanted."""
    wanted = ctx.params.get("wanted") or {}
    if not isinstance(wanted, dict):
        raise InputError(f"wanted={wanted!r} is not an object; the Clusters panel sent an invalid event")
    return wanted
