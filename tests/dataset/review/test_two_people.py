"""Edits of several people at the same time."""

from __future__ import annotations

import threading

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.review import drafts, edit_log
from fiftyone_deepcluster.dataset.runs import kv, lock, status
from fiftyone_deepcluster.errors import RunLockedError


def test_an_edit_waits_for_the_edit_of_another_person(make_digits, stored_run):
    dataset = make_digits(40)
    stored_run(dataset)
    names = fdc.review(dataset, "dc").names()
    errors = []

    def rename(name):
        try:
            fdc.review(dataset, "dc", user=name).rename(name, f"new {name}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=rename, args=(name,)) for name in names]
    with lock.acquire(dataset, "dc"):  # all of them find it locked
        for thread in threads:
            thread.start()
        threads[0].join(0.3)
    for thread in threads:
        thread.join()
    assert errors == []
    assert fdc.review(dataset, "dc").names() == sorted(f"new {name}" for name in names)
    assert {edit.who for edit in fdc.review(dataset, "dc").log()} == set(names)


def test_an_edit_does_not_wait_for_a_run_at_work(make_digits, stored_run):
    dataset = make_digits(20)
    stored_run(dataset)
    live = status.LiveObserver(dataset, "dc", "frozen", 3)
    with lock.acquire(dataset, "dc"), pytest.raises(RunLockedError, match="is locked by"):
        fdc.review(dataset, "dc").rename("cluster-00", "one")
    live.finish("finished")


def test_an_edit_reads_the_log_once(dataset, monkeypatch):
    edits = fdc.review(dataset, "dc")
    edits.rename("cluster-00", "one")
    edits.undo()
    reads = []

    def find(*where):
        reads.append(where)
        return kv.find(*where)

    monkeypatch.setattr(edit_log, "find", find)
    for edit in (lambda: edits.rename("cluster-01", "two"), edits.undo, edits.redo):
        reads.clear()
        edit()
        assert len(reads) == 1
    after = edits.state_after
    assert after == edits.state()
    assert after.next_undo.text == "renamed 'cluster-01' to 'two'"
    assert [entry.state for entry in after.entries] == ["dropped", "made"]


def test_the_edits_of_another_person_are_read(dataset):
    one, other = (fdc.review(dataset, "dc", user=name) for name in ("Ada", "Bo"))
    one.rename("cluster-00", "a")
    other.rename("cluster-01", "b")
    assert one.version() == other.version() == other.state_after.version != one.state_after.version
    one.rename("cluster-02", "c")
    assert one.version_before == other.state_after.version
    assert [edit.number for edit in other.log()] == [1, 2, 3]
    other.undo()
    assert sorted(one.names()) == ["a", "b", "cluster-02", "cluster-03"]


def test_an_edit_whose_lock_was_taken_over_is_not_begun(dataset, monkeypatch):
    edits, names = fdc.review(dataset, "dc"), fdc.review(dataset, "dc").names()
    draft = drafts.draft_rename

    def slowly(*given):
        monkeypatch.setattr(drafts, "draft_rename", draft)
        kv.run_store(dataset).delete("lock:dc")  # as if this process had slept for some minutes
        fdc.review(dataset, "dc", user="Bo").rename(names[1], "b")
        return draft(*given)

    monkeypatch.setattr(drafts, "draft_rename", slowly)
    with pytest.raises(RunLockedError, match="was taken over by another process"):
        edits.rename(names[0], "a")
    assert [edit.who for edit in edits.log()] == ["Bo"]
    assert sorted(edits.names()) == sorted(["b", *(name for name in names if name != names[1])])
    edits.rename(names[0], "a")
    assert [edit.number for edit in edits.log()] == [1, 2]
