"""Pool of worker subprocesses; one result per item.

Workers are plain subprocesses, not ``multiprocessing`` ones: those import the caller's ``__main__`` again (a
script without the usual guard would rerun in each) and cannot be started by daemonic processes, in which
delegated operations may run. Jobs and results are pickled over the pipes to child processes, never over a
channel that others can write to. A decoder that crashes its process costs one image, not the run. A worker ends
when its parent does, however that ends. If no process can be started, threads do the work.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import IO, TYPE_CHECKING, Any, TypeVar

from fiftyone_deepcluster.core.environment import Need, child_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self

logger = logging.getLogger(__name__)

_MAX_WORKERS = 16
# Seconds between checks for cancellation.
_POLL_SECONDS = 0.2
_READY = "ready"
_PR_SET_PDEATHSIG = 1
_SERVE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from fiftyone_deepcluster.images.cache.worker_pool import serve; serve()"
)


class PoolJob(ABC):
    """A picklable job of one or more items, with picklable results."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def halves(self) -> tuple[Self, Self]:
        """The items split into two jobs."""

    @abstractmethod
    def work(self) -> list[Any]:
        """Process the items; one result per item, in order.

        Raises:
            OSError: results cannot be written; stops all jobs.
        """

    @abstractmethod
    def crashed(self) -> Any:
        """Result to use for a job of one item that crashed its process."""


J = TypeVar("J", bound=PoolJob)


def run_jobs(
    jobs: Sequence[J], *, workers: int | None, processes_from: int
) -> Iterator[tuple[J, list[Any]] | None]:
    """Run all jobs; yield each with its results, in the order of ``jobs``, not of completion.

    Yields None periodically while the next job is not done, so that the caller can check for cancellation.
    Closing the iterator stops the workers.

    Args:
        jobs: jobs to run.
        workers: maximum number of workers; by default one per core, at most 16.
        processes_from: with fewer items than this, threads are used, since starting processes would take
            longer than it saves.

    Raises:
        OSError: results cannot be written.
    """
    if not jobs:
        return
    total = sum(len(job) for job in jobs)
    count = min(workers or _cores(), len(jobs))
    runner = _JobRunner(processes=total >= processes_from and count > 1)
    pool = ThreadPoolExecutor(count, thread_name_prefix="image-jobs")
    try:
        waiting = deque((job, pool.submit(runner.do, job)) for job in jobs)
        while waiting:
            job, future = waiting[0]
            wait([future], _POLL_SECONDS)
            if future.done():
                waiting.popleft()  # drops the reference to its results
                yield job, future.result()
            else:
                yield None
    finally:
        runner.stop()
        pool.shutdown(cancel_futures=True)


def serve() -> None:
    """Main function of a worker process: run jobs from stdin until it is closed."""
    _end_with_parent()
    # stdout is redirected to stderr, since output printed by libraries would corrupt the results.
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


def _end_with_parent() -> None:
    """End this process as soon as its parent has ended, even while it imports or works on a job."""
    if sys.platform == "linux":
        # Also reaches a process that holds Python's lock for long. The kernel sends the signal when the thread that
        # started this process ends; threads of the pool end after their processes
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if not hasattr(select, "poll"):  # Windows: the process ends when it asks for the next job
        return
    jobs = select.poll()
    jobs.register(sys.stdin.fileno(), 0)  # reports nothing but that the parent's end of the pipe was closed

    def wait_for_end() -> None:
        jobs.poll()
        os._exit(1)

    threading.Thread(target=wait_for_end, name="parent", daemon=True).start()


class _JobRunner:
    """Runs jobs for the threads of a pool, with one worker process per thread.

    Args:
        processes: False runs the jobs in the threads themselves.
    """

    def __init__(self, processes: bool) -> None:
        self._processes = processes
        self._thread_local = threading.local()
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        self._stopped = False

    def do(self, job: PoolJob) -> list[Any]:
        """Results of a job; empty after ``stop``."""
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
        """Kill the processes, even while they work."""
        with self._lock:
            self._stopped = True
            for worker in self._workers:
                worker.stop()

    def _after_crash(self, job: PoolJob) -> list[Any]:
        """Find the item that crashed its process by bisection, and process the others."""
        self._thread_local.worker = None
        if len(job) == 1:
            return [job.crashed()]
        return [answer for half in job.halves() for answer in self.do(half)]

    def _worker(self) -> _Worker | None:
        if not self._processes:
            return None
        worker: _Worker | None = getattr(self._thread_local, "worker", None)
        if worker is None:
            worker = _start()
            if worker is None:
                self._processes = False
                return None
            with self._lock:
                self._workers.append(worker)
                if self._stopped:
                    worker.stop()
            self._thread_local.worker = worker
        return worker


class _Worker:
    """One worker process, used by one thread."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ready(self) -> bool:
        """Wait for the process to start; False if it failed to."""
        return bool(self._answer() == _READY)

    def do(self, job: PoolJob) -> list[Any] | None:
        """Results of a job; None if the process ended."""
        try:
            _send(self._process.stdin, job)  # type: ignore[arg-type]
        except (OSError, ValueError):
            return None
        answer = self._answer()
        if isinstance(answer, OSError):
            raise answer
        return answer  # type: ignore[no-any-return]

    def _answer(self) -> Any:
        """Next message of the process; None if it ended before the message was complete."""
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
            env=child_environment(Need.SYSTEM, Need.PYTHON, Need.THREADS, Need.CACHE),
        )  # fmt: skip
    except (OSError, ValueError, TypeError) as error:
        logger.info("Cannot start worker processes (%s); using threads instead", error)
        return None
    worker = _Worker(process)
    if not worker.ready():
        worker.stop()
        logger.info("Worker processes exit on start; using threads instead")
        return None
    return worker


def _send(pipe: IO[bytes], value: object) -> None:
    pickle.dump(value, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    """Next value of the pipe, whose other end is a parent or child process of this program."""
    return pickle.load(pipe)  # noqa: S301  # nosec B301


def _cores() -> int:
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    return min(count, _MAX_WORKERS)
