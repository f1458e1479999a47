"""Parallel decoding: workers of ``worker_pool`` write pixels directly into the file of the cache entry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.cache.worker_pool import PoolJob, run_jobs
from fiftyone_deepcluster.images.decode import Decode, decode_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fiftyone_deepcluster.images.refs import ImageRef

# Reason, and whether the failure is permanent.
_Failure: TypeAlias = "tuple[str, bool]"
# Row -> failure.
Failures: TypeAlias = "dict[int, _Failure]"

# With fewer images, starting processes takes longer than it saves.
_FEW = 512


@dataclass(frozen=True)
class Block(PoolJob):
    """Job that decodes consecutive images.

    Attributes:
        target: file to write to.
        position: byte offset of the first image in it.
        row: row of the first image.
        refs: images to decode.
        decode: size and color.
    """

    target: str
    position: int
    row: int
    refs: tuple[ImageRef, ...]
    decode: Decode

    def __len__(self) -> int:
        return len(self.refs)

    def halves(self) -> tuple[Block, Block]:
        """See ``PoolJob.halves``."""
        half = len(self.refs) // 2
        rest = replace(
            self, refs=self.refs[half:], row=self.row + half, position=self.position + half * self._each
        )
        return replace(self, refs=self.refs[:half]), rest

    def work(self) -> list[_Failure | None]:
        """Decode and write every readable image; None for each, or the reason and whether it is permanent."""
        answers: list[_Failure | None] = []
        with Path(self.target).open("r+b") as file:
            for row, ref in enumerate(self.refs):
                try:
                    pixels = decode_image(ref, self.decode)
                except UnreadableImageError as error:
                    answers.append((error.reason, error.lasting))
                else:
                    file.seek(self.position + row * self._each)
                    file.write(pixels.tobytes())
                    answers.append(None)
        return answers

    def crashed(self) -> _Failure:
        """See ``PoolJob.crashed``."""
        return "the decoder process crashed", False

    @property
    def _each(self) -> int:
        """Bytes per image."""
        return self.decode.size**2 * self.decode.shape[2]


def decode_blocks(blocks: Sequence[Block], workers: int | None) -> Iterator[tuple[int, Failures]]:
    """Decode all blocks; yield the number of images done and their failures, block by block in order.

    Yields ``(0, {})`` periodically while no block is ready, so that the caller can check for cancellation.
    Closing the iterator stops the workers.

    Raises:
        OSError: pixels cannot be written.
    """
    results = run_jobs(blocks, workers=workers, processes_from=_FEW)
    try:
        for done in results:
            if done is None:
                yield 0, {}
            else:
                block, answers = done
                yield (
                    len(answers),
                    {row: why for row, why in enumerate(answers, block.row) if why},
                )
    finally:
        results.close()  # type: ignore[attr-defined]
