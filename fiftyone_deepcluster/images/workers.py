"""Decoding by many: worker processes that write pixels straight into the cache's file.

Workers are plain subprocesses that speak JSON lines over their pipes, not ``multiprocessing`` ones:
those run the caller's ``__main__`` again (a script without the usual guard would start over in each) and
are refused to daemonic processes, as which delegated operations may run. A decoder that takes its
process down with it costs one image, not the run. Where no process can be started, threads decode.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from fiftyone_deepcluster.errors import ImagesError, UnreadableImageError
from fiftyone_deepcluster.images.decode import Decode, decode_image
from fiftyone_deepcluster.images.source import ImageRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

logger = logging.getLogger(__name__)

# Row -> why, and whether the file itself is at fault.
Failures: TypeAlias = "dict[int, tuple[str, bool]]"

# Below this many images starting processes takes longer than they save.
_FEW = 512
_MOST_WORKERS = 16
# Seconds between looks at whether to stop.
_GLANCE_SECONDS = 0.2
_SERVE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from fiftyone_deepcluster.images.workers import serve; serve()"
)


@dataclass(frozen=True)
class Block:
    """Neighbouring images to decode.

    Attributes:
        target: file to write to.
        position: byte at which the first image goes.
        row: number of the first image.
        refs: the images.
        decode: how.
    """

    target: str
    position: int
    row: int
    refs: tuple[ImageRef, ...]
    decode: Decode

    def halves(self) -> tuple[Block, Block]:
        """The same images in two blocks."""
        half = len(self.refs) // 2
        each = self.decode.size**2 * self.decode.shape[2]
        rest = replace(self, refs=self.refs[half:], row=self.row + half, position=self.position + half * each)
        return replace(self, refs=self.refs[:half]), rest


def decode_block(block: Block) -> Failures:
    """Decode and write every image of a block that can be read."""
    failures: Failures = {}
    position = block.position
    file = os.open(block.target, os.O_WRONLY)
    try:
        for row, ref in enumerate(block.refs, block.row):
            try:
                pixels = decode_image(ref, block.decode)
            except UnreadableImageError as error:
                failures[row] = (error.reason, error.lasting)
                position += block.decode.size**2 * block.decode.shape[2]
            else:
                position += os.pwrite(file, pixels.tobytes(), position)
    finally:
        os.close(file)
    return failures


def decode_blocks(blocks: Sequence[Block], workers: int | None) -> Iterator[tuple[int, Failures]]:
    """Decode all blocks; yields the images done and their failures as they come.

    Yields ``(0, {})`` now and then while nothing is ready, so that the caller can look whether to
    stop: closing the iterator stops the workers.

    Raises:
        ImagesError: pixels cannot be written.
    """
    total = sum(len(block.refs) for block in blocks)
    count = min(workers or _cores(), len(blocks))
    crew = _Crew(processes=total >= _FEW and count > 1)
    pool = ThreadPoolExecutor(count, thread_name_prefix="decode")
    try:
        waiting: set[Future[tuple[int, Failures]]] = {pool.submit(crew.decode, block) for block in blocks}
        while waiting:
            done, waiting = wait(waiting, _GLANCE_SECONDS, FIRST_COMPLETED)
            if not done:
                yield 0, {}
            for future in done:
                yield future.result()
    except OSError as error:
        raise ImagesError(f"decoded images cannot be written: {error.strerror}") from error
    finally:
        crew.stop()
        pool.shutdown(cancel_futures=True)


def serve() -> None:
    """Decode blocks that come as lines on stdin until it ends; the body of a worker process."""
    # Libraries that print would break into the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer: object = [[row, *why] for row, why in decode_block(_parse(line)).items()]
        except OSError as error:
            answer = {"errno": error.errno, "strerror": error.strerror}
        print(json.dumps(answer), file=answers, flush=True)


class _Crew:
    """Decodes blocks for the threads of a pool, each through a process of its own.

    Args:
        processes: False decodes in the threads themselves.
    """

    def __init__(self, processes: bool) -> None:
        self._processes = processes
        self._mine = threading.local()
        self._all: list[_Worker] = []
        self._guard = threading.Lock()
        self._stopped = False

    def decode(self, block: Block) -> tuple[int, Failures]:
        """Number of images dealt with, and those that failed."""
        if self._stopped:
            return 0, {}
        worker = self._worker()
        if worker is None:
            return len(block.refs), decode_block(block)
        failures = worker.decode(block)
        if failures is None and not self._stopped:
            failures = self._after_crash(block)
        return len(block.refs), failures or {}

    def stop(self) -> None:
        """End the processes, in the middle of their work if need be."""
        with self._guard:
            self._stopped = True
            for worker in self._all:
                worker.stop()

    def _after_crash(self, block: Block) -> Failures:
        """A decoder took its process down: find the image by halving."""
        self._mine.worker = None
        if len(block.refs) == 1:
            return {block.row: ("its decoder crashed", False)}
        failures: Failures = {}
        for half in block.halves():
            failures |= self.decode(half)[1]
        return failures

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

    def decode(self, block: Block) -> Failures | None:
        """Failures of a block; None where the process is gone."""
        try:
            self._process.stdin.write(json.dumps(asdict(block)) + "\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
            line = self._process.stdout.readline()  # type: ignore[union-attr]
        except (BrokenPipeError, ValueError):
            return None
        if not line.endswith("\n"):
            return None
        answer = json.loads(line)
        if isinstance(answer, dict):
            raise OSError(answer["errno"], answer["strerror"])
        return {row: (reason, lasting) for row, reason, lasting in answer}

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
        logger.info("No worker process can be started (%s): threads decode the images", error)
        return None
    worker = _Worker(process)
    if not worker.ready():
        worker.stop()
        logger.info("Worker processes end at once: threads decode the images")
        return None
    return worker


def _parse(line: str) -> Block:
    values = json.loads(line)
    refs = tuple(
        ImageRef(ref["path"], None if ref["box"] is None else tuple(ref["box"]), ref["frame"])
        for ref in values["refs"]
    )
    return Block(values["target"], values["position"], values["row"], refs, Decode(**values["decode"]))


def _cores() -> int:
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    return min(count, _MOST_WORKERS)
