"""Several clusterings of the same images, ranked by their agreement with each other."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score

from fiftyone_deepcluster.analysis.compare import rank_labelings


@pytest.fixture(scope="module")
def clusterings():
    """Clusters of 400 digits by k-means with four seeds, and one that knows nothing of the images."""
    digits = load_digits().data[:400]
    found = {
        f"seed {seed}": KMeans(10, n_init=1, random_state=seed).fit_predict(digits).astype(str).tolist()
        for seed in range(4)
    }
    return {"random": np.random.default_rng(0).integers(10, size=400).astype(str).tolist(), **found}


def test_the_agreement_is_the_mean_nmi_with_the_others(clusterings):
    found = rank_labelings(clusterings)
    for at, name in enumerate(found.names):
        others = [
            normalized_mutual_info_score(clusterings[name], clusterings[other])
            for other in found.names
            if other != name
        ]
        assert found.agreement[at] == pytest.approx(np.mean(others), abs=1e-9)
    assert (np.diff(found.agreement) <= 0).all()
    assert (found.names[-1], found.n_images, found.n_clusters.tolist()) == ("random", 400, [10] * 5)
    assert found.best == found.names[0] != "random"


def test_the_table_has_the_agreement_of_every_two(clusterings):
    found = rank_labelings(clusterings)
    table = found.to_dataframe()
    assert list(table.index) == found.names
    one, other = found.names[1], found.names[3]
    assert table.loc[one, other] == table.loc[other, one]
    assert table.loc[one, other] == pytest.approx(
        normalized_mutual_info_score(clusterings[one], clusterings[other]), abs=1e-9
    )
    assert table.loc[one, one] == 1


def test_images_without_a_label_in_one_of_them_are_left_out(clusterings):
    some = {name: list(labels) for name, labels in clusterings.items()}
    some["seed 1"][:100] = [None] * 100
    expected = rank_labelings({name: labels[100:] for name, labels in clusterings.items()})
    found = rank_labelings(some)
    assert found.n_images == 300
    assert found.names == expected.names
    assert (found.nmi == expected.nmi).all()


def test_equal_clusterings_stay_in_the_given_order():
    labels = ["a", "a", "b", "b"]
    found = rank_labelings({"c": labels, "a": ["x", "x", "y", "y"], "b": labels})
    assert (found.names, found.agreement.tolist()) == (["c", "a", "b"], [1, 1, 1])


def test_the_order_does_not_depend_on_the_names_of_clusters(clusterings):
    generator = np.random.default_rng(0)
    labels = np.array(clusterings["seed 0"], int)
    for _ in range(40):
        equal = {name: generator.permutation(10)[labels].astype(str).tolist() for name in "dacb"}
        found = rank_labelings({"random": clusterings["random"], **equal})
        assert found.names == ["d", "a", "c", "b", "random"]


def test_clusterings_with_one_cluster_agree_with_none(clusterings):
    ones = {name: ["all"] * 400 for name in ("one", "other")}
    found = rank_labelings({**ones, **clusterings})
    assert found.names[-2:] == ["one", "other"]
    assert found.agreement[-2:].tolist() == [0, 0]
    assert found.n_clusters[-2:].tolist() == [1, 1]
    assert np.diag(found.nmi).tolist() == [1] * 7
    assert rank_labelings({name: [None] for name in "abc"}).n_clusters.tolist() == [0, 0, 0]
