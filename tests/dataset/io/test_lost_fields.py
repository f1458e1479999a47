"""Fields that another program removed from the schema at the same moment are declared again, and samples load."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.io.fields import FieldNames, declare
from fiftyone_deepcluster.dataset.io.lost_fields import declare_lost
from fiftyone_deepcluster.errors import RunError
from tests.dataset.small_runs import FROZEN
from tests.observers import Acts


def lose(dataset, *names):
    """What a program does to the schema that stores its list of fields, which is older."""
    from fiftyone.core.odm import get_db_conn

    change = {"$pull": {"sample_fields": {"name": {"$in": list(names)}}}}
    get_db_conn().datasets.update_one({"_id": dataset._doc.id}, change)


def test_fields_that_are_lost_while_a_run_ends_are_declared_again(make_digits, caplog):
    import fiftyone as fo

    dataset = make_digits(12)
    dataset.set_values("note", ["x"] * 12)
    dataset.set_values("box", [fo.Detections(detections=[fo.Detection(label="a")]) for _ in range(12)])
    dataset.set_values("vector", list(np.ones((12, 3), np.float32)))
    dataset.add_sample_field("empty", fo.StringField)
    dataset._sample_collection.update_many({}, {"$set": {"empty": None}})
    before = dataset.get_field_schema()
    gone = ("dc", "dc_loss", "note", "box", "vector", "empty")
    run = fdc.cluster(dataset, key="dc", observer=Acts(lambda: lose(dataset, *gone), phase="write"), **FROZEN)
    assert "so dc, " in caplog.text
    dataset.reload()
    for name in ("note", "box", "vector"):
        assert type(dataset.get_field(name)) is type(before[name])
    assert dataset.get_field("box").document_type is fo.Detections
    assert not dataset.has_field("empty")
    assert (
        dataset.count("note") == dataset.count("dc.label") == sum(info.size for info in run.clusters()) == 12
    )
    assert [sample.vector.tolist() for sample in dataset] == [[1, 1, 1]] * 12
    assert dataset.get_field("dc.cluster") is not None
    fdc.delete_run(dataset, "dc")
    assert not [name for name in dataset.get_field_schema() if name.startswith("dc")]


def test_fields_that_are_lost_while_images_are_assigned(make_digits):
    dataset, new = make_digits(16), make_digits(20)
    fdc.cluster(dataset, key="dc", **FROZEN)
    fdc.assign(new.limit(10), "dc", from_dataset=dataset)
    lose(new, "dc", "dc_stability")
    new.reload()
    new._sample_collection.update_many({}, {"$set": {"other": 1}})
    assert declare_lost(new, FieldNames("dc"))
    assert [sample.other for sample in new] == [1] * 20
    assert fdc.assign(new, "dc", from_dataset=dataset) == 10
    assert declare_lost(new, FieldNames("dc")) == []


def test_whoever_reviews_a_run_gets_back_a_field_that_was_lost_later(make_digits, stored_run):
    dataset = make_digits(12)
    stored_run(dataset)
    lose(dataset, "dc")
    dataset.reload()
    edits = fdc.review(dataset, "dc")
    assert len(edits.names()) == 4
    assert [sample.dc.label is not None for sample in dataset] == [True] * 12
    dataset.delete_sample_field("dc")
    with pytest.raises(RunError, match=r"the field dc.label of run 'dc' was deleted"):
        edits.names()


_PLAIN = """
import sys
import fiftyone as fo

dataset = fo.load_dataset(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for i in range(8):
    dataset.add_sample_field(f"plain{i}", fo.StringField)
    dataset.set_values(f"plain{i}", ["x"] * 5)
"""


@pytest.mark.slow
def test_plain_fiftyone_adds_fields_at_the_same_time(make_digits):
    dataset = make_digits(5, persistent=True)
    command = [sys.executable, "-W", "ignore", "-c", _PLAIN, dataset.name]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline().strip() == "ready"
    other.stdin.write("\n")
    other.stdin.flush()
    runs = [FieldNames(f"dc{i}") for i in range(4)]
    for names in runs:
        declare(dataset, names)
        dataset._sample_collection.update_many({}, {"$set": {names.path("loss"): 1.0}})
        declare_lost(dataset, names)
    assert other.wait() == 0
    other.communicate()
    for names in runs:
        declare_lost(dataset, names)
    assert [sample.plain7 for sample in dataset] == ["x"] * 5
    filled = {path for names in runs for path in (names.key, names.path("loss"))}
    assert filled <= set(dataset.get_field_schema())
    assert {f"plain{i}" for i in range(8)} <= set(dataset.get_field_schema())
