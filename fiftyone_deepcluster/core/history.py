"""Cluster and loss of every image in every round: appended round by round, to files or in memory.

A checkpoint that contained them would rewrite all earlier rounds in every round: the bytes written would grow with the
square of the number of rounds. Here a round appends its values, and the checkpoint only lists the valid rounds.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fiftyone_deepcluster.core.checkpoints import retry_advice
from fiftyone_deepcluster.core.disk import disk_errors
from fiftyone_deepcluster.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

LABELS_FILE, LOSSES_FILE = "round_labels.bin", "round_losses.bin"

_LABEL_TYPES = tuple(np.dtype(name) for name in ("<i1", "<i2", "<i4"))
_LOSS_TYPE = np.dtype("<f4")


class RoundHistory:
    """Labels and losses of N images over R rounds; labels are kept as the smallest signed integers.

    Args:
        n_images: N, including unreadable images.
        folder: folder of the files; None: the values are kept in memory.
        kept: (M,) int64 ascending rows of the images that have values; None: all.
        writes: whether this process writes the files; of several processes with one folder, one does.
    """

    def __init__(
        self,
        n_images: int,
        folder: Path | None = None,
        *,
        kept: NDArray[np.int64] | None = None,
        writes: bool = True,
    ) -> None:
        self._n = n_images
        self._kept = np.arange(n_images) if kept is None else kept
        self._labels, self._losses = (
            _Column(len(self._kept), None if folder is None else folder / name, writes)
            for name in (LABELS_FILE, LOSSES_FILE)
        )
        self._last: NDArray[Any] | None = None

    def __len__(self) -> int:
        """R, the number of rounds."""
        return len(self._labels.types)

    def append(self, labels: NDArray[np.int64], losses: NDArray[np.float32] | None) -> None:
        """Add a round.

        Args:
            labels: (M,) cluster of each image, -1 for none.
            losses: (M,) mean loss of each image, NaN if not sampled; None: a round without training.

        Raises:
            DiskError: a file cannot be written; earlier rounds are unchanged.
            CheckpointError: the file was deleted or shortened meanwhile.
        """
        values = np.full(len(labels), np.nan) if losses is None else losses
        self._losses.append(values.astype(_LOSS_TYPE))
        self._labels.append(_smallest(labels))

    def replace_last(self, labels: NDArray[np.int64]) -> None:
        """Replace the (M,) labels of the last round in what is read; the file, which a run resumes from, keeps them."""
        self._last = _smallest(labels)

    def labels(self, rows: slice = slice(None), last: int | None = None) -> NDArray[Any]:
        """(n, R) cluster of the images ``rows`` in every round, as the smallest signed integers; -1 for none.

        Args:
            rows: consecutive images; by default all.
            last: number of rounds, the most recent ones; None: all.

        Raises:
            CheckpointError: the file was deleted or shortened.
        """
        low, high, place = self._range(rows)
        values = self._labels.read(low, high, 0 if last is None else -last)
        if self._last is not None:
            values = values.astype(np.result_type(values, self._last), copy=False)
            values[:, -1] = self._last[low:high]
        return _spread(values, place, -1)

    def losses(self, rows: slice = slice(None)) -> NDArray[np.float32]:
        """(n, R) float32 mean loss of the images ``rows`` in every round; NaN if not sampled.

        Args:
            rows: consecutive images; by default all.

        Raises:
            CheckpointError: the file was deleted or shortened.
        """
        low, high, place = self._range(rows)
        return _spread(self._losses.read(low, high), place, np.nan)

    def state_dict(self) -> dict[str, list[str]]:
        """The valid rounds, for the checkpoint: the types of their values."""
        return {
            "labels": [kind.str for kind in self._labels.types],
            "losses": [kind.str for kind in self._losses.types],
        }

    def load_state_dict(self, state: dict[str, list[str]]) -> None:
        """Continue after the rounds that a checkpoint lists; later ones in the files are overwritten.

        Raises:
            CheckpointError: a file is missing or has fewer rounds.
        """
        self._labels.resume(state["labels"])
        self._losses.resume(state["losses"])
        self._last = None

    def _range(self, rows: slice) -> tuple[int, int, tuple[int, NDArray[np.int64]]]:
        """Range of the values of ``rows``, the number of rows, and the places of the values in them."""
        begin, end, _ = rows.indices(self._n)
        low, high = (int(row) for row in np.searchsorted(self._kept, (begin, end)))
        return low, high, (max(0, end - begin), self._kept[low:high] - begin)


class _Column:
    """One value of M images in every round, round after round.

    Bytes after the known rounds, left by a process that was killed before its checkpoint, are overwritten.
    """

    def __init__(self, n_values: int, path: Path | None, writes: bool) -> None:
        self.types: list[np.dtype[Any]] = []
        self._n = n_values
        self._path = path
        self._writes = writes
        self._memory = io.BytesIO()

    def append(self, values: NDArray[Any]) -> None:
        if self._writes:
            with self._disk_errors(values.nbytes):
                self._write(values)
        self.types.append(values.dtype)

    def read(self, low: int, high: int, first: int = 0) -> NDArray[Any]:
        """(high - low, R) values from round ``first`` on, which may be negative as in a slice."""
        chosen = range(len(self.types))[first:]
        kinds = [self.types[index] for index in chosen]
        found = np.empty((high - low, len(chosen)), np.result_type(*kinds) if kinds else np.int8)
        if not found.size:
            return found
        with self._opened("rb") as file:
            for place, (index, kind) in enumerate(zip(chosen, kinds, strict=True)):
                file.seek(self._start(index) + low * kind.itemsize)
                content = file.read((high - low) * kind.itemsize)
                if len(content) < (high - low) * kind.itemsize:
                    raise CheckpointError(f"{self._path} was shortened; rounds of this run are lost")
                found[:, place] = np.frombuffer(content, kind)
        return found

    def resume(self, types: list[str]) -> None:
        self.types = [np.dtype(name) for name in types]
        if self._path is None or not self.types:
            return
        there, needed = self._path.stat().st_size if self._path.is_file() else 0, self._start(len(types))
        if there < needed:
            raise CheckpointError(
                f"{self._path} has {there} of {needed} bytes, so rounds that the checkpoint beside it lists are "
                "missing; restore the file, or delete the folder to start over"
            )

    def _start(self, index: int) -> int:
        return sum(kind.itemsize for kind in self.types[:index]) * self._n

    def _write(self, values: NDArray[Any]) -> None:
        end = self._start(len(self.types))
        with self._opened("r+b") as file:
            if file.seek(0, os.SEEK_END) < end:
                raise CheckpointError(
                    f"{self._path} was deleted or shortened during the run, so its rounds are lost; cluster again"
                )
            file.truncate(end)
            try:
                file.seek(end)
                file.write(np.ascontiguousarray(values).data)
                file.flush()
                if self._path is not None:
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise

    def _disk_errors(self, need: int) -> contextlib.AbstractContextManager[None]:
        if self._path is None:
            return contextlib.nullcontext()
        return disk_errors(self._path, "the file of the rounds", **retry_advice(self._path.parent), need=need)

    @contextlib.contextmanager
    def _opened(self, mode: str) -> Iterator[BinaryIO]:
        if self._path is None:
            yield self._memory
            return
        if "+" in mode and not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        try:
            file: BinaryIO = self._path.open(mode)  # type: ignore[assignment]
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{self._path} was deleted, so the rounds of this run cannot be read; cluster again"
            ) from error
        with file:
            yield file


def _smallest(labels: NDArray[np.int64]) -> NDArray[Any]:
    """The labels, from -1 on, as the smallest type that holds them."""
    largest = int(labels.max(initial=0))
    return labels.astype(next(kind for kind in _LABEL_TYPES if largest <= np.iinfo(kind).max))


def _spread(values: NDArray[Any], place: tuple[int, NDArray[np.int64]], missing: float) -> NDArray[Any]:
    """(m, R) -> (n, R), ``missing`` in rows without values."""
    n, rows = place
    if len(values) == n:
        return values
    found = np.full((n, values.shape[1]), missing, values.dtype)
    found[rows] = values
    return found
