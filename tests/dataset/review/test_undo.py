"""Undo restores what the edit wrote and nothing else: after corrections by hand, in clones, and after a crash."""

from __future__ import annotations

import threading

import pytest
from pymongo.collection import Collection

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.review.old_values import pack, unpack
from fiftyone_deepcluster.dataset.runs.kv import drop, find
from fiftyone_deepcluster.errors import RunError
from tests.dataset.review.test_review import values
from tests.dataset.small_runs import FROZEN


def of_cluster(dataset, name):
    """First sample of a cluster, as FiftyOne's own editor loads it."""
    dataset.reload()
    return dataset.match({"dc.label": name}).first()


def test_names_that_were_changed_by_hand_stay(dataset):
    edits = fdc.review(dataset, "dc")
    size = dataset.count_values("dc.label")["cluster-00"]
    edits.rename("cluster-00", "mine")
    moved = of_cluster(dataset, "mine")
    moved["dc"].label = "cluster-01"
    moved.save()
    (undone,) = edits.undo()
    assert (undone.n_changed, undone.n_kept) == (size, 1)
    assert edits.log()[0].n_kept == 1
    dataset.reload()
    assert dataset[moved.id].dc.label == "cluster-01"
    assert dataset.count_values("dc.label")["cluster-00"] == size - 1
    assert "mine" not in edits.names()


def test_labels_that_were_changed_by_hand_stay(dataset):
    import fiftyone as fo

    edits = fdc.review(dataset, "dc")
    before = dict(zip(*dataset.values(["id", "ground_truth.label"]), strict=True))
    edits.label_cluster("cluster-00", "ground_truth", "zebra", overwrite=True)
    corrected = of_cluster(dataset, "cluster-00")
    corrected.ground_truth.label = "lion"
    corrected.save()
    (undone,) = edits.undo()
    assert undone.n_kept == 1
    after = dict(zip(*dataset.values(["id", "ground_truth.label"]), strict=True))
    assert after == {**before, corrected.id: "lion"}

    edits.label_cluster("cluster-01", "mine", "cat")
    tagged, removed = dataset.reload() or list(dataset.match({"dc.label": "cluster-01"}).limit(2))
    tagged.mine.tags = ["sure"]
    removed["mine"] = None
    added = of_cluster(dataset, "cluster-02")
    added["mine"] = fo.Classification(label="bird")
    for sample in (tagged, removed, added):
        sample.save()
    (undone,) = edits.undo()
    assert undone.n_kept == 1  # what was removed is as before the edit
    dataset.reload()
    assert dict(zip(*dataset.exists("mine").values(["id", "mine.label"]), strict=True)) == {
        tagged.id: "cat", added.id: "bird",
    }  # fmt: skip


def test_objects_that_were_changed_by_hand_stay(make_digits, stored_run):
    import fiftyone as fo

    dataset = make_digits(8)
    for sample in dataset.iter_samples(autosave=True):
        halves = [fo.Detection(label="half", bounding_box=[x, 0, 0.5, 1]) for x in (0, 0.5)]
        sample["objects"] = fo.Detections(detections=halves)
    stored_run(dataset.to_patches("objects"))
    edits = fdc.review(dataset, "dc")
    edits.label_cluster("cluster-00", "label", "x", overwrite=True)
    sample = dataset.match({"objects.detections.label": "x"}).first()
    corrected = next(one for one in sample.objects.detections if one.label == "x")
    corrected.label = "y"
    sample.save()
    (undone,) = edits.undo()
    assert undone.n_kept == 1
    assert dataset.count_values("objects.detections.label") == {"half": 15, "y": 1}


def test_images_that_were_deleted_do_not_count(dataset):
    edits = fdc.review(dataset, "dc")
    edits.rename("cluster-00", "mine")
    dataset.delete_samples(of_cluster(dataset, "mine").id)
    assert edits.undo()[0].n_kept == 0


def test_images_assigned_after_edits_go_back_with_them(make_digits, digits_dir):
    import fiftyone as fo

    dataset = make_digits(40)
    fdc.cluster(dataset, key="dc", **FROZEN)
    plain = make_digits(60)
    fdc.assign(plain.skip(40), "dc", from_dataset=dataset)
    expected = dict(zip(*plain.skip(40).values(["filepath", "dc.label"]), strict=True))

    edits = fdc.review(dataset, "dc")
    edits.rename("cluster-00", "a")
    edits.merge(["a", "cluster-01"], into="b")
    files = sorted(digits_dir.iterdir())[40:60]
    dataset.add_samples([fo.Sample(filepath=str(file)) for file in files], progress=False)
    assert fdc.assign(dataset, "dc") == 20
    merged = {"cluster-00": "b", "cluster-01": "b"}
    new = dataset.skip(40)
    found = dict(zip(*new.values(["filepath", "dc.label"]), strict=True))
    assert found == {path: merged.get(name, name) for path, name in expected.items()}
    assert "b" in found.values()
    assert [edit.n_kept for edit in edits.undo(2)] == [0, 0]
    assert dict(zip(*new.values(["filepath", "dc.label"]), strict=True)) == expected

    # where the images are in another dataset, that dataset has its own edits
    other = fdc.review(plain, "dc")
    other.rename("cluster-00", "c")
    plain.skip(50).set_values("dc", [None] * 10)
    assert fdc.assign(plain.skip(50), "dc", from_dataset=dataset) == 10
    renamed = {path: {"cluster-00": "c"}.get(name, name) for path, name in expected.items()}
    assert dict(zip(*plain.skip(40).values(["filepath", "dc.label"]), strict=True)) == renamed
    other.undo()
    assert dict(zip(*plain.skip(40).values(["filepath", "dc.label"]), strict=True)) == expected


def test_images_assigned_after_moves_and_splits_go_back_with_them(make_digits):
    dataset = make_digits(60)
    fdc.cluster(dataset.limit(40), key="dc", **FROZEN)
    edits = fdc.review(dataset, "dc")
    new = dataset.skip(40)
    assert fdc.assign(new, "dc") == 20
    expected = new.values("dc.label")
    number = max(range(4), key=lambda i: expected.count(f"cluster-0{i}"))
    name = f"cluster-0{number}"

    def forget_and_assign():
        new.set_values("dc", [None] * 20)
        assert fdc.assign(new, "dc") == 20
        return new.values("dc.label")

    edits.move(cluster=name, to="moved")
    moved = ["moved" if label == name else label for label in expected]
    assert forget_and_assign() == moved
    edits.undo()
    assert new.values("dc.label") == expected
    assert forget_and_assign() == expected  # while the edit is undone
    edits.redo()
    assert new.values("dc.label") == moved
    assert "moved" in moved
    edits.undo()

    edits.merge([name, f"cluster-0{(number + 1) % 4}"], into="both")
    edits.split("both", 2)
    both = forget_and_assign()
    assert set(both) - set(expected) <= {"both", "cluster-04"}
    edits.undo(2)
    assert new.values("dc.label") == expected
    assert [edit.n_kept for edit in edits.log()] == [0] * len(edits.log())


def test_an_undo_that_died_is_the_first_step_of_the_next(dataset, die_at):
    edits = fdc.review(dataset, "dc")
    edits.rename("cluster-00", "a")
    edits.rename("cluster-01", "b")
    die_at(4)
    with pytest.raises(Died):
        edits.undo()
    die_at(0)
    drop(dataset, "^lock:")
    edits.undo()
    assert "a" in edits.names()
    assert "b" not in edits.names()


def test_a_clone_has_the_log_of_its_original(dataset):
    before = values(dataset)
    edits = fdc.review(dataset, "dc")
    edits.rename("cluster-00", "a")
    edits.rename("cluster-01", "gone")
    edits.undo()
    edits.label_cluster("a", "mine", "x")
    clone = dataset.clone()
    edits.rename("cluster-02", "c")  # of the original alone
    copied = fdc.review(clone, "dc")
    assert [(edit.number, edit.text) for edit in copied.log()] == [
        (edit.number, edit.text) for edit in edits.log() if edit.number in (1, 3)
    ]
    copied.rename("cluster-03", "d")
    assert [edit.number for edit in copied.undo(5)] == [4, 3, 1]
    same = {"_id", "dc", "ground_truth"}
    assert [{name: row[name] for name in same} for row in values(clone)] == [
        {name: row[name] for name in same} for row in before
    ]
    assert not clone.has_field("mine")
    assert edits.names() == ["a", "c", "cluster-01", "cluster-03"]
    assert len(edits.undo(5)) == 3
    clone.delete()


def test_a_clone_whose_original_has_no_log_any_more_says_so(dataset):
    edits = fdc.review(dataset, "dc")
    edits.rename("cluster-00", "a")
    edits.rename("cluster-01", "b")
    clone = dataset.clone()
    edits.undo()
    copied = fdc.review(clone, "dc")
    assert copied.n_lost() == 1
    with pytest.raises(
        RunError,
        match=r"1 edit of run 'dc' made before .* was cloned cannot be undone: .* has their log, was deleted",
    ):
        copied.undo()
    copied.rename("cluster-02", "c")
    assert [edit.number for edit in copied.undo(3)] == [3]
    assert "a" in copied.names()
    assert fdc.review(dataset, "dc").n_lost() == 0
    dataset.delete()
    last = clone.clone()
    assert fdc.review(last, "dc").n_lost() == 1
    last.delete()
    clone.delete()


_SENT = """
import asyncio, sys
import fiftyone as fo
import fiftyone.core.odm as odm
from fiftyone.operators.remote_notifier import RemoteNotifier
from fiftyone.operators.store import notification_service
import fiftyone_deepcluster as fdc

class Collects(RemoteNotifier):
    sent = []

    async def broadcast_to_store(self, store_name, message):
        self.sent.append(message)

async def main():
    service = notification_service.MongoChangeStreamNotificationService("execution_store", Collects())
    service._collection_async = odm.get_async_db_conn()["execution_store"]
    await service._poll()
    edits = fdc.review(fo.load_dataset(sys.argv[1]), "dc")
    edits.label_cluster("cluster-00", "ground_truth", "x", overwrite=True)
    edits.rename("cluster-01", "one")
    await service._poll()
    await asyncio.gather(*service._background_tasks)
    print(sum('"key": "edit:' in message for message in Collects.sent))

asyncio.run(main())
"""


def test_fiftyone_can_send_what_is_stored(make_digits, stored_run):
    import subprocess
    import sys

    dataset = make_digits(40, persistent=True)
    stored_run(dataset)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SENT, dataset.name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 4


def test_old_values_as_text_keep_every_type():
    from datetime import datetime, timezone

    from bson import ObjectId

    from fiftyone_deepcluster.dataset.review.old_values import Old

    rows = [
        None,
        "ä",
        1,
        2.5,
        b"\x00",
        [1],
        {"_id": ObjectId(), "when": datetime(2026, 1, 2, tzinfo=timezone.utc)},
    ]
    olds = [Old(ObjectId(), ObjectId(), value) for value in rows]
    texts = list(pack(olds))
    assert len(texts) == 1
    found = unpack(texts[0])
    assert [(old.sample_id, old.image_id) for old in found] == [(old.sample_id, old.image_id) for old in olds]
    assert [old.value for old in found[:-1]] == rows[:-1]
    assert found[-1].value["_id"] == rows[-1]["_id"]
    assert list(pack([])) == []


# ---------------------------------------------------------------- a process that dies


class Died(BaseException):
    """In the place of the death of the process."""


@pytest.fixture
def die_at(monkeypatch):
    """Call it with n: the n-th write to the database from then on is not made, and raises Died."""
    left = [0]

    def counted(write):
        def method(self, *args, **more):
            if threading.current_thread() is threading.main_thread() and left[0]:
                left[0] -= 1
                if not left[0]:
                    raise Died
            return write(self, *args, **more)

        return method

    for name in ("update_one", "update_many", "insert_one", "delete_one", "delete_many", "bulk_write"):
        monkeypatch.setattr(Collection, name, counted(getattr(Collection, name)))

    def begin(n):
        left[0] = n

    return begin


def dies(die_at, n, edits, call):
    """Whether the call dies at its n-th write; its locks are then free, as those of a dead process are."""
    die_at(n)
    try:
        call()
    except Died:
        drop(edits.run.dataset, "^lock:")
        return True
    finally:
        die_at(0)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("then", ["undo", "edit"])
def test_an_edit_that_died_is_undone_or_completed(dataset, die_at, then):
    edits = fdc.review(dataset, "dc")
    before = values(dataset)
    for n in range(1, 100):
        died = dies(die_at, n, edits, lambda: edits.label_cluster("cluster-00", "mine", "x"))
        dataset.reload()
        if then == "edit":
            begun = bool(edits.log()) and not edits.log()[-1].undone
            edits.rename("cluster-01", "one")
            assert dataset.has_field("mine") == begun
            if begun:
                assert dataset.count("mine") == dataset.count_values("dc.label")["cluster-00"]
        edits.undo(2)
        assert values(dataset) == before
        assert not dataset.has_field("mine")
        assert all(edit.undone and not edit.n_kept for edit in edits.log())
        if not died:
            break
    assert 8 < n < 99


@pytest.mark.slow
@pytest.mark.parametrize("then", ["undo", "edit"])
def test_an_undo_that_died_is_completed(dataset, die_at, then):
    edits = fdc.review(dataset, "dc")
    before = values(dataset)
    for n in range(1, 100):
        edits.label_cluster("cluster-00", "mine", "x")
        died = dies(die_at, n, edits, edits.undo)
        dataset.reload()
        started = died and n > 2  # the first two writes take the lock and note the intent
        if then == "edit":
            edits.rename("cluster-01", "one")
            assert dataset.has_field("mine") != (started or not died)
        edits.undo(2)
        assert values(dataset) == before
        assert not dataset.has_field("mine")
        assert all(edit.undone and not edit.n_kept for edit in edits.log())
        if not died:
            break
    assert 6 < n < 99


def test_what_was_stored_of_edits_goes_with_the_run(dataset):
    edits = fdc.review(dataset, "dc")
    edits.rename("cluster-00", "a")
    fdc.delete_run(dataset, "dc")
    assert not find(dataset, "^edit:")
