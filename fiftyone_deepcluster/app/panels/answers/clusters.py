"""Clusters of a run, and pages of their images."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fiftyone_deepcluster.app.panels.answers.common import (
    Json,
    count_param,
    optional_text_param,
    run_of,
    text_param,
    texts_param,
)
from fiftyone_deepcluster.app.panels.answers.runs import rows_of
from fiftyone_deepcluster.app.wording import in_app_words
from fiftyone_deepcluster.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import fiftyone as fo
    import fiftyone.operators as foo

    from fiftyone_deepcluster.dataset.review.edit_log import LogState
    from fiftyone_deepcluster.dataset.review.overview import ClusterRow, ImageOrder, Picture
    from fiftyone_deepcluster.dataset.runs.run import Run

MOST_STRIPS, MOST_PICTURES, MOST_IMAGES, MOST_SEARCHED = 60, 32, 500, 8


def load_board(ctx: foo.ExecutionContext) -> Json:
    """Runs of the dataset, and everything about the clusters of one of them."""
    from fiftyone_deepcluster.dataset.audit.audit import list_audits
    from fiftyone_deepcluster.dataset.review.nearest import nearest_numbers
    from fiftyone_deepcluster.dataset.review.overview import cluster_rows
    from fiftyone_deepcluster.dataset.review.review import Review
    from fiftyone_deepcluster.dataset.review.reviewed import reviewed
    from fiftyone_deepcluster.dataset.runs.run import load_run

    rows = rows_of(ctx.dataset)
    whole = {**rows, "audits": list_audits(ctx.dataset), "sidebar": sidebar_json(ctx.dataset)}
    key = shown_key(optional_text_param(ctx, "key"), rows["runs"])
    if key is None:
        nothing: Json = {
            "run": None,
            "clusters": [],
            "nearest": {},
            "history": NO_HISTORY,
            "label_field": None,
        }
        return {**whole, **nothing}
    run = load_run(ctx.dataset, key)
    review = Review(run)
    state = review.state()  # read first, so that edits made while this answer is built cause a reload
    label_field = shown_label_field(ctx, run)
    clusters = cluster_rows(run, label_field)
    marked = set(reviewed(run))
    return {
        **whole,
        "run": facts(run),
        "clusters": clusters_json(run, clusters, marked),
        "nearest": {str(number): others for number, others in nearest_numbers(run).items()},
        "history": history_json(state),
        "label_field": label_field,
    }


def sidebar_json(dataset: fo.Dataset) -> list[Json]:
    """Groups of the sidebar as stored; an open browser does not load them again by itself."""
    from fiftyone.core.odm import get_db_conn

    found = get_db_conn().datasets.find_one({"_id": dataset._doc.id}, {"app_config.sidebar_groups": 1}) or {}
    groups = (found.get("app_config") or {}).get("sidebar_groups") or []
    return [
        {"name": group["name"], "paths": group.get("paths") or [], "expanded": group.get("expanded")}
        for group in groups
    ]


def shown_label_field(ctx: foo.ExecutionContext, run: Run) -> str | None:
    """The label field that the browser compares with; None where it was deleted, or the run has no such field."""
    from fiftyone_deepcluster.dataset.review.overview import label_fields

    field = optional_text_param(ctx, "label_field")
    return field if field in label_fields(run) else None


NO_HISTORY: Json = {"undo": None, "redo": None, "lost": 0, "version": 0}


def shown_key(asked: str | None, rows: list[Json]) -> str | None:
    """Key of the run to show: the one asked for, else the newest finished one."""
    finished = [row["key"] for row in rows if row["status"] == "finished"]
    if asked in finished:
        return asked
    return finished[-1] if finished else None


def facts(run: Run) -> Json:
    """Key, outcome and warnings of the run, without its clusters."""
    from fiftyone_deepcluster.core.record import StopReason
    from fiftyone_deepcluster.dataset.review.overview import label_fields

    return {
        "key": run.key,
        "method": run.record.method,
        "unit": run.fields.unit,
        "label_fields": label_fields(run),
        "label_path": run.fields.path("label"),
        "map": run.fields.viz_key if run.dataset.has_brain_run(run.fields.viz_key) else None,
        "rounds": len(run.rounds),
        "verdict": in_app_words(run.record.verdict),
        "facts": _sentence(run),
        "warnings": _warnings(run),
        "resumable": run.stop_reason in (StopReason.CANCELLED, StopReason.OUT_OF_TIME),
    }


def _sentence(run: Run) -> str:
    record = run.record
    found = [
        record.method,
        run.fields.counted(record.n_images),
        counted(record.n_clusters, "cluster"),
        counted(len(record.rounds), "round"),
    ]
    truth = record.rounds[-1].truth if record.rounds else None
    if truth is not None:
        found.append(f"ACC {truth.acc:.3f}, NMI {truth.nmi:.3f} to ground truth (evaluation only)")
    return ". ".join(part for part in (" · ".join(found), record.outcome) if part)


def _warnings(run: Run) -> list[str]:
    from fiftyone_deepcluster.core.record import StopReason

    found = list(run.record.notes)
    if run.stop_reason in (StopReason.COLLAPSED, StopReason.DIVERGED):
        found.insert(0, run.record.outcome)
    if run.record.n_failed:
        found.insert(
            0,
            f"{run.fields.counted(run.record.n_failed)} could not be read; the reasons are in the field "
            f"{run.fields.path('error')}.",
        )
    return [in_app_words(text) for text in found]


def clusters_json(run: Run, rows: Iterable[ClusterRow], reviewed: set[str]) -> list[Json]:
    """Clusters as the browser needs them."""
    words = _key_words(run)
    return [
        {
            "name": row.name,
            "size": row.size,
            "reviewed": row.name in reviewed,
            "noise": row.is_noise,
            "distance": row.distance,
            "confidence": row.confidence,
            "uncertain": row.uncertain,
            "changes": row.changes,
            "stability": row.stability,
            "outlier_from": row.outlier_from,
            "numbers": sorted(row.numbers, key=lambda number: -row.numbers[number]),
            "majority": row.majority,
            "majority_share": row.majority_share,
            "key_words": words.get(row.name, []),
        }
        for row in rows
    ]


def _key_words(run: Run) -> Mapping[str, list[str]]:
    from fiftyone_deepcluster.dataset.results.categories import stored_key_words

    found = stored_key_words(run, run.clusters(n_exemplars=0)) if has_key_words(run) else None
    return {name: [word.word for word in words] for name, words in (found or {}).items()}


def has_key_words(run: Run) -> bool:
    """Whether key words were computed; checked first, as they need all clusters."""
    from fiftyone_deepcluster.dataset.results.results_cache import Findings

    return Findings(run).load("key_words") is not None


def history_json(state: LogState) -> Json:
    """What Undo and Redo would do, how many edits cannot be undone, and the version of what is shown."""
    undo, redo = state.next_undo, state.next_redo
    return {
        "undo": undo.text if undo else None,
        "redo": redo.text if redo else None,
        "lost": len(state.lost),
        "version": state.version,
    }


def load_strips(ctx: foo.ExecutionContext) -> Json:
    """The images nearest to the center of some clusters."""
    from fiftyone_deepcluster.dataset.review.overview import strips

    names = texts_param(ctx, "clusters", MOST_STRIPS)
    found = strips(run_of(ctx), names, count_param(ctx, "n", MOST_PICTURES))
    return {"strips": {name: [picture_json(picture) for picture in some] for name, some in found.items()}}


def load_images(ctx: foo.ExecutionContext) -> Json:
    """A page of the images of a cluster."""
    from fiftyone_deepcluster.dataset.review.overview import page

    run = run_of(ctx)
    found, total = page(
        run,
        text_param(ctx, "cluster"),
        cast("ImageOrder", text_param(ctx, "order")),
        offset=count_param(ctx, "offset", 10**9),
        limit=count_param(ctx, "limit", MOST_IMAGES),
        label_field=shown_label_field(ctx, run),
    )
    return {"images": [{**picture_json(picture), **picture.values} for picture in found], "total": total}


def load_similar(ctx: foo.ExecutionContext) -> Json:
    """Images similar to some others, in some clusters."""
    from fiftyone_deepcluster.dataset.review.similar import similar_images

    run = run_of(ctx)
    found = similar_images(
        run,
        texts_param(ctx, "ids", MOST_IMAGES),
        texts_param(ctx, "clusters", MOST_SEARCHED),
        count_param(ctx, "n", MOST_IMAGES),
        shown_label_field(ctx, run),
    )
    return {"images": [{**picture_json(picture), **picture.values} for picture in found], "total": len(found)}


def load_flow(ctx: foo.ExecutionContext) -> Json:
    """Where the images of a cluster were in every round; None without rounds."""
    from dataclasses import asdict

    from fiftyone_deepcluster.dataset.review.flow import cluster_flow

    found = cluster_flow(run_of(ctx), text_param(ctx, "cluster"))
    return {"flow": None if found is None else asdict(found)}


def picture_json(picture: Picture) -> Json:
    """One image."""
    return {
        "id": picture.image_id,
        "sample": picture.sample_id,
        "path": picture.path,
        "box": picture.box,
    }


def suggest_names(ctx: foo.ExecutionContext) -> Json:
    """Names to suggest for a cluster: its majority class, key words, names used before, classes of the label field."""
    from fiftyone_deepcluster.dataset.review.overview import cluster_rows

    run = run_of(ctx)
    cluster = text_param(ctx, "cluster")
    row = next(iter(cluster_rows(run, shown_label_field(ctx, run), [cluster])), None)
    majority = [row.majority] if row is not None and row.majority is not None else []
    used = [name for name in run.names() if not name.startswith("cluster-") and name != "noise"]
    classes = [*run.dataset.default_classes, *run.dataset.classes.get("ground_truth", [])]
    found = [*majority, *_key_words(run).get(cluster, [])[:5], *used, *classes]
    return {"names": [name for name in dict.fromkeys(found) if name != cluster][:50]}
