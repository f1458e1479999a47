"""Work on many files by many: worker processes that are told of jobs and answer, one value an item.

Workers are plain subprocesses that speak JSON lines over their pipes, not ``multiprocessing`` ones:
those run the caller's ``__main__`` again (a script without the usual guard would start over in each) and
are refused to daemonic processes, as which delegated operations may run. A decoder that takes its
process down with it costs one image, not the run. Where no process can be started, threads do the work.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self

logger = logging.getLogger(__name__)

_MAX_WORKERS = 16
# Seconds between looks at whether to stop.
_GLANCE_SECONDS = 0.2
_SERVE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from fiftyone_deepcluster.images.cache.worker_pool import serve; serve()"
)


class PoolJob(ABC):
    """Some items to work on, as plain values that a process can be told."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def halves(self) -> tuple[Self, Self]:
        """The same items in two jobs."""

    @abstractmethod
    def work(self) -> list[Any]:
        """Do it; one JSON value for every item, in their order.

        Raises:
            OSError: results cannot be written, which ends everything.
        """

    @abstractmethod
    def crashed(self) -> Any:
        """What stands in place of the value of an item that took its process down."""

    @abstractmethod
    def to_values(self) -> dict[str, Any]:
        """Plain values for JSON."""

    @classmethod
    @abstractmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """The job that ``to_values`` came from."""


J = TypeVar("J", bound=PoolJob)


def carry_out(
    jobs: Sequence[J], *, workers: int | None, processes_from: int
) -> Iterator[tuple[J, list[Any]] | None]:
    """Do all jobs; yields each with its answers, in the order of the jobs: done ones wait for a slow one before them.

    Yields None now and then while nothing is ready, so that the caller can look whether to stop:
    closing the iterator stops the workers.

    Args:
        jobs: any number.
        workers: at most so many; by default one a core, 16 at most.
        processes_from: with fewer items than this, starting processes takes longer than they save.

    Raises:
        OSError: results cannot be written.
    """
    if not jobs:
        return
    total = sum(len(job) for job in jobs)
    count = min(workers or _cores(), len(jobs))
    crew: _Crew = _Crew(processes=total >= processes_from and count > 1)
    pool = ThreadPoolExecutor(count, thread_name_prefix="crew")
    try:
        waiting = deque((job, pool.submit(crew.do, job)) for job in jobs)
        while waiting:
            job, future = waiting[0]
            wait([future], _GLANCE_SECONDS)
            if future.done():
                waiting.popleft()  # with its answers
                yield job, future.result()
            else:
                yield None
    finally:
        crew.stop()
        pool.shutdown(cancel_futures=True)


def serve() -> None:
    """Do jobs that come as lines on stdin until it ends; the body of a worker process."""
    # Libraries that print would break into the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer: object = _parse(line).work()
        except OSError as error:
            answer = {"errno": error.errno, "strerror": error.strerror or str(error)}
        print(json.dumps(answer), file=answers, flush=True)


class _Crew:
    """Does jobs for the threads of a pool, each through a process of its own.

    Args:
        processes: False works in the threads themselves.
    """

    def __init__(self, processes: bool) -> None:
        self._processes = processes
        self._mine = threading.local()
        self._all: list[_Worker] = []
        self._guard = threading.Lock()
        self._stopped = False

    def do(self, job: PoolJob) -> list[Any]:
        """The answers of a job; none where everything was stopped."""
        if self._stopped:
            return []
        worker = self._worker()
        if worker is None:
            return job.work()
        answers = worker.do(job)
        if answers is None and not self._stopped:
            answers = self._after_crash(job)
        return answers or []

    def stop(self) -> None:
        """End the processes, in the middle of their work if need be."""
        with self._guard:
            self._stopped = True
            for worker in self._all:
                worker.stop()

    def _after_crash(self, job: PoolJob) -> list[Any]:
        """An item took its process down: find it by halving."""
        self._mine.worker = None
        if len(job) == 1:
            return [job.crashed()]
        return [answer for half in job.halves() for answer in self.do(half)]

    def _worker(self) -> _Worker | None:
        if not self._processes:
            return None
        worker: _Worker | None = getattr(self._mine, "worker", None)
        if worker is None:
            worker = _start()
            if worker is None:
                self._processes = False
                return None
            with self._guard:
                self._all.append(worker)
                if self._stopped:
                    worker.stop()
            self._mine.worker = worker
        return worker


class _Worker:
    """One worker process, used by one thread."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ready(self) -> bool:
        """Whether it has started; waits until that is known."""
        return self._process.stdout is not None and self._process.stdout.readline() == "ready\n"

    def do(self, job: PoolJob) -> list[Any] | None:
        """Answers of a job; None where the process is gone."""
        kind = [type(job).__module__, type(job).__qualname__]
        try:
            self._process.stdin.write(json.dumps([*kind, job.to_values()]) + "\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
            line = self._process.stdout.readline()  # type: ignore[union-attr]
        except (BrokenPipeError, ValueError):
            return None
        if not line.endswith("\n"):
            return None
        answer = json.loads(line)
        if isinstance(answer, dict):
            raise OSError(answer["errno"], answer["strerror"])
        return answer  # type: ignore[no-any-return]

    def stop(self) -> None:
        """End the process and close its pipes."""
        with contextlib.suppress(BrokenPipeError), self._process:
            self._process.kill()


def _start() -> _Worker | None:
    try:
        process = subprocess.Popen(  # noqa: S603 - this very interpreter
            [sys.executable, "-c", _SERVE, json.dumps(sys.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
        )  # fmt: skip
    except (OSError, ValueError, TypeError) as error:
        logger.info("No worker process can be started (%s): threads do the work", error)
        return None
    worker = _Worker(process)
    if not worker.ready():
        worker.stop()
        logger.info("Worker processes end at once: threads do the work")
        return None
    return worker


def _parse(line: str) -> PoolJob:
    module, name, values = json.loads(line)
    kind: type[PoolJob] = getattr(importlib.import_module(module), name)
    return kind.from_values(values)


def _cores() -> int:
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    return min(count, _MAX_WORKERS)
