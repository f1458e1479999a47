"""Results of analyses, if the run is renamed or locked while they are computed."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.dataset.background import Job
from fiftyone_deepcluster.dataset.results import filters, neighbors, open_run, probes
from fiftyone_deepcluster.dataset.results.categories import stored_key_words
from fiftyone_deepcluster.dataset.results.filters import stored_filters
from fiftyone_deepcluster.dataset.results.neighbors import indexed_neighbors, stored_scores
from fiftyone_deepcluster.dataset.results.numbers import stored_sweep
from fiftyone_deepcluster.dataset.results.probes import stored_layers, stored_probe
from fiftyone_deepcluster.dataset.review import edit_lock
from fiftyone_deepcluster.dataset.runs import lock, run_files
from fiftyone_deepcluster.errors import RunLockedError, RunNotFoundError

NET = {"backbone": {"name": "small", "width": 8}, "min_steps": 2, "rounds": 1}
QUIET = {"baselines": False, "progress": False, "compute_brain": False}
NOT_STORED = (
    "the result of {} for run 'dc' is returned, but not stored; repeat the call to store it: key='dc' of"
)
CALLS = {
    "probe": (lambda d: fdc.probe(d, "dc", "ground_truth", layers="conv5", folds=2), stored_probe),
    "list_layers": (lambda d: fdc.list_layers(d, "dc"), stored_layers),
    "draw_filters": (
        lambda d, out_dir=None: fdc.draw_filters(d, "dc", "conv1", out_dir, units=[0], ascent={"steps": 1}),
        stored_filters,
    ),
    "retrieval_score": (
        lambda d: fdc.retrieval_score(d, "dc", "ground_truth", features="initial"),
        stored_scores,
    ),
    "key_words": (lambda d: fdc.key_words(d, "dc", "report"), stored_key_words),
    "recommend_number": (
        lambda d: fdc.recommend_number(d, "dc", [2, 3, 4], repetitions=2, reducer="identity"),
        stored_sweep,
    ),
}


@pytest.fixture
def dataset(make_digits):
    """40 digits with reports, and a run ``dc`` with a network."""
    dataset = make_digits(40)
    dataset.set_values(
        "report", [f"a scan of digit-{label}" for label in dataset.values("ground_truth.label")]
    )
    fdc.cluster(dataset, "deepcluster", "dc", n_clusters=3, **NET, **QUIET)
    return dataset


@pytest.fixture
def at_work(dataset, monkeypatch):
    """The run is locked, and this is not waited for."""

    @contextmanager
    def locked():
        with monkeypatch.context() as patch, lock.acquire(dataset, "dc"):
            patch.setattr(edit_lock, "_WAIT_SECONDS", 0.0)
            yield

    return locked


@pytest.mark.parametrize("name", CALLS)
def test_a_result_of_a_locked_run_is_returned_and_not_stored(dataset, at_work, caplog, name):
    call, stored = CALLS[name]
    run = fdc.load_run(dataset, "dc")
    with at_work():
        assert call(dataset) is not None
    assert NOT_STORED.format(name) in caplog.text
    assert stored(run) is None
    call(dataset)
    assert stored(run) is not None


def test_files_of_filters_of_a_locked_run(dataset, at_work, caplog, tmp_path):
    draw, _ = CALLS["draw_filters"]
    with at_work():
        given, elsewhere = draw(dataset, tmp_path / "here"), draw(dataset)
    assert given.montage.parent == tmp_path / "here"
    assert f"the PNG files of draw_filters are in {elsewhere.montage.parent}" in caplog.text
    assert all(file.is_file() for file in [*given.files, *given.tiles, *elsewhere.files, *elsewhere.tiles])


@pytest.mark.parametrize("call", [fdc.build_tree, fdc.index_neighbors])
def test_what_is_only_stored_is_refused_for_a_locked_run(dataset, at_work, call):
    with at_work(), pytest.raises(RunLockedError, match=r"key='dc' of .* is locked"):
        call(dataset, "dc")
    assert not dataset.has_sample_field("dc_category")


def test_a_job_of_a_locked_run_fails(dataset, at_work):
    job = Job("find_key_words", dataset, "dc", {"key": "dc", "text_field": "report"})
    with at_work(), pytest.raises(RunLockedError, match=r"key='dc' of .* is locked"):
        job.carry_out(Silent())


def before(monkeypatch, module, name, act):
    """Do something just before a function is called for the first time."""
    function = getattr(module, name)

    def late(*given, **named):
        monkeypatch.setattr(module, name, function)
        act()
        return function(*given, **named)

    monkeypatch.setattr(module, name, late)


@pytest.mark.parametrize(
    ("name", "module", "step"),
    [
        ("probe", probes, "layers_of_run"),
        ("list_layers", probes, "layers_of_run"),
        ("draw_filters", filters, "layers_of_run"),
        ("retrieval_score", neighbors, "open_run"),
    ],
)
def test_a_result_of_a_run_that_is_renamed_meanwhile(dataset, monkeypatch, name, module, step):
    call, stored = CALLS[name]
    before(monkeypatch, module, step, lambda: fdc.rename_run(dataset, "dc", "new"))
    call(dataset)
    run = fdc.load_run(dataset, "new")
    assert stored(run) is not None
    assert (stored_layers(run) is None) == (name == "retrieval_score")
    assert not run_files.run_dir(dataset, "dc").exists()


def test_a_run_that_is_renamed_just_before_it_is_locked(dataset, monkeypatch):
    before(monkeypatch, open_run, "hold", lambda: fdc.rename_run(dataset, "dc", "new"))
    assert fdc.index_neighbors(dataset, "dc") == 40
    assert indexed_neighbors(fdc.load_run(dataset, "new"), dataset.first().id)
    assert not run_files.run_dir(dataset, "dc").exists()
    assert not lock.is_held(dataset, "dc")


def test_a_run_that_is_deleted_just_before_it_is_locked(dataset, monkeypatch):
    before(monkeypatch, open_run, "hold", lambda: fdc.delete_run(dataset, "dc"))
    with pytest.raises(RunNotFoundError, match=r"run 'dc' of .* was deleted"):
        fdc.index_neighbors(dataset, "dc")
    assert not run_files.run_dir(dataset, "dc").exists()
