"""``cluster``, ``resume`` and ``assign`` on real digits in a real database."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.dataset.runs import lock, queue, status, storage
from fiftyone_deepcluster.dataset.runs.kv import find, run_store
from fiftyone_deepcluster.errors import (
    CancelledError,
    CheckpointError,
    ImagesError,
    InputError,
    OptionsError,
    RunError,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
)
from tests.dataset.runs.test_run import state

FROZEN = {"method": "frozen", "n_clusters": 4, "progress": False, "compute_brain": False, "baselines": False}
LEARNED = {"method": "deepcluster", "n_clusters": 4, "image_size": 16, "batch_size": 32, "device": "cpu"}
LEARNED |= {"progress": False, "compute_brain": False, "baselines": False}


class StopAfter(Silent):
    """Observer that cancels after a number of rounds."""

    def __init__(self, rounds):
        self.left = rounds

    def round_done(self, entry, rounds):
        self.left -= 1

    def cancelled(self):
        return self.left <= 0


class Fails(Silent):
    """Observer that raises an error in a phase."""

    def __init__(self, phase):
        self.where = phase

    def phase(self, name, total):
        if name == self.where:
            raise OSError("the disk is full")


def test_whole_way_with_brain_runs(make_digits):
    dataset = make_digits(100)
    run = fdc.cluster(
        dataset, "frozen", "dc", n_clusters=10, truth_field="ground_truth", progress=False, baselines=False
    )
    assert run.n_clusters == 10
    assert run.rounds[0].truth.acc > 0.5
    assert sum(info.size for info in run.clusters()) == 100
    assert sorted(dataset.list_brain_runs()) == ["dc_sim", "dc_viz"]
    assert "dc" in [group.name for group in dataset.app_config.sidebar_groups]
    assert "dc.label" in dataset.list_indexes()
    assert status.read_states(dataset)["dc"].status == "finished"
    assert lock.holder(dataset, "dc") is None
    assert fdc.load_run(dataset, "dc").record == run.record
    neighbors = dataset.sort_by_similarity(dataset.first().id, k=5, brain_key="dc_sim")
    assert len(neighbors) == 5
    fdc.delete_run(dataset, "dc")
    assert dataset.list_brain_runs() == []


def test_learned_features_and_resume(make_digits):
    dataset = make_digits(60)
    run = fdc.cluster(dataset, key="dc", rounds=3, observer=StopAfter(1), **LEARNED)
    assert run.stop_reason == fdc.StopReason.CANCELLED
    assert len(run.rounds) == 1
    assert status.read_states(dataset)["dc"].status == "cancelled"
    assert len(dataset.first().dc_round_labels) == 1
    run = fdc.resume(dataset.limit(2), "dc", progress=False, compute_brain=False)
    assert run.stop_reason == fdc.StopReason.ROUNDS_DONE
    assert len(run.rounds) == 3
    assert len(dataset.first().dc_round_labels) == 3
    straight = fdc.cluster(dataset, key="straight", rounds=3, **LEARNED)
    assert straight.rounds[-1].loss == pytest.approx(run.rounds[-1].loss, rel=1e-4)
    assert dataset.values("straight.cluster") == dataset.values("dc.cluster")
    more = fdc.resume(dataset, "dc", rounds=4, progress=False, compute_brain=False)
    assert len(more.rounds) == 4
    assert more.uid == run.uid


def test_cancelled_before_the_first_round_leaves_the_dataset_alone(make_digits):
    dataset = make_digits(40)
    before = state(dataset)
    with pytest.raises(CancelledError):
        fdc.cluster(dataset, key="dc", rounds=2, observer=StopAfter(0), **LEARNED)
    assert state(dataset) == before
    assert fdc.list_runs(dataset) == []
    assert lock.holder(dataset, "dc") is None


@pytest.mark.parametrize("phase", ["embed", "write", "brain"])
def test_failure_leaves_nothing(make_digits, phase):
    dataset = make_digits(40)
    before = state(dataset)
    options = {**FROZEN, "compute_brain": True}
    if phase == "embed":
        options = {**LEARNED, "rounds": 1}
    with pytest.raises(OSError, match="disk is full"):
        fdc.cluster(dataset, key="dc", observer=Fails(phase), **options)
    assert state(dataset) == before
    assert lock.holder(dataset, "dc") is None
    assert not find(dataset, "^change:")
    found = status.read_states(dataset)["dc"]
    assert found.status == "failed"
    assert "disk is full" in found.error
    # the way is free for another try
    fdc.cluster(dataset, key="dc", **FROZEN)


def test_failed_replacement_leaves_the_old_run(make_digits):
    dataset = make_digits(40)
    fdc.cluster(dataset, key="dc", **FROZEN)
    before = state(dataset)
    with pytest.raises(OSError, match="disk is full"):
        fdc.cluster(dataset, key="dc", overwrite=True, rounds=1, observer=Fails("embed"), **LEARNED)
    assert state(dataset) == before
    assert fdc.load_run(dataset, "dc").record.method == "frozen"


def test_taken_key_is_refused_and_overwritten_on_request(make_digits):
    dataset = make_digits(40)
    first = fdc.cluster(dataset, key="dc", **FROZEN)
    fdc.review(dataset, "dc").rename("cluster-01", "one")
    with pytest.raises(RunExistsError, match="overwrite=True"):
        fdc.cluster(dataset, key="dc", **FROZEN)
    second = fdc.cluster(dataset, key="dc", overwrite=True, **{**FROZEN, "n_clusters": 3})
    assert second.uid != first.uid
    assert sorted(dataset.distinct("dc.label")) == ["cluster-00", "cluster-01", "cluster-02"]
    assert fdc.list_runs(dataset) == ["dc"]
    assert not find(dataset, "^edit:")
    assert not storage.next_dir(dataset, "dc").exists()
    assert storage.load_job(storage.run_dir(dataset, "dc")).header.uid == second.uid
    with pytest.raises(RunExistsError, match="ground_truth"):
        fdc.cluster(dataset, key="ground_truth", overwrite=True, **FROZEN)


def test_view_touches_only_its_samples(make_digits):
    dataset = make_digits(60)
    fdc.cluster(dataset, key="all", **FROZEN)
    outside = list(dataset._sample_collection.find().skip(30))
    fdc.cluster(dataset.limit(30), key="dc", **FROZEN)
    assert list(dataset._sample_collection.find().skip(30)) == outside
    assert dataset.count("dc.label") == 30
    fdc.cluster(dataset.limit(20), key="dc", overwrite=True, **FROZEN)
    assert dataset.count("dc.label") == 20
    assert dataset.count("all.label") == 60


def test_unreadable_files_are_reported_and_skipped(make_digits, tmp_path):
    import fiftyone as fo

    dataset = make_digits(30)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    dataset.add_samples(
        [fo.Sample(filepath=str(broken)), fo.Sample(filepath=str(tmp_path / "gone.png"))], progress=False
    )
    run = fdc.cluster(dataset, key="dc", **{**FROZEN, "compute_brain": True})
    assert run.record.n_failed == 2
    assert dataset.count("dc.label") == 30
    assert dataset.count("dc_error") == 2
    assert dataset.count("dc_embedding") == 30
    assert len(dataset.load_brain_results("dc_viz").points) == 30


def test_existing_embeddings(make_digits):
    dataset = make_digits(40)
    vectors = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    vectors[:20] += 10
    dataset.set_values("emb", [None, *vectors[1:]])
    run = fdc.cluster(dataset, key="dc", embeddings_field="emb", **{**FROZEN, "n_clusters": 2})
    labels = dataset.values("dc.cluster")
    assert labels[0] is None
    assert len(set(labels[1:20])) == 1
    assert set(labels[20:]) == {1 - labels[1]}
    assert dataset.first().dc_error == "no vector in 'emb'"
    assert run.settings["embeddings_field"] == "emb"


def embedding_model():
    """A FiftyOne model whose embedding is the mean of each row of pixels."""
    import fiftyone as fo

    class Rows(fo.core.models.Model):
        media_type = "image"
        has_embeddings = True
        ragged_batches = False
        transforms = None
        preprocess = False

        def embed(self, image):
            return np.asarray(image, np.float32).mean((1, 2))

        def embed_all(self, images):
            return np.stack([self.embed(image) for image in images])

        def predict(self, arg):
            raise NotImplementedError

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

    class Embedding(Rows, fo.core.models.EmbeddingsMixin):
        pass

    return Embedding()


def test_a_fiftyone_model(make_digits, capsys):
    dataset = make_digits(20)
    run = fdc.cluster(dataset, key="dc", model=embedding_model(), **FROZEN)
    assert len(dataset.first().dc_embedding) == 8
    assert run.settings["model"] == "Embedding"
    assert capsys.readouterr().out == ""  # FiftyOne draws no bar of its own


class Stops(Silent):
    """Counts the steps of a phase, and cancels once it has ``most`` of them."""

    def __init__(self, watched, most):
        self.watched, self.most = watched, most
        self.name, self.total, self.done = "", 0, 0

    def phase(self, name, total):
        self.name = name
        self.total += total if name == self.watched else 0

    def advance(self, steps):
        self.done += steps if self.name == self.watched else 0

    def cancelled(self):
        return self.done >= self.most


def patches_of(dataset):
    import fiftyone as fo

    box = fo.Detection(label="digit", bounding_box=[0, 0, 1, 1])
    dataset.set_values("objects", [fo.Detections(detections=[box.copy(), box.copy()]) for _ in dataset])
    return dataset.to_patches("objects")


@pytest.mark.parametrize("patches", [False, True])
def test_a_model_reports_its_progress_and_can_be_cancelled(make_digits, patches):
    dataset = make_digits(20)
    samples = patches_of(dataset) if patches else dataset
    watcher, stopped = Stops("embeddings", 10**9), Stops("embeddings", 7)
    with pytest.raises(CancelledError, match="cancelled while the embeddings were computed"):
        fdc.cluster(samples, key="dc", model=embedding_model(), observer=stopped, **FROZEN)
    assert (stopped.total, stopped.done) == (20, 7)
    assert fdc.list_runs(dataset) == []
    fdc.cluster(samples, key="second", model=embedding_model(), observer=watcher, **FROZEN)
    assert (watcher.total, watcher.done) == (20, 20)


def test_an_audit_is_cancelled_while_a_model_computes_the_vectors(make_digits):
    dataset = make_digits(60)
    stopped = Stops("embeddings", 7)
    with pytest.raises(CancelledError, match="cancelled while the embeddings were computed"):
        fdc.audit_labels(dataset, "ground_truth", model=embedding_model(), observer=stopped)
    assert (stopped.total, stopped.done) == (60, 7)
    assert fdc.list_audits(dataset) == []
    assert not dataset.has_field("audit_p_wrong")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_clusters": 500}, OptionsError, "n_clusters=500 is more than the 40 images"),
        ({"n_clusters": 1}, OptionsError, "n_clusters"),
        ({"no_such_option": 1}, OptionsError, "no_such_option"),
        ({"method": "nothing"}, OptionsError, "'nothing'"),
        ({"key": "a b"}, InputError, "identifier"),
        ({"key": "_dc"}, InputError, "starts with _"),
        ({"key": "filepath"}, RunExistsError, "filepath"),
        ({"truth_field": "absent"}, InputError, "truth_field='absent'"),
        ({"embeddings_field": "absent"}, InputError, "embeddings_field='absent'"),
        ({"patches_field": "absent"}, InputError, "patches_field='absent'"),
        ({"model": "no-such-model"}, OptionsError, "zoo"),
        ({"model": object()}, OptionsError, "no embeddings"),
        ({"model": "m", "embeddings_field": "e"}, OptionsError, "one of the two"),
        ({"method": "deepcluster", "embeddings_field": "e"}, OptionsError, "frozen"),
    ],
)
def test_errors_before_any_work(make_digits, change, error, message):
    dataset = make_digits(40)
    before = state(dataset)
    with pytest.raises(error, match=message):
        fdc.cluster(dataset, **{"key": "dc", **FROZEN, **change})
    assert state(dataset) == before
    assert status.read_states(dataset) == {}
    assert not storage.dataset_dir(dataset).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth_field": 5}, "truth_field=5 is not a name; give a string, such as 'ground_truth'"),
        ({"embeddings_field": 7}, "embeddings_field=7 is not a list of names"),
        ({"media_field": 7}, "media_field=7 is not a name"),
        ({"overwrite": "no"}, "overwrite='no' is neither True nor False"),
        ({"compute_brain": "maybe"}, "compute_brain='maybe' is neither True nor False"),
    ],
)
def test_arguments_of_a_wrong_type_are_refused(make_digits, change, message):
    dataset = make_digits(40)
    with pytest.raises(InputError, match=message):
        fdc.cluster(dataset, **{"key": "dc", **FROZEN, **change})
    assert fdc.list_runs(dataset) == []
    with pytest.raises(InputError, match="key=None is not a name"):
        fdc.resume(dataset, None)


def test_a_deleted_dataset_is_named(make_digits):
    dataset = make_digits(5)
    view = dataset.limit(3)
    dataset.delete()
    for samples in (dataset, view):
        with pytest.raises(ImagesError, match="was deleted; load or create another dataset"):
            fdc.list_runs(samples)
        with pytest.raises(ImagesError, match="was deleted"):
            fdc.cluster(samples, key="dc", **FROZEN)


def test_one_run_of_a_key_at_a_time(make_digits):
    dataset = make_digits(40)
    with lock.acquire(dataset, "dc"), pytest.raises(RunLockedError):
        fdc.cluster(dataset, key="dc", **FROZEN)
    assert "dc" not in dataset.get_field_schema()


def test_cancel_from_elsewhere(make_digits):
    dataset = make_digits(40)

    class Cancels(Silent):
        def round_done(self, entry, rounds):
            assert queue.request_cancel(dataset, "dc")
            time.sleep(0.6)

    run = fdc.cluster(dataset, key="dc", rounds=5, observer=Cancels(), **LEARNED)
    assert run.stop_reason == fdc.StopReason.CANCELLED
    assert len(run.rounds) == 1


_KILLED = """
import os, sys
import fiftyone as fo
import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.progress import Silent
class Dies(Silent):
    def round_done(self, entry, rounds):
        os._exit(9)
fdc.cluster(fo.load_dataset(sys.argv[1]), key="dc", rounds=2, observer=Dies(), **eval(sys.argv[2]))
"""


@pytest.mark.slow
def test_killed_process(make_digits):
    dataset = make_digits(40, persistent=True)
    before = state(dataset)
    command = [sys.executable, "-W", "ignore", "-c", _KILLED, dataset.name, repr(LEARNED)]
    assert subprocess.run(command, check=False).returncode == 9
    assert status.read_states(dataset)["dc"].status == "failed"
    assert run_store(dataset).has("change:dc")
    run = fdc.resume(dataset, "dc", progress=False, compute_brain=False)
    assert len(run.rounds) == 2
    assert dataset.count("dc.label") == 40
    fdc.delete_run(dataset, "dc")
    assert state(dataset) == before


def test_resume_what_is_not_there_or_was_edited(make_digits):
    dataset = make_digits(40)
    with pytest.raises(RunNotFoundError, match="neither a run nor a checkpoint"):
        fdc.resume(dataset, "dc")
    fdc.cluster(dataset, key="dc", rounds=1, **LEARNED)
    with pytest.raises(CheckpointError, match="n_clusters"):
        fdc.resume(dataset, "dc", n_clusters=5, progress=False)
    assert len(fdc.resume(dataset, "dc", rounds=2, progress=False, compute_brain=False).rounds) == 2
    assert fdc.list_runs(dataset) == ["dc"]
    edits = fdc.review(dataset, "dc")
    edits.rename(edits.names()[0], "zero")
    with pytest.raises(RunError, match=r"1 edits.*undo\(1\)"):
        fdc.resume(dataset, "dc", rounds=2, progress=False)
    edits.undo()
    dataset.delete_samples(dataset.first().id)
    with pytest.raises(RunError, match="1 of the run's 40 images were deleted"):
        fdc.resume(dataset, "dc", rounds=2, progress=False)
