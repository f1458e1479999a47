"""Work on many files by many: worker processes that are told of jobs and answer, one value an item.

Workers are plain subprocesses, not ``multiprocessing`` ones: those run the caller's ``__main__`` again (a
script without the usual guard would start over in each) and are refused to daemonic processes, as which
delegated operations may run. Jobs and answers are pickled over the pipes between this process and those
that it started, never over anything that others can write to. A decoder that takes its
process down with it costs one image, not the run. Where no process can be started, threads do the work.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import IO, TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self

logger = logging.getLogger(__name__)

_MAX_WORKERS = 16
# Seconds between looks at whether to stop.
_GLANCE_SECONDS = 0.2
_READY = "ready"
_SERVE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from fiftyone_deepcluster.images.cache.worker_pool import serve; serve()"
)


class PoolJob(ABC):
    """Some items to work on; what it holds and answers can be pickled."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def halves(self) -> tuple[Self, Self]:
        """The same items in two jobs."""

    @abstractmethod
    def work(self) -> list[Any]:
        """Do it; one value for every item, in their order.

        Raises:
            OSError: results cannot be written, which ends everything.
        """

    @abstractmethod
    def crashed(self) -> Any:
        """Of a job of one item that took its process down: what stands in place of its value."""


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
    """Do jobs that come on stdin until it ends; the body of a worker process."""
    # Libraries that print would break into the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _send(answers, _READY)
    while True:
        try:
            job: PoolJob = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: object = job.work()
        except OSError as error:
            answer = OSError(error.errno, error.strerror or str(error))
        _send(answers, answer)


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

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ready(self) -> bool:
        """Whether it has started; waits until that is known."""
        return bool(self._answer() == _READY)

    def do(self, job: PoolJob) -> list[Any] | None:
        """Answers of a job; None where the process is gone."""
        try:
            _send(self._process.stdin, job)  # type: ignore[arg-type]
        except (OSError, ValueError):
            return None
        answer = self._answer()
        if isinstance(answer, OSError):
            raise answer
        return answer  # type: ignore[no-any-return]

    def _answer(self) -> Any:
        """The next thing the process says; None where it is gone, or goes while it says it."""
        try:
            return _receive(self._process.stdout)  # type: ignore[arg-type]
        except (EOFError, pickle.UnpicklingError, OSError, ValueError):
            return None

    def stop(self) -> None:
        """End the process and close its pipes."""
        with contextlib.suppress(BrokenPipeError), self._process:
            self._process.kill()


def _start() -> _Worker | None:
    try:
        process = subprocess.Popen(  # noqa: S603 - this very interpreter
            [sys.executable, "-c", _SERVE, json.dumps(sys.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
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


def _send(pipe: IO[bytes], value: object) -> None:
    pickle.dump(value, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    """The next value; both ends of the pipe are this interpreter, one started by the other."""
    return pickle.load(pipe)  # noqa: S301 - see above


def _cores() -> int:
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    return min(count, _MAX_WORKERS)
