"""Runs of the dataset with their progress, and the forms that start, resume, rename and delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators.progress import FROM_PANEL
from fiftyone_deepcluster.app.panels.answers.common import Json, optional_text_param, text_param
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import fiftyone as fo
    import fiftyone.operators as foo


_FORMS = {
    uri.removeprefix(f"{names.PLUGIN}/"): uri
    for uri in (
        names.CLUSTER_IMAGES,
        names.RESUME_CLUSTERING,
        names.REFINE_CLUSTERING,
        names.RENAME_CLUSTERING_RUN,
        names.DELETE_CLUSTERING_RUN,
        names.PROBE_LAYERS,
        names.DRAW_FILTERS,
        names.FIND_NEIGHBORS,
        names.FIND_KEY_WORDS,
        names.BUILD_CATEGORY_TREE,
        names.IMPORT_DICOM,
    )
}


def run_rows(dataset: fo.Dataset) -> list[Json]:
    """Every run with a result or a state, oldest first."""
    from fiftyone_deepcluster.dataset.runs import status, storage
    from fiftyone_deepcluster.dataset.runs.run import interrupted_runs

    finished = storage.keys(dataset)
    states = status.read_states(dataset)
    left = interrupted_runs(dataset)
    rows = []
    for key in dict.fromkeys([*finished, *left, *states]):
        state = states.get(key)
        kind: str
        if state is not None and state.busy:
            kind = state.status
        elif key in finished:
            kind = "finished"
        else:
            kind = "interrupted" if key in left else state.status if state is not None else "failed"
        busy = state is not None and state.busy
        shown = state if state is not None and (busy or key not in finished) else None
        rows.append(
            {
                "key": key,
                "method": _method(dataset, key, finished, state.method if state else ""),
                "status": "failed" if kind in ("done", "cancelled") else kind,
                "text": "" if shown is None else shown.error or shown.label,
                "fraction": None if shown is None or shown.status == "queued" else shown.fraction,
                "started": None if state is None else state.started,
                "charts": live_charts(state.metrics) if state is not None and busy else [],
            }
        )
    return rows


def live_charts(metrics: list[dict[str, float | int | None]]) -> list[Json]:
    """Charts of the completed rounds of a run at work, from the second round on."""
    if len(metrics) < 2:
        return []
    drawn = (("Loss", "loss"), ("NMI to the last round", "nmi"), ("Largest cluster", "largest_share"))
    charts = []
    for title, name in drawn:
        values = [entry.get(name) for entry in metrics]
        if any(value is not None for value in values):
            charts.append({"title": title, "unit": "", "lines": [{"name": name, "values": values}]})
    return charts


def _method(dataset: fo.Dataset, key: str, finished: list[str], other: str) -> str:
    from fiftyone_deepcluster.dataset.runs import storage

    if key not in finished:
        return other
    return storage.header_of(dataset, key)[0].method


def poll(ctx: foo.ExecutionContext) -> Json:
    """Runs and their progress, and whether edits were made elsewhere."""
    from fiftyone_deepcluster.dataset.review.review import Review
    from fiftyone_deepcluster.dataset.runs.run import load_run

    rows = run_rows(ctx.dataset)
    key = optional_text_param(ctx, "key")
    stale = False
    if key is not None and any(row["key"] == key and row["status"] == "finished" for row in rows):
        stale = Review(load_run(ctx.dataset, key)).version() != ctx.params.get("version")
    return {"runs": rows, "stale": stale}


def start(ctx: foo.ExecutionContext) -> None:
    """Open the form of an operator, or cancel a run."""
    operator, key = text_param(ctx, "operator"), optional_text_param(ctx, "key")
    if operator == "cancel_clustering":
        ctx.trigger(names.CANCEL_CLUSTERING, params={"key": key})
    elif operator in _FORMS:
        ctx.prompt(_FORMS[operator], params={} if key is None else {"key": key, FROM_PANEL: True})
    else:
        raise InputError(f"operator={operator!r}: give one of {', '.join(_FORMS)}")
