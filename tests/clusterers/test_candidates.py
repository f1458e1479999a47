"""Several clusterings and a choice without labels: digits, and planted cases for the rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.clusterers.best_of import BestOf
from fiftyone_deepcluster.clusterers.candidates import CANDIDATES, Bench, ranked, try_clusterings
from fiftyone_deepcluster.clusterers.number import sweep_numbers
from fiftyone_deepcluster.core.record import RunRecord
from fiftyone_deepcluster.errors import InputError, OptionsError
from fiftyone_deepcluster.metrics.agreement import agreement
from tests.observers import Watcher

UMAP = {"name": "umap", "epochs": 50, "n_components": 4}


@pytest.fixture(scope="module")
def some(digits):
    return digits[:400]


@pytest.fixture(scope="module")
def trial(some):
    ways = {
        "k-means": ("pca", "kmeans"),
        "UMAP + k-means": (UMAP, "kmeans"),
        "UMAP + mixture": (UMAP, {"name": "gmm", "covariance": "diag", "n_init": 2}),
        "density": (UMAP, "hdbscan"),
        "one start": ("identity", {"name": "kmeans", "n_init": 1, "max_iter": 1, "init": "sample"}),
    }
    return try_clusterings(some, 10, candidates=ways)


def test_the_choice_is_near_the_best_candidate(trial):
    truth = load_digits().target[:400]
    found = {one.name: agreement(one.clustering.labels, truth).acc for one in trial.candidates}
    assert found[trial.chosen.name] > max(found.values()) - 0.1
    assert trial.chosen.name != "one start"
    np.testing.assert_array_equal(trial.labels, trial.chosen.clustering.labels)


def test_the_table_names_every_candidate_and_the_reason(trial):
    lines = str(trial).splitlines()
    assert len(lines) == 7
    assert [line[:1] == ">" for line in lines[1:6]].count(True) == 1
    assert lines[-1].startswith(f"{trial.chosen.name}: ")
    assert "the highest product of agreement with the others" in lines[-1]
    assert f"; {trial.ranking[1].name} is second with {trial.ranking[1].worth:.3f}" in lines[-1]


def test_the_columns_rank_the_candidates_that_can_be_chosen(trial):
    columns = trial.columns()
    assert columns["candidate"] == [one.name for one in trial.candidates]
    assert columns["rank"][columns["candidate"].index(trial.chosen.name)] == 1
    order = np.argsort([rank or np.inf for rank in columns["rank"]], kind="stable")[: len(trial.ranking)]
    worths = [columns["others"][i] * columns["information"][i] ** 0.5 * columns["balance"][i] for i in order]
    assert worths == sorted(worths, reverse=True)
    assert columns["rank"][columns["candidate"].index("density")] == 0, "HDBSCAN leaves images out"


def test_the_choice_has_the_highest_worth_among_those_with_the_number_of_clusters(trial):
    able = [one for one in trial.candidates if one.clustering.n_clusters == 10 and not one.leaves_out]
    worths = {one.name: one.others * one.information**0.5 * one.balance for one in able}
    assert trial.chosen.name == max(worths, key=worths.get)
    assert len(able) < len(trial.candidates), "HDBSCAN leaves images out"


def test_without_information_agreement_and_balance_decide(trial):
    able = [replace(one, information=0.0) for one in trial.candidates if one.clustering.n_clusters == 10]
    first = ranked(able, 10)[0]
    assert first.others * first.balance == max(one.others * one.balance for one in able if not one.leaves_out)
    assert first.objective > min(one.objective for one in able), "the lowest objective would be another"


def test_objectives_are_those_after_refinement_in_the_common_space(trial, some):
    common = torch.nn.functional.normalize(some)
    for one in trial.candidates:
        squares = sum(
            float((common[one.end.labels == k] - common[one.end.labels == k].mean(0)).square().sum())
            for k in range(one.end.n_clusters)
        )
        assert one.objective == pytest.approx(squares / 400, rel=1e-3)


def test_one_call_clusters_given_embeddings(some):
    options = fdc.Frozen(n_clusters=10, clusterer={"name": "best-of", "only": "pca-kmeans, spherical-kmeans"})
    watcher = Watcher("cluster")
    found = fdc.fit(None, options, features=some.numpy(), observer=watcher)
    assert watcher.steps == watcher.total == 3, "two candidates, and the classes to train on"
    details = found.record.rounds[0].details
    assert details["candidate"] == ["pca-kmeans", "spherical-kmeans"]
    assert len(details["objective"]) == len(details["silhouette"]) == 2
    number = int(found.record.rounds[0].scores["chosen"])
    names = details["candidate"][number], details["candidate"][1 - number]
    assert (details["rank"][number], details["rank"][1 - number]) == (1, 2)
    (note,) = found.record.notes
    assert note.startswith(f"best-of chose {names[0]}: the highest product of agreement")
    assert (
        f"{details['worth'][number]:.3f}; {names[1]} is second with {details['worth'][1 - number]:.3f}"
        in note
    )
    assert RunRecord.model_validate_json(found.record.model_dump_json()) == found.record


def test_a_single_candidate_has_no_runner_up(some):
    options = fdc.Frozen(n_clusters=10, clusterer={"name": "best-of", "only": "pca-kmeans"})
    (note,) = fdc.fit(None, options, features=some.numpy()).record.notes
    assert note.startswith("best-of chose pca-kmeans: ")
    assert note.endswith("; no other candidate can be chosen")


def test_unknown_names_few_images_and_no_candidates_are_refused(some):
    with pytest.raises(OptionsError, match="'kmean' is no candidate"):
        BestOf(only="kmean")
    with pytest.raises(InputError, match="candidates is empty"):
        try_clusterings(some, 10, candidates={})


def test_wrong_arguments_are_named(some):
    with pytest.raises(InputError, match=r"vectors has shape \(3,\)"):
        try_clusterings([1, 2, 3], 2)
    with pytest.raises(InputError, match=r"vectors=\[\[1\], \[2, 3\]\] is not numeric"):
        try_clusterings([[1], [2, 3]], 2)
    with pytest.raises(
        InputError,
        match=r"no candidate can .* \(umap-hdbscan: HDBSCAN .* needs 10 .*\); give other candidates",
    ):
        try_clusterings(some[:5], 2, candidates={"umap-hdbscan": ("identity", "hdbscan")})
    broken = some.clone()
    broken[[3, 9], 0] = torch.nan
    for call in (try_clusterings, lambda vectors, k: sweep_numbers(vectors, [2, k])):
        with pytest.raises(
            InputError, match=f"vectors has 2 of {len(some)} .* in row 3 as float32; leave these rows out"
        ):
            call(broken, 10)
        with pytest.raises(InputError, match=r"vectors has .* infinite"):
            call(some.double().numpy() * 1e300, 10)
        with pytest.raises(InputError, match=f"all {len(some)} vectors are the same"):
            call(torch.ones_like(some), 10)
    with pytest.raises(InputError, match="vectors are complex"):
        try_clusterings(some.to(torch.complex64), 2)
    with pytest.raises(InputError, match="n_clusters=401: give 2 to 400"):
        try_clusterings(some, 401)
    with pytest.raises(InputError, match="n_clusters=1: give 2 to 400"):
        try_clusterings(some, 1)
    with pytest.raises(InputError, match="candidates has 'a': 'kmeans'"):
        try_clusterings(some, 10, candidates={"a": "kmeans"})
    with pytest.raises(OptionsError, match="'kmean' among the clusterers"):
        try_clusterings(some, 10, candidates={"a": ("pca", "kmean")})


def test_a_candidate_that_needs_more_vectors_is_not_run_and_the_others_are(some):
    ways = {"k-means": ("pca", "kmeans"), "density": ("identity", "hdbscan")}
    steps = []
    trial = try_clusterings(some[:6], 2, candidates=ways)
    assert [one.name for one in trial.candidates] == ["k-means"]
    assert set(trial.labels.tolist()) == {0, 1}
    assert str(trial).endswith(f"\ndensity was not run: {trial.left_out['density']}")
    assert "needs 10 images, not 6" in trial.left_out["density"]
    Bench(some[:6], 2, 51).trial(ways, lambda: steps.append(1))
    assert len(steps) == 2, "the one that is not run is a step, too"


def test_few_vectors_are_clustered_by_what_can(some):
    trial = try_clusterings(some[:6], 2)
    assert {"pca-kmeans", "spherical-kmeans"} <= {one.name for one in trial.candidates}
    assert "umap-hdbscan" in trial.left_out
    assert {one.name for one in trial.candidates} | set(trial.left_out) == set(CANDIDATES)


def test_a_run_notes_the_candidates_that_were_not_run(some, monkeypatch):
    few = {"name": "hdbscan", "min_cluster_size": 500}
    monkeypatch.setitem(CANDIDATES, "umap-hdbscan", ("identity", few))
    options = fdc.Frozen(n_clusters=10, clusterer={"name": "best-of", "only": "pca-kmeans, umap-hdbscan"})
    chosen, not_run = fdc.fit(None, options, features=some.numpy()).record.notes
    assert chosen.startswith("best-of chose pca-kmeans: ")
    assert not_run.startswith("best-of: umap-hdbscan was not run: HDBSCAN with min_cluster_size=500")
