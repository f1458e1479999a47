"""What is found after a process was killed: every sample loads, every run is whole, gone, or can be resumed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.operations import OPERATIONS

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.io.layouts import RunKind
    from tests.faults.operation import Operation

_EDITED = ("merge", "undo of a merge", "label", "undo of labels", "assign more")
_VALUES = (
    "ground_truth.label", "person.label", "parity.label", "dc.label", "new.label", "dc_category",
    "objects.detections.dc", "objects.detections.new", "audit_given", "audit_suggestion", "audit_rank",
    "audit_decision",
)  # fmt: skip


class LostError(Exception):
    """Something is lost or half-written."""


def need(holds: object, what: str) -> None:
    """Raise LostError with ``what`` unless ``holds`` is true."""
    if not holds:
        raise LostError(what)


def facts_of(dataset: fo.Dataset) -> dict[str, Any]:
    """Values that a person or a run wrote, by field, and the ids of the runs."""
    from fiftyone_deepcluster.dataset.runs import storage

    dataset.reload()
    order = {path: row for row, path in enumerate(sorted(dataset.values("filepath")))}
    values = {}
    for field in _VALUES:
        if dataset.get_field(field) is not None:
            rows = zip(*dataset.values(["filepath", field]), strict=True)
            found = [value for _, value in sorted((order[path], value) for path, value in rows)]
            values[field] = found if any(found) else None
    kinds: tuple[RunKind, ...] = ("clusters", "audit")
    runs = {
        key: storage.header_of(dataset, key, kind)[0].uid
        for kind in kinds
        for key in storage.keys(dataset, kind)
    }
    return {"values": {name: found for name, found in values.items() if found}, "runs": runs}


def look(name: str, group: str, before: dict[str, Any]) -> dict[str, Any]:
    """Check a dataset after the process that changed it died, bring the operation to its end, and check again.

    Returns:
        ``found``: the states of the runs; ``end``: the values in the end.

    Raises:
        LostError: something is lost.
    """
    import fiftyone as fo

    operation = OPERATIONS[group]
    dataset = fo.load_dataset(name)
    _load_samples(dataset, "before anything was completed")
    _check_people(dataset, before, operation)
    states = _states(dataset, operation)
    need(states in operation.expected, f"the runs are {states}")
    _check_runs(dataset, operation, states)
    _check_people(dataset, before, operation)
    if not _is_edit(operation):
        _check_old_runs(dataset, before)
    operation.finish(dataset, states)
    ends = _states(dataset, operation)
    need(ends == operation.ends, f"in the end the runs are {ends}")
    _check_runs(dataset, operation, ends)
    _check_tidy(dataset)
    if group == "assign":
        _check_runs(fo.load_dataset(f"{name}-origin"), operation, "finished absent")
    return {"found": states, "end": facts_of(dataset)["values"]}


def _load_samples(dataset: fo.Dataset, when: str) -> None:
    try:
        dataset.reload()
        for sample in dataset.iter_samples():
            sample.to_dict()
    except Exception as error:
        raise LostError(f"{when}: {type(error).__name__}: {error}") from error


def _is_edit(operation: Operation) -> bool:
    """Whether a person's labels, or the labels of a run, are what the operation changes."""
    edits_labels = operation.kind == "audit" and "commit" in operation.group
    return edits_labels or operation.group in _EDITED


def _check_people(dataset: fo.Dataset, before: dict[str, Any], operation: Operation) -> None:
    now = facts_of(dataset)["values"]
    if "DICOM" in operation.group:
        return  # more samples; theirs are compared in the end
    for field in ("ground_truth.label", "person.label", "parity.label"):
        if field == "ground_truth.label" or not _is_edit(operation):
            need(now.get(field) == before["values"].get(field), f"{field} changed")


def _check_old_runs(dataset: fo.Dataset, before: dict[str, Any]) -> None:
    """A run that was there has its values, under whatever key."""
    now = facts_of(dataset)
    for key, uid in now["runs"].items():
        for old, old_uid in before["runs"].items():
            if uid == old_uid:
                same = now["values"].get(f"{key}.label") == before["values"].get(f"{old}.label")
                need(same, f"the values of run {key} changed")


def _states(dataset: fo.Dataset, operation: Operation) -> str:
    import fiftyone_deepcluster as fdc
    from fiftyone_deepcluster.dataset.runs.run import finished_runs

    if operation.kind == "audit":
        finished = fdc.list_audits(dataset)
        interrupted = [key for key in finished if not fdc.load_audit(dataset, key).record.complete]
        finished = [key for key in finished if key not in interrupted]
    else:
        listed = fdc.list_runs(dataset)
        finished, interrupted = finished_runs(dataset), list(fdc.interrupted_runs(dataset))
        need(sorted(listed) == sorted([*finished, *interrupted]), f"listed {listed}")
    _load_samples(dataset, "after the runs were listed")
    states = [
        "finished" if key in finished else "interrupted" if key in interrupted else "absent"
        for key in operation.keys
    ]
    return " ".join(states)


def _check_runs(dataset: fo.Dataset, operation: Operation, states: str) -> None:
    from fiftyone_deepcluster.dataset.io.fields import FieldNames

    for key, state in zip(operation.keys, states.split(), strict=True):
        if state == "absent":
            _check_absent(dataset, FieldNames(key, operation.patches_field, operation.kind))
        elif state == "finished" and operation.kind == "audit":
            _check_audit(dataset, key)
        elif state == "finished":
            _check_finished(dataset, key, operation)


def _check_absent(dataset: fo.Dataset, names: FieldNames) -> None:
    from fiftyone_deepcluster.dataset.runs import run_files
    from fiftyone_deepcluster.dataset.runs.kv import find

    key = names.key
    for root in names.roots():
        need(dataset.get_field(root) is None, f"{root} without a run")
        need(not dataset._sample_collection.count_documents({root: {"$exists": True}}), f"values of {root}")
    need(not dataset.has_run(key), f"a record of {key}")
    need(not {names.viz_key, names.sim_key} & set(dataset.list_brain_runs()), f"brain runs of {key}")
    need(key not in [group.name for group in dataset.app_config.sidebar_groups or []], f"a group of {key}")
    folders = (run_files.run_dir(dataset, key), run_files.next_dir(dataset, key))
    need(not any(folder.exists() for folder in folders), f"files of {key}")
    need(not find(dataset, f"^change:{key}$"), f"an intent for {key}")


def _check_finished(dataset: fo.Dataset, key: str, operation: Operation) -> None:
    import fiftyone_deepcluster as fdc
    from fiftyone_deepcluster.core import checkpoints
    from fiftyone_deepcluster.dataset.runs import run_files

    run = fdc.load_run(dataset, key)
    n_images, n_labels = run.record.n_images, dataset.count(run.fields.path("label"))
    added = operation.group == "assign more"
    need(n_labels == n_images or (added and n_labels > n_images), f"{n_labels} of {n_images} labels")
    need(dataset.count(run.fields.path("embedding")) == n_labels, "embeddings are missing")
    need(sum(info.size for info in run.clusters()) == n_labels, "clusters")
    need(run.fields.path("label") in dataset.list_indexes(), "the index is missing")
    brain = {run.fields.viz_key, run.fields.sim_key} & set(dataset.list_brain_runs())
    need(len(brain) == 2 or (not operation.maps and not brain), f"brain runs: {brain}")
    for brain_key in brain:
        need(dataset.load_brain_results(brain_key) is not None, f"the results of {brain_key} are missing")
    job = run_files.load_job(run_files.run_dir(dataset, key))
    if operation.group != "assign":
        need(job is not None and job.header.uid == run.uid, "the files are those of another run")
        checkpoints.load(run_files.run_dir(dataset, key) / checkpoints.MODEL)


def _check_audit(dataset: fo.Dataset, key: str) -> None:
    import fiftyone_deepcluster as fdc

    audit = fdc.load_audit(dataset, key)
    record = audit.record
    ranks = [rank for rank in dataset.values(f"{key}_rank") if rank is not None]
    need(sorted(ranks) == list(range(record.n_audited)), f"the ranks are {sorted(ranks)}")
    need(dataset.count(f"{key}_given") == record.n_labeled, "labels are missing")
    need(dataset.count(f"{key}_p_wrong") == record.n_audited, "scores are missing")
    need(f"{key}_rank" in dataset.list_indexes(), "the index is missing")
    need(len(audit.to_dataframe()) == record.n_labeled, "rows of the table are missing")
    fdc.review_labels(dataset, key).progress()


def _check_tidy(dataset: fo.Dataset) -> None:
    """Nothing is left of what was interrupted."""
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.runs import run_files
    from fiftyone_deepcluster.dataset.runs.kv import find

    _load_samples(dataset, "in the end")
    folders = (run_files.dataset_dir(dataset), Path(fo.config.default_dataset_dir) / dataset.slug)
    left = [path.name for folder in folders for path in folder.rglob("*.partial")]
    left += [path.name for path in run_files.dataset_dir(dataset).glob("*.next")]
    need(not left, f"left: {left}")
    need(not find(dataset, "^change:"), "an intent is left")
