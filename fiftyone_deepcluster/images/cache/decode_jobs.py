"""Decoding by many: pixels go straight into the cache's file; ``worker_pool`` says who does it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from fiftyone_deepcluster.errors import ImagesError, UnreadableImageError
from fiftyone_deepcluster.images.cache.worker_pool import PoolJob, carry_out
from fiftyone_deepcluster.images.decode import Decode, decode_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fiftyone_deepcluster.images.refs import ImageRef

# Why, and whether the file itself is at fault.
_Failure: TypeAlias = "tuple[str, bool]"
# By row.
Failures: TypeAlias = "dict[int, _Failure]"

# Below this many images starting processes takes longer than they save.
_FEW = 512


@dataclass(frozen=True)
class Block(PoolJob):
    """Neighboring images to decode.

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

    def __len__(self) -> int:
        return len(self.refs)

    def halves(self) -> tuple[Block, Block]:
        """See ``Job.halves``."""
        half = len(self.refs) // 2
        rest = replace(
            self, refs=self.refs[half:], row=self.row + half, position=self.position + half * self._each
        )
        return replace(self, refs=self.refs[:half]), rest

    def work(self) -> list[_Failure | None]:
        """Decode and write every image that can be read; None, or the reason and whether it lasts."""
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
        """See ``Job.crashed``."""
        return "its decoder crashed", False

    @property
    def _each(self) -> int:
        """Bytes of an image."""
        return self.decode.size**2 * self.decode.shape[2]


def decode_blocks(blocks: Sequence[Block], workers: int | None) -> Iterator[tuple[int, Failures]]:
    """Decode all blocks; yields the images done and their failures, in their order.

    Yields ``(0, {})`` now and then while nothing is ready, so that the caller can look whether to
    stop: closing the iterator stops the workers.

    Raises:
        ImagesError: pixels cannot be written.
    """
    results = carry_out(blocks, workers=workers, processes_from=_FEW)
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
    except OSError as error:
        raise ImagesError(f"decoded images cannot be written: {error.strerror}") from error
    finally:
        results.close()  # type: ignore[attr-defined]
