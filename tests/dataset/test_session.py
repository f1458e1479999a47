"""A run from samples to fields and back, on real digits in a real database."""

from __future__ import annotations

import fiftyone_deepcluster as fdc

QUICK = {"n_clusters": 10, "baselines": False, "device": "cpu"}


def test_frozen_round_trip(digits_dataset):
    run = fdc.cluster(digits_dataset, "frozen", key="dc", truth_field="ground_truth", progress=False, **QUICK)
    print(run.record, run.clusters(2)[:2])
    print(digits_dataset.first())
    print(digits_dataset.list_brain_runs(), run.to_dataframe())
    print(run.view(), run.cluster_view("cluster-01"))
    fdc.delete_run(digits_dataset, "dc")
    print(digits_dataset)
