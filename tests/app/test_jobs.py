"""Jobs other than runs, from their forms and by a worker: what the panel shows of them, and what can be done."""

from __future__ import annotations

import time

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from sklearn.datasets import load_digits

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import AuditLabels, CancelClustering, RecommendNumber
from fiftyone_deepcluster.app.running import follow
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.audit.audit import delete_audit, list_audits
from fiftyone_deepcluster.dataset.results.numbers import stored_sweep
from fiftyone_deepcluster.dataset.review.review import review
from fiftyone_deepcluster.dataset.runs import queue, status
from fiftyone_deepcluster.dataset.runs.job_log import log_file
from fiftyone_deepcluster.dataset.runs.kv import find
from fiftyone_deepcluster.dataset.runs.run import list_runs, load_run, rename_run
from tests.app.test_operators import inputs_of, requests_of

LAYOUT = fo.Space(children=[fo.Panel(type="Samples", pinned=True)]).to_dict()
SECONDS = 200
AUDIT = "job-audit_labels-audit"


@pytest.fixture
def dataset(plugin, make_digits):
    """200 digits with their pixels as vectors."""
    dataset = make_digits(200, persistent=True)
    dataset.add_sample_field("pixels", fo.VectorField)
    dataset.set_values("pixels", list(load_digits().data[:200].astype(np.float32)))
    return dataset


@pytest.fixture
def clustered(dataset):
    cluster(dataset, "frozen", "dc", n_clusters=4, baselines=False, compute_brain=False, progress=False)
    return dataset


def until_ended(dataset, name):
    end = time.monotonic() + SECONDS
    while status.read_states(dataset)[name].busy and time.monotonic() < end:
        time.sleep(0.1)
    dataset.reload()
    return status.read_states(dataset)[name]


def test_a_form_starts_an_audit_in_the_background(make_context, asker, dataset):
    params = {"label_field": "ground_truth", "embeddings_field": "pixels"}
    ctx = make_context(dataset, params, spaces=LAYOUT, operator_uri=names.AUDIT_LABELS)
    assert AuditLabels().execute(ctx) == {"key": "audit", "background": True, "text": ""}
    called = requests_of(ctx)
    assert "Audit labels runs in the background" in called["notify"]["message"]
    assert "open_panel" in called
    ask = asker(dataset)
    shown = ask("poll", key=None)
    assert shown["runs"] == []
    assert [(job["key"], job["verb"], job["about"]) for job in shown["jobs"]] == [
        (AUDIT, "audit_labels", "audit")
    ]
    assert shown["jobs"][0]["status"] in ("queued", "running")
    # it is not started twice: the form opens again
    again = make_context(dataset, params, spaces=LAYOUT, operator_uri=names.AUDIT_LABELS)
    assert AuditLabels().execute(again) is None
    assert "'Audit labels' of 'audit'" in requests_of(again)["notify"]["message"]
    state = until_ended(dataset, AUDIT)
    assert (state.status, state.error) == ("finished", "")
    assert list_audits(dataset) == ["audit"]
    job = ask("poll", key=None)["jobs"][0]
    assert (job["status"], job["again"]) == ("finished", True)
    assert job["text"].startswith("200 labels audited")
    assert not log_file(dataset, AUDIT).parent.exists()

    # again, where the audit is in the way: the reason is shown, and the form can be opened as it was
    assert AuditLabels().execute(make_context(dataset, params, spaces=LAYOUT))["background"]
    assert until_ended(dataset, AUDIT).status == "failed"
    job = ask("poll", key=None)["jobs"][0]
    assert job["text"].startswith(f"{dataset.name!r} already has an audit 'audit'; choose another name")
    ask("start_again", key=AUDIT)
    assert ask.calls["prompt_user_for_operation"]["params"] == params
    assert log_file(dataset, AUDIT).exists()
    assert ask("dismiss", key=AUDIT)["jobs"] == []
    assert not log_file(dataset, AUDIT).exists()
    assert find(dataset, "job-") == {}
    assert "no job that has ended" in ask.send("dismiss", key=AUDIT)["message"]
    assert list_audits(dataset) == ["audit"]


def test_a_worker_carries_out_what_was_scheduled(asker, clustered):
    params = {"key": "dc", "largest": 4, "repetitions": 2}
    foo.execute_operator(
        names.RECOMMEND_NUMBER, {"dataset": clustered}, params=params, request_delegation=True
    )
    ask = asker(clustered)
    job = ask("poll", key=None)["jobs"][0]
    assert (job["key"], job["status"], job["text"]) == (
        "job-recommend_number-dc",
        "queued",
        "waiting for a worker",
    )
    service = DelegatedOperationService()
    service.execute_queued_operations(dataset_name=clustered.name)
    operation = service.list_operations(dataset_name=clustered.name)[0]
    assert (operation.run_state, operation.status.label) == ("completed", "finished")
    found = stored_sweep(load_run(clustered, "dc"))
    assert found.numbers == (2, 3, 4)
    job = ask("poll", key=None)["jobs"][0]
    assert (job["status"], job["text"]) == ("finished", f"R{found.advice[1:]}")


def test_what_was_scheduled_can_be_cancelled(make_context, asker, clustered):
    foo.execute_operator(
        names.RECOMMEND_NUMBER, {"dataset": clustered}, params={"key": "dc"}, request_delegation=True
    )
    name = "job-recommend_number-dc"
    form = inputs_of(CancelClustering(), make_context(clustered))
    assert [(choice.value, choice.label) for choice in form.get_property("key").view.choices] == [
        (name, "'Recommend number' of 'dc'")
    ]
    rows = asker(clustered)("cancel", key=name)
    assert [job["status"] for job in rows["jobs"]] == ["cancelled"]
    service = DelegatedOperationService()
    service.execute_queued_operations(dataset_name=clustered.name)
    assert service.list_operations(dataset_name=clustered.name)[0].run_state == "failed"
    assert stored_sweep(load_run(clustered, "dc")) is None


def test_a_scheduled_refinement_gets_its_name(clustered):
    review(clustered, "dc").mark_reviewed(["cluster-00"])
    foo.execute_operator(
        names.REFINE_CLUSTERING, {"dataset": clustered}, params={"key": "dc"}, request_delegation=True
    )
    assert status.read_states(clustered)["dc2"].status == "queued"
    DelegatedOperationService().execute_queued_operations(dataset_name=clustered.name)
    clustered.reload()
    assert list_runs(clustered) == ["dc", "dc2"]
    assert status.read_states(clustered)["dc2"].status == "finished"


def test_jobs_go_with_the_run_or_audit_that_they_are_about(make_context, clustered):
    RecommendNumber().execute(make_context(clustered, {"key": "dc", "largest": 4, "repetitions": 2}))
    AuditLabels().execute(make_context(clustered, {"label_field": "ground_truth", "run": "dc"}))
    assert {"job-recommend_number-dc", AUDIT} < set(status.read_states(clustered))
    clustered.reload()
    rename_run(clustered, "dc", "other")
    assert set(status.read_states(clustered)) == {AUDIT}
    delete_audit(clustered, "audit")
    assert status.read_states(clustered) == {}


def test_a_job_on_its_way_is_shown_with_the_new_key_of_its_run_and_so_is_its_form(asker, clustered):
    name = "job-recommend_number-dc"
    form = {"operator": names.RECOMMEND_NUMBER, "params": {"key": "dc", "largest": 4}}
    queue.enter(clustered, name, "Recommend number")
    status.keep_form(clustered, name, form)
    rename_run(clustered, "dc", "other")
    (job,) = asker(clustered)("poll", key=None)["jobs"]
    assert (job["key"], job["about"], job["status"]) == (name, "other", "queued")
    assert status.kept_forms(clustered) == {name: {**form, "params": {"key": "other", "largest": 4}}}


def test_a_worker_that_is_stopped_stops_the_job(dataset):
    stopped = []

    def work(observer):
        while not observer.cancelled():
            time.sleep(0.05)
        stopped.append("stopped")

    queue.enter(dataset, AUDIT, "Audit labels")
    states = follow(dataset, AUDIT, work)
    assert next(states).label == "waiting for a worker"
    states.close()
    end = time.monotonic() + SECONDS
    while not stopped and time.monotonic() < end:
        time.sleep(0.05)
    assert stopped == ["stopped"]
