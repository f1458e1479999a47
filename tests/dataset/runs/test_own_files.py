"""Two users of one database with a folder each: files of an earlier run are not used for the one that replaced it."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.results.open_run import images_of, open_run
from fiftyone_deepcluster.dataset.review.nearest import nearest_numbers
from fiftyone_deepcluster.dataset.runs import run_files
from fiftyone_deepcluster.errors import RunError, RunNotFoundError
from tests.dataset.small_runs import FROZEN, LEARNED

QUIET = {"progress": False, "compute_brain": False}
OF_THE_EARLIER_RUN = (
    "are those of an earlier run 'dc', which was replaced by a user whose files are elsewhere"
)


@pytest.fixture
def others_folder(monkeypatch, tmp_path):
    """Call it to become the other user, and again to come back."""
    mine, theirs = fo.config.default_dataset_dir, str(tmp_path / "theirs")

    def switch():
        now = fo.config.default_dataset_dir
        monkeypatch.setattr(fo.config, "default_dataset_dir", theirs if now == mine else mine)

    return switch


@pytest.fixture
def replaced(make_digits, others_folder):
    """60 digits with a run of 4 clusters here, and the run of 3 clusters that another user made in its place."""
    dataset = make_digits(60, persistent=True)
    fdc.cluster(dataset, key="dc", rounds=1, **LEARNED)
    others_folder()
    fdc.cluster(dataset, key="dc", rounds=1, overwrite=True, **{**LEARNED, "n_clusters": 3})
    others_folder()
    return dataset


def test_assign_uses_no_network_of_an_earlier_run(replaced, others_folder):
    new = replaced.limit(5).clone()
    fdc.delete_run(new, "dc")
    with pytest.raises(RunError, match=OF_THE_EARLIER_RUN):
        fdc.assign(new, "dc", from_dataset=replaced)
    assert not new.has_field("dc")
    others_folder()
    assert fdc.assign(new, "dc", from_dataset=replaced) == 5
    assert new.values("dc.label") == replaced.limit(5).values("dc.label")


@pytest.mark.parametrize(
    "call",
    [
        lambda dataset: fdc.probe(dataset, "dc", "ground_truth", folds=2),
        lambda dataset: fdc.resume(dataset, "dc", rounds=2, **QUIET),
        lambda dataset: fdc.refine(dataset, "dc", **QUIET),
    ],
    ids=["probe", "resume", "refine"],
)
def test_calls_that_need_the_network_are_refused(replaced, call):
    before = replaced.values("dc.label")
    with pytest.raises(RunError, match=OF_THE_EARLIER_RUN):
        call(replaced)
    assert replaced.values("dc.label") == before
    assert fdc.list_runs(replaced) == ["dc"]


def test_the_images_and_the_nearest_clusters_are_those_of_the_run(replaced):
    run = fdc.load_run(replaced, "dc")
    assert len(images_of(run)) == 60
    vectors, numbers = np.stack(replaced.values("dc_embedding")), np.array(replaced.values("dc.cluster"))
    centers = np.stack([vectors[numbers == number].mean(axis=0) for number in range(3)])
    distances = np.linalg.norm(centers[:, None] - centers[None], axis=2)
    assert nearest_numbers(run) == {number: distances[number].argsort()[1:].tolist() for number in range(3)}


def test_a_run_whose_files_are_elsewhere_says_so(make_digits, others_folder):
    dataset = make_digits(30, persistent=True)
    run = fdc.cluster(dataset, key="dc", **FROZEN)
    others_folder()
    with (
        pytest.raises(RunError, match="the run was made on another machine"),
        open_run(run, images_of(run), None),
    ):
        pass
    with pytest.raises(RunNotFoundError, match="the run was made on another machine"):
        fdc.resume(dataset, "dc", **QUIET)


def test_a_run_without_clusters_has_no_nearest_clusters(make_digits):
    dataset = make_digits(60, persistent=True)
    dataset.set_values("pixels", [np.random.default_rng(row).random(8) for row in range(60)])
    clusterer = {"name": "hdbscan", "min_cluster_size": 50}
    quiet = {"progress": False, "compute_brain": False, "baselines": False}
    run = fdc.cluster(dataset, "frozen", "dc", embeddings_field="pixels", clusterer=clusterer, **quiet)
    assert run.n_clusters == 0
    assert nearest_numbers(run) == {}


def test_a_run_on_given_vectors_has_nearest_clusters(make_digits):
    dataset = make_digits(60, persistent=True)
    dataset.set_values("pixels", [np.random.default_rng(row).random(8) for row in range(60)])
    run = fdc.cluster(dataset, key="dc", embeddings_field="pixels", **FROZEN)
    assert not run_files.run_dir(dataset, "dc").joinpath("model.pt").exists()
    vectors, numbers = np.stack(dataset.values("dc_embedding")), np.array(dataset.values("dc.cluster"))
    centers = np.stack([vectors[numbers == number].mean(axis=0) for number in range(4)])
    for number, nearest in nearest_numbers(run).items():
        assert nearest == np.linalg.norm(centers - centers[number], axis=1).argsort()[1:].tolist()
    assert len(nearest_numbers(run)) == 4
