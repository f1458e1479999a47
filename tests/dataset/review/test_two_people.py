"""Edits of several people at the same time."""

from __future__ import annotations

import threading

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.runs import lock, status
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
    live.finish("done")
