"""Work for many: answers in the order of the jobs, and an end in the middle."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from fiftyone_deepcluster.images.cache.worker_pool import PoolJob, run_jobs


@dataclass(frozen=True)
class Nap(PoolJob):
    """Sleeps, and answers with its number."""

    number: int
    seconds: float
    error: str = ""

    def __len__(self) -> int:
        return 1

    def halves(self):
        raise AssertionError("one item has no halves")

    def work(self):
        time.sleep(self.seconds)
        if self.error:
            raise OSError(28, self.error)
        return [self.number]

    def crashed(self):
        return -1


@pytest.mark.parametrize("processes_from", [1, 100], ids=["processes", "threads"])
def test_answers_come_in_the_order_of_the_jobs(processes_from):
    jobs = [Nap(number, 0.4 if number % 3 == 0 else 0.0) for number in range(9)]
    answers = list(run_jobs(jobs, workers=3, processes_from=processes_from))
    done = [entry for entry in answers if entry is not None]
    assert [job for job, _ in done] == jobs
    assert [answers for _, answers in done] == [[number] for number in range(9)]
    assert None in answers, "while a slow job is waited for, the caller may look whether to stop"


def test_closing_stops_what_is_not_done():
    results = run_jobs([Nap(number, 0.05) for number in range(200)], workers=2, processes_from=1000)
    assert next(entry for entry in results if entry is not None)[1] == [0]
    begun = time.monotonic()
    results.close()
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("processes_from", [1, 100], ids=["processes", "threads"])
def test_what_cannot_be_written_is_an_error(processes_from):
    jobs = [Nap(0, 0.0), Nap(1, 0.0, "No space left"), Nap(2, 0.0)]
    with pytest.raises(OSError, match="No space left"):
        list(run_jobs(jobs, workers=2, processes_from=processes_from))
