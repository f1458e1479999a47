"""Runs and other jobs of the dataset with their progress, and the forms that start, resume, rename and delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators.resume_clustering import resume_job
from fiftyone_deepcluster.app.operators.vector_inputs import shown_again
from fiftyone_deepcluster.app.panels.answers import common
from fiftyone_deepcluster.app.panels.answers.common import (
    Json,
    optional_text_param,
    run_of,
    text_param,
    texts_param,
)
from fiftyone_deepcluster.app.running import cancel_job
from fiftyone_deepcluster.app.wording import in_app_words
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import fiftyone as fo
    import fiftyone.operators as foo

    from fiftyone_deepcluster.dataset.runs.interrupted import Interrupted
    from fiftyone_deepcluster.dataset.runs.status import LiveState

_MOST_FIELDS = 10_000

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
        names.RECOMMEND_NUMBER,
        names.AUDIT_LABELS,
        names.IMPORT_DICOM,
    )
}


def rows_of(dataset: fo.Dataset) -> Json:
    """Every run with a result or a state, and every other job with a state; oldest first."""
    from fiftyone_deepcluster.dataset.runs import status
    from fiftyone_deepcluster.dataset.runs.job_names import is_run

    states, forms = status.read_states(dataset), status.kept_forms(dataset)
    runs = {key: state for key, state in states.items() if is_run(key)}
    jobs = sorted((states[name] for name in states if name not in runs), key=lambda state: state.started)
    return {"runs": _run_rows(dataset, runs, forms), "jobs": [_job_row(state, forms) for state in jobs]}


def _job_row(state: LiveState, forms: dict[str, Any]) -> Json:
    from fiftyone_deepcluster.dataset.runs.job_names import about_of, verb_of

    # the form follows a run that is renamed, the name of the job does not
    about = forms.get(state.key, {}).get("params", {}).get("key")
    return {
        "key": state.key,
        "verb": verb_of(state.key),
        "about": about or about_of(state.key),
        "method": state.method,
        "status": state.status,
        "text": _text(state),
        "fraction": (state.fraction or None) if state.status == "running" else None,
        "started": state.started,
        "cancelling": state.cancelling,
        "again": not state.busy and state.key in forms,
        "made": state.made,
    }


def _run_rows(dataset: fo.Dataset, states: dict[str, LiveState], forms: dict[str, Any]) -> list[Json]:
    from fiftyone_deepcluster.dataset.runs import storage
    from fiftyone_deepcluster.dataset.runs.run import interrupted_runs

    finished = storage.keys(dataset)
    left = interrupted_runs(dataset)
    rows = []
    for key in dict.fromkeys([*finished, *left, *states]):
        state = states.get(key)
        busy = state is not None and state.busy
        # a run that was replaced is still there while its replacement is made, and if that failed
        shown = state is not None and (
            busy or state.status == "failed" or state.refused or key not in finished
        )
        rows.append(
            {
                "key": key,
                "method": _method(dataset, key, finished, state.method if state else ""),
                "status": _status(key, state, finished, left),
                "text": _text(state) if state is not None and shown else "",
                "fraction": state.fraction if state is not None and state.status == "running" else None,
                "started": None if state is None else state.started,
                "cancelling": state is not None and state.cancelling,
                "resumable": key in left
                or (key in finished and state is not None and state.status == "cancelled"),
                "again": not busy and key in forms,
                "charts": live_charts(state.metrics) if state is not None and busy else [],
            }
        )
    return rows


def _status(key: str, state: LiveState | None, finished: list[str], left: dict[str, Interrupted]) -> str:
    if state is not None and state.busy:
        return state.status
    if key in finished:
        return "finished"
    if key in left:
        return "interrupted"
    return "cancelled" if state is not None and state.status == "cancelled" else "failed"


def _text(state: LiveState) -> str:
    """What a job does; of one that has ended, the error or result, else what it did last."""
    if not state.busy:
        said = in_app_words(state.error) or state.text
        return f"{said}; not resumed: {in_app_words(state.refused)}" if state.refused else said
    if state.cancelling:
        return f"{state.label} · stops after this batch"
    return state.text


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
    """Runs and other jobs with their progress, and whether edits were made elsewhere."""
    from fiftyone_deepcluster.dataset.audit.audit import list_audits
    from fiftyone_deepcluster.dataset.review.review import Review
    from fiftyone_deepcluster.dataset.runs.run import load_run

    rows = rows_of(ctx.dataset)
    key = optional_text_param(ctx, "key")
    stale = False
    if key is not None and any(row["key"] == key and row["status"] == "finished" for row in rows["runs"]):
        stale = Review(load_run(ctx.dataset, key)).version() != ctx.params.get("version")
    return {**rows, "audits": list_audits(ctx.dataset), "stale": stale}


def start(ctx: foo.ExecutionContext) -> None:
    """Open the form of an operator."""
    operator, key = text_param(ctx, "operator"), optional_text_param(ctx, "key")
    if operator not in _FORMS:
        raise InputError(f"operator={operator!r}: give one of {', '.join(_FORMS)}")
    ctx.prompt(_FORMS[operator], params={} if key is None else {"key": key})


def start_again(ctx: foo.ExecutionContext) -> None:
    """Open the form that started a run or other job, with the values that were entered."""
    from fiftyone_deepcluster.dataset.runs import status
    from fiftyone_deepcluster.dataset.runs.job_names import in_words

    key = text_param(ctx, "key")
    form = status.kept_forms(ctx.dataset).get(key)
    if form is None:
        raise InputError(f"the values entered for {in_words(key)} are no longer stored; start it again")
    ctx.prompt(form["operator"], params=shown_again(form["params"], ctx.dataset))


def resume_run(ctx: foo.ExecutionContext) -> Json:
    """Resume a run in the background; answers the runs and jobs."""
    resume_job(ctx.dataset, text_param(ctx, "key")).start()
    return rows_of(ctx.dataset)


def cancel_and_list(ctx: foo.ExecutionContext) -> Json:
    """Request a run or other job to stop; answers the runs and jobs."""
    cancel_job(ctx.dataset, text_param(ctx, "key"))
    return rows_of(ctx.dataset)


def dismiss(ctx: foo.ExecutionContext) -> Json:
    """Remove the state of a job that has ended, not its results; answers the runs and jobs."""
    from fiftyone_deepcluster.dataset.runs import status
    from fiftyone_deepcluster.dataset.runs.job_log import drop_log

    state = _ended_job(ctx)
    status.forget(ctx.dataset, state.key)
    drop_log(ctx.dataset, state.key)
    return rows_of(ctx.dataset)


def open_made(ctx: foo.ExecutionContext) -> None:
    """Open the dataset that a job has filled."""
    import fiftyone as fo

    made = _ended_job(ctx).made
    if not made or not fo.dataset_exists(made):
        raise InputError(f"the dataset {made!r} no longer exists; choose another from the list of datasets")
    ctx.ops.open_dataset(made)


def _ended_job(ctx: foo.ExecutionContext) -> LiveState:
    from fiftyone_deepcluster.dataset.runs import status
    from fiftyone_deepcluster.dataset.runs.job_names import is_run

    name = text_param(ctx, "key")
    state = status.read_states(ctx.dataset).get(name)
    if state is None or state.busy or is_run(name):
        raise InputError(f"key={name!r} is no job that has ended; choose one that the panel shows")
    return state


def show_edits(ctx: foo.ExecutionContext) -> None:
    """Make the App show what others have edited, and the label fields that the browser does not know yet."""
    from fiftyone_deepcluster.dataset.review.overview import label_fields

    known = texts_param(ctx, "label_fields", _MOST_FIELDS)
    common.reload_shown(ctx, fields_changed=label_fields(run_of(ctx)) != known)


def show_fields(ctx: foo.ExecutionContext) -> None:
    """Make the App reload the dataset, so that it shows the fields of a run that has just ended."""
    ctx.ops.reload_dataset()
