"""Lookup tables of DICOM: modality LUT, VOI LUT and palettes (PS3.3, C.11.1.1, C.11.2.1.1 and C.7.6.3.1.5).

Their descriptors are often wrong, so the format of a table is derived from its data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.images.dicom.elements import data_bytes, raw_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A table that has no entry for more of the pixels is left out.
_MOST_MISSING = 0.01


@dataclass(frozen=True)
class Table:
    """A lookup table.

    Attributes:
        entries: (K,) uint16, K of 1 or more.
        first: value that is mapped to the first entry.
        length: number of entries according to the descriptor; data may have fewer.
        bits: bits of an entry according to the descriptor, 1 to 16.
    """

    entries: NDArray[np.uint16]
    first: int
    length: int
    bits: int

    @property
    def white(self) -> int:
        """Entry that stands for white.

        It is the largest number of ``bits`` bits; or the largest entry, if that has more bits or fewer.
        """
        largest, full = int(self.entries.max()), 2**self.bits - 1
        return full if full // 2 < largest <= full else max(1, largest)

    def look_up(self, values: NDArray[Any], inside: NDArray[np.bool_]) -> NDArray[np.uint16] | None:
        """Entry of every value; None if the table has none for many of them.

        Values below the first one, and above the last, have the first and the last entry.

        Args:
            values: of any shape and real type; rounded.
            inside: of the same shape, False for values that do not count.
        """
        first = self.first
        if first > 0x7FFF and values[inside].max() < first:
            first -= 0x10000  # a signed number, stored as an unsigned one
        rows = np.clip(np.rint(np.nan_to_num(values)) - first, 0, self.length - 1).astype(np.int64)
        if (rows[inside] >= len(self.entries)).mean() > _MOST_MISSING:
            return None
        found: NDArray[np.uint16] = self.entries[np.minimum(rows, len(self.entries) - 1)]
        return found


def read_table(found: Any, prefix: str = "LUT") -> Table | None:
    """Lookup table of an item of a sequence, or of a palette; None if there is none, or no data.

    Args:
        found: item, or data set.
        prefix: keyword without Descriptor and Data.
    """
    descriptor = raw_numbers(found, f"{prefix}Descriptor")
    data, order = data_bytes(found, f"{prefix}Data")
    if len(descriptor) < 3 or len(data) < 2:
        return None
    if not np.isfinite(descriptor[:3]).all():
        return None
    length, first, bits = map(int, descriptor[:3])
    length = length % 0x10000 or 0x10000
    return Table(_entries(data, order, length, bits), first, length, min(max(bits, 1), 16))


def _entries(data: bytes, order: str, length: int, bits: int) -> NDArray[np.uint16]:
    """Entries of one byte or of two each."""
    words = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2").astype(np.uint16)[:length]
    if len(data) not in (length, length + length % 2):
        return words
    single = np.frombuffer(data, np.uint8).astype(np.uint16)[:length]
    # half a table of words, or a whole one of bytes
    return single if bits <= 8 or _roughness(single) <= _roughness(words) else words


def _roughness(entries: NDArray[np.uint16]) -> float:
    """Sum of the steps of a curve, relative to its range: 1 if it only rises or only falls."""
    steps = np.diff(entries.astype(np.float64))
    return float(np.abs(steps).sum() / max(1.0, np.ptp(entries.astype(np.float64))))
