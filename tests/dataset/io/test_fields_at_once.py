"""Concurrent changes of one dataset's fields by several processes: no field is lost."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.io.fields import FieldNames

_RUNS = """
import sys
import fiftyone as fo
import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.io.fields import FieldNames, declare, remove

dataset, who = fo.load_dataset(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for i in range(8):
    names = FieldNames(f"{who}{i}")
    declare(dataset, names)
    if i % 2:
        remove(dataset, names)
"""


@pytest.mark.slow
def test_processes_that_declare_and_remove_at_once_lose_nothing(make_digits):
    dataset = make_digits(5, persistent=True)
    others = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _RUNS, dataset.name, who],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
        )
        for who in ("a", "b")
    ]  # fmt: skip
    assert [process.stdout.readline().strip() for process in others] == ["ready", "ready"]
    for process in others:
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [process.communicate() for process in others]
    assert [process.returncode for process in others] == [0, 0], ends

    dataset.reload()
    there = {root for who in "ab" for i in range(8) for root in FieldNames(f"{who}{i}").roots()}
    kept = {root for who in "ab" for i in range(0, 8, 2) for root in FieldNames(f"{who}{i}").roots()}
    assert there & set(dataset.get_field_schema()) == kept
    assert {f"{who}{i}.label" for who in "ab" for i in range(0, 8, 2)} <= set(dataset.list_indexes())


def test_deleting_a_run_heals_samples_whose_field_was_lost(make_digits):
    from fiftyone.core.odm import get_db_conn

    dataset = make_digits(6, persistent=True)
    fdc.cluster(dataset, "frozen", key="dc", n_clusters=2, image_size=16, baselines=False, progress=False)
    get_db_conn().datasets.update_one(
        {"name": dataset.name}, {"$pull": {"sample_fields": {"name": {"$in": ["dc_loss", "dc_error"]}}}}
    )
    dataset.reload()
    assert dataset.get_field("dc_loss") is None
    fdc.delete_run(dataset, "dc")
    dataset.reload()
    assert dataset._sample_collection.count_documents({"dc_loss": {"$exists": True}}) == 0
    assert [sample.filepath for sample in dataset] == dataset.values("filepath")
