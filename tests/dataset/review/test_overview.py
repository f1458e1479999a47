"""What the panel shows of clusters and their images: rows, and pages in an order."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_deepcluster import load_run
from fiftyone_deepcluster.dataset.review.overview import cluster_rows, page


def test_rows_have_sizes_means_and_majorities(dataset):
    rows = {row.name: row for row in cluster_rows(load_run(dataset, "dc"), "ground_truth")}
    for name, view in (
        (name, dataset.match({"dc.label": name})) for name in dataset.count_values("dc.label")
    ):
        labels = view.count_values("ground_truth.label")
        row = rows[name]
        assert row.size == len(view)
        assert row.distance == pytest.approx(np.mean(view.values("dc.distance")))
        assert row.confidence == pytest.approx(np.mean(view.values("dc.confidence")))
        assert row.uncertain == sum(value < 0.5 for value in view.values("dc.confidence"))
        assert row.majority_share == pytest.approx(max(labels.values()) / len(view))
        assert labels[row.majority] == max(labels.values())
    assert list(rows) == sorted(rows, key=lambda name: (-rows[name].size, name))


@pytest.mark.parametrize(
    ("order", "path", "reverse"),
    [
        ("nearest", "dc.distance", False),
        ("farthest", "dc.distance", True),
        ("uncertain", "dc.confidence", False),
    ],
)
def test_pages_are_in_order_and_complete(dataset, order, path, reverse):
    run = load_run(dataset, "dc")
    found = []
    for offset in range(0, 40, 3):
        pictures, total = page(run, "cluster-00", order, offset=offset, limit=3)
        found += [picture.image_id for picture in pictures]
    members = dataset.match({"dc.label": "cluster-00"})
    assert total == len(members)
    values = [dataset[name][path.split(".")[0]][path.split(".")[1]] for name in found]
    assert sorted(found) == sorted(members.values("id"))
    assert values == sorted(values, reverse=reverse)


def test_random_order_is_the_same_at_each_call(dataset):
    run = load_run(dataset, "dc")
    whole = [picture.image_id for picture in page(run, "cluster-00", "random", limit=40)[0]]
    parts = [
        page(run, "cluster-00", "random", offset=at, limit=2)[0][0].image_id for at in range(0, len(whole), 2)
    ]
    assert parts == whole[::2]
    assert whole != sorted(whole)
