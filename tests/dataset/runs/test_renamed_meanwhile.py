"""Other processes rename, edit or delete runs while a call is on its way: it follows, or says so, and loses nothing."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.audit import audit_inputs
from fiftyone_deepcluster.dataset.results.neighbors import indexed_neighbors
from fiftyone_deepcluster.dataset.runs import lock, references, renaming, run_files, storage
from fiftyone_deepcluster.errors import RunError, RunNotFoundError
from tests.dataset.conftest import kmeans_result
from tests.dataset.runs.test_references import FROZEN, LDPO, QUIET, VECTORS, settings_of
from tests.observers import Acts, disk_full


@pytest.fixture
def dataset(make_digits, stored_run):
    """60 digits with a run ``dc``."""
    dataset = make_digits(60, persistent=True)
    stored_run(dataset)
    return dataset


@pytest.fixture
def before_lock(monkeypatch):
    """Do something just before a call locks a run, when it has read everything that it reads without the lock."""

    def arrange(key, act):
        acquire = lock.acquire

        def late(dataset, wanted):
            if wanted == key:
                monkeypatch.setattr(lock, "acquire", acquire)
                act()
            return acquire(dataset, wanted)

        monkeypatch.setattr(lock, "acquire", late)

    return arrange


@pytest.fixture
def after_names(monkeypatch):
    """Do something once, just after a call has read the names of all runs."""

    def arrange(act):
        read = references.RunNames.read

        def late(dataset):
            names = read(dataset)
            monkeypatch.setattr(references.RunNames, "read", read)
            act()
            return names

        monkeypatch.setattr(references.RunNames, "read", late)

    return arrange


@pytest.fixture
def renames(dataset):
    """A function that renames ``dc`` to ``new``."""
    return lambda: fdc.rename_run(dataset, "dc", "new")


SWAP = [("dc", "between"), ("two", "dc"), ("between", "two")]
CHAIN = [("two", "three"), ("dc", "two")]
moves = pytest.mark.parametrize("moves", [SWAP, CHAIN], ids=["swap", "chain"])
"""Renames after which ``dc`` is ``two``."""


def rename_all(dataset, moves):
    for old, new in moves:
        fdc.rename_run(dataset, old, new)


def job_of(dataset, key):
    return run_files.load_job(run_files.run_dir(dataset, key))


# ---------------------------------------------------------------- before a run is locked


def test_settings_of_a_new_run_follow(dataset, before_lock, renames):
    before_lock("second", renames)
    run = fdc.cluster(dataset, "frozen", "second", **VECTORS, **FROZEN)
    assert run.settings["embeddings_field"] == "new_embedding"
    assert job_of(dataset, "second").header.settings["truth_field"] == "new.label"
    assert len(run.clusters()) == 3


def test_options_of_a_new_run_follow(dataset, before_lock, renames):
    before_lock("second", renames)
    run = fdc.cluster(dataset, key="second", rounds=1, **LDPO, **QUIET)
    assert run.options.initial_field == "new"
    assert job_of(dataset, "second").header.options["initial_field"] == "new"


def test_settings_of_a_resumed_run_follow(dataset, before_lock, renames):
    with pytest.raises(OSError, match="disk is full"):
        fdc.cluster(dataset, "frozen", "second", observer=Acts(disk_full, phase="write"), **VECTORS, **FROZEN)
    before_lock("second", renames)
    assert fdc.resume(dataset, "second", **QUIET).settings["embeddings_field"] == "new_embedding"
    assert job_of(dataset, "second").header.settings["truth_field"] == "new.label"


def test_settings_of_a_refined_run_follow(dataset, before_lock, renames):
    fdc.cluster(dataset, "frozen", "second", **VECTORS, **FROZEN)
    fdc.review(dataset, "second").mark_reviewed(fdc.load_run(dataset, "second").names()[:1])
    before_lock("third", renames)
    run = fdc.refine(dataset, "second", new_key="third", **QUIET)
    assert run.settings["embeddings_field"] == "new_embedding"
    assert job_of(dataset, "third").header.settings["truth_field"] == "new.label"


@moves
def test_stored_settings_that_have_followed_do_not_follow_again(dataset, stored_run, after_names, moves):
    stored_run(dataset, "two")
    with pytest.raises(OSError, match="disk is full"):
        fdc.cluster(dataset, "frozen", "second", observer=Acts(disk_full, phase="write"), **VECTORS, **FROZEN)
    after_names(lambda: rename_all(dataset, moves))
    assert fdc.resume(dataset, "second", **QUIET).settings["embeddings_field"] == "two_embedding"
    assert job_of(dataset, "second").header.settings["truth_field"] == "two.label"


@moves
def test_settings_of_a_run_to_refine_that_have_followed_do_not_follow_again(
    dataset, stored_run, after_names, moves
):
    stored_run(dataset, "two")
    run = fdc.cluster(dataset, "frozen", "second", **VECTORS, **FROZEN)
    fdc.review(dataset, "second").mark_reviewed(run.names()[:1])
    after_names(lambda: rename_all(dataset, moves))
    refined = fdc.refine(dataset, "second", new_key="third", **QUIET)
    assert refined.settings["embeddings_field"] == "two_embedding"


@pytest.mark.parametrize("act", [fdc.delete_run, lambda dataset, key: fdc.rename_run(dataset, key, "moved")])
def test_a_run_to_resume_that_is_gone_is_not_made_again(dataset, before_lock, act):
    fdc.cluster(dataset, "frozen", "second", **FROZEN)
    before_lock("second", lambda: act(dataset, "second"))
    with pytest.raises(RunNotFoundError, match="neither a run nor a checkpoint 'second'"):
        fdc.resume(dataset, "second", **QUIET)
    assert not run_files.run_dir(dataset, "second").exists()
    assert "second" not in fdc.list_runs(dataset)


def test_a_run_to_resume_that_was_replaced_is_resumed_with_its_options(dataset, before_lock):
    fdc.cluster(dataset, "frozen", "second", **FROZEN)
    other = {**FROZEN, "n_clusters": 2}
    before_lock("second", lambda: fdc.cluster(dataset, "frozen", "second", overwrite=True, **other))
    run = fdc.resume(dataset, "second", **QUIET)
    assert (run.n_clusters, run.options.n_clusters) == (2, 2)
    assert run.uid == job_of(dataset, "second").header.uid


def test_an_edit_of_a_run_to_resume_is_kept(dataset, before_lock):
    run = fdc.cluster(dataset, "frozen", "second", **FROZEN)
    name = run.names()[0]
    before_lock("second", lambda: fdc.review(dataset, "second").rename(name, "mine"))
    with pytest.raises(RunError, match="has 1 edit,"):
        fdc.resume(dataset, "second", **QUIET)
    assert "mine" in run.names()


@pytest.mark.parametrize("verb", ["refine", "assign"])
def test_a_run_that_is_renamed_before_it_is_read(dataset, before_lock, verb):
    run = fdc.cluster(
        dataset.limit(40), "deepcluster", "second", rounds=1, image_size=16, device="cpu", **FROZEN
    )
    fdc.review(dataset, "second").mark_reviewed(run.names()[:1])
    before_lock("second", lambda: fdc.rename_run(dataset, "second", "moved"))
    with pytest.raises(
        RunNotFoundError, match=r"run 'second' of .* was deleted or renamed since it was loaded"
    ):
        fdc.refine(dataset, "second", **QUIET) if verb == "refine" else fdc.assign(dataset, "second")
    assert fdc.list_runs(dataset) == ["dc", "moved"]
    assert not [field for field in dataset.get_field_schema() if field.startswith("second")]


def test_names_of_an_origin_that_is_renamed_during_an_assignment(dataset, make_digits, before_lock):
    fdc.cluster(dataset, "deepcluster", "second", rounds=1, image_size=16, device="cpu", **FROZEN)
    fdc.review(dataset, "second").rename("cluster-00", "mine")
    fresh = make_digits(12)
    moves = Acts(lambda: fdc.rename_run(dataset, "second", "moved"), phase="embed")
    with pytest.raises(
        RunNotFoundError, match=r"run 'second' of .* was deleted or renamed since it was loaded"
    ):
        fdc.assign(fresh, "second", from_dataset=dataset, observer=moves)
    assert fdc.list_runs(fresh) == []
    assert not [field for field in fresh.get_field_schema() if field.startswith("second")]


# ---------------------------------------------------------------- while it is stored


def test_a_rename_waits_until_a_run_is_stored(dataset, monkeypatch, renames):
    register, thread = storage.register_run, threading.Thread(target=renames)

    def slowly(*given):
        thread.start()
        time.sleep(1)
        register(*given)

    monkeypatch.setattr(storage, "register_run", slowly)
    fdc.cluster(dataset, "frozen", "second", **VECTORS, **FROZEN)
    thread.join()
    assert settings_of(dataset, "second")["embeddings_field"] == "new_embedding"


def test_two_runs_that_swap_their_names(dataset, stored_run):
    stored_run(dataset, "two")
    names = references.RunNames.read(dataset)
    rename_all(dataset, SWAP)
    given = {"embeddings_field": ["dc_embedding", "two_embedding"], "truth_field": "two.label", "run": "dc"}
    assert names.follow(dataset, given, None) == {
        "embeddings_field": ["two_embedding", "dc_embedding"],
        "truth_field": "dc.label",
        "run": "two",
    }


def with_option(dataset, key):
    """Store a run with the field of ``dc`` among its options."""
    result, source = kmeans_result(60), audit_inputs.collect_images(dataset)
    options = {**result.record.options, "initial_field": "dc"}
    record = result.record.model_copy(update={"options": options})
    header = storage.RunHeader("frozen", options, {"truth_field": "dc.label"}, None, 60)
    storage.register_run(source, key, header, record)


@pytest.mark.parametrize(("module", "name"), [(renaming, "follow_rename"), (storage, "raw_record")])
def test_a_run_that_another_process_deletes_during_a_rename(dataset, other, monkeypatch, module, name):
    with_option(dataset, "second")
    act = getattr(module, name)

    def late(*given):
        other.does(dataset, "dataset.delete_run('second')")
        monkeypatch.setattr(module, name, act)
        return act(*given)

    monkeypatch.setattr(module, name, late)
    assert fdc.rename_run(dataset, "dc", "new").key == "new"
    assert fdc.list_runs(dataset) == ["new"]


def test_a_run_that_another_process_deletes_while_it_is_loaded(dataset, other, monkeypatch):
    read = storage.record_of

    def late(*given):
        other.does(dataset, "fdc.delete_run(dataset, 'dc')")
        return read(*given)

    monkeypatch.setattr(storage, "record_of", late)
    with pytest.raises(RunNotFoundError, match="has no deep-clustering run 'dc'; it has no runs yet"):
        fdc.load_run(dataset, "dc")


# ---------------------------------------------------------------- audits and analyses


@pytest.fixture
def doubtful(make_digits, stored_run):
    """150 digits with a run ``dc``."""
    dataset = make_digits(150)
    stored_run(dataset)
    return dataset


@pytest.mark.parametrize("phase", ["judge", "write"])
def test_settings_of_an_audit_follow(doubtful, phase):
    observer = Acts(lambda: fdc.rename_run(doubtful, "dc", "new"), phase=phase)
    audit = fdc.audit_labels(doubtful, run="dc", group_field="dc.label", observer=observer)
    assert (audit.settings["run"], audit.settings["group_field"]) == ("new", "new.label")
    assert fdc.review_labels(doubtful).refit().record.n_fits == 2


def test_a_run_that_is_renamed_while_an_audit_reads_it(doubtful, monkeypatch):
    read = audit_inputs.read_truth

    def then_rename(*given):
        found = read(*given)
        monkeypatch.setattr(audit_inputs, "read_truth", read)
        fdc.rename_run(doubtful, "dc", "new")
        return found

    monkeypatch.setattr(audit_inputs, "read_truth", then_rename)
    audit = fdc.audit_labels(doubtful, run="dc")
    assert audit.settings["run"] == "new"
    assert audit.record.n_audited == 150
    assert audit.record.clusters


@moves
def test_runs_that_take_names_of_others_while_an_audit_reads_them(doubtful, stored_run, monkeypatch, moves):
    stored_run(doubtful, "two")
    uid, read, reads = fdc.load_run(doubtful, "dc").uid, audit_inputs.read_truth, []

    def then_rename(*given):
        reads.append(given)
        assert len(reads) < 4
        found = read(*given)
        if len(reads) == 1:
            rename_all(doubtful, moves)
        return found

    monkeypatch.setattr(audit_inputs, "read_truth", then_rename)
    audit = fdc.audit_labels(doubtful, run="dc", group_field="dc.label")
    assert (audit.settings["run"], audit.settings["group_field"]) == ("two", "two.label")
    assert fdc.load_run(doubtful, "two").uid == uid


@moves
def test_settings_of_an_audit_that_have_followed_do_not_follow_again(
    doubtful, stored_run, after_names, monkeypatch, moves
):
    stored_run(doubtful, "two")
    fdc.audit_labels(doubtful, run="dc")
    review, read, runs = fdc.review_labels(doubtful, refit_every=0), audit_inputs.load_run, []

    def noted(dataset, key):
        runs.append(key)
        assert len(runs) < 4
        return read(dataset, key)

    monkeypatch.setattr(audit_inputs, "load_run", noted)
    after_names(lambda: rename_all(doubtful, moves))
    assert review.refit().record.n_fits == 2
    assert runs == ["two"]


def test_an_audit_that_was_loaded_before(doubtful):
    draw = np.random.default_rng(0)
    doubtful.set_values("vector", list(draw.normal(size=(150, 8)).astype(np.float32)))
    fdc.audit_labels(doubtful, "dc", embeddings_field="dc_embedding")
    review = fdc.review_labels(doubtful, refit_every=0)
    fdc.rename_run(doubtful, "dc", "new")
    assert review.audit.label_field == "new"
    assert review.refit().record.n_fits == 2


def once(act):
    """An observer that does something at the first step."""
    acts = [act]
    return Acts(lambda: acts and acts.pop()(), at_steps=True)


def test_neighbors_of_a_run_that_is_renamed_meanwhile(dataset, renames):
    run = fdc.load_run(dataset, "dc")
    fdc.index_neighbors(dataset, "dc", observer=once(renames))
    assert indexed_neighbors(replace(run, key="new"), dataset.first().id)
    assert not run_files.run_dir(dataset, "dc").exists()


def test_neighbors_of_a_run_that_is_deleted_meanwhile(dataset):
    deletes = once(lambda: fdc.delete_run(dataset, "dc"))
    with pytest.raises(RunNotFoundError, match=r"run 'dc' of .* was deleted"):
        fdc.index_neighbors(dataset, "dc", observer=deletes)
    assert not run_files.run_dir(dataset, "dc").exists()
