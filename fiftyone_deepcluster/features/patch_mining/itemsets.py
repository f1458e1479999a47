"""Association rules of patches: which activations fire together in one group of images and hardly elsewhere.

A patch is a *transaction*: the indices of its largest activations. A *pattern* is a set of indices; it is a rule
for a group where it is frequent there (support) and patches that show it mostly come from there (confidence).
After MDPM (Li et al. 2015), which LDPO takes up (Wang et al., section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ONES = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)
_LESS = 0.7  # of the support, from one attempt to the next
_BLOCK = 512  # patterns counted at a time


@dataclass(frozen=True)
class Limits:
    """What a pattern has to be.

    Attributes:
        support: least share of all transactions that are of the group and show the pattern.
        confidence: least share of the transactions that show the pattern to be of the group.
        shortest: items at least.
        longest: items at most.
        wanted: patterns.
        overlap: most patches that two patterns share, as a share of those that show either; 1: they only
            may not be the same.
        searched: frequent sets that are looked at; where there are more, no lower support is tried.
    """

    support: float
    confidence: float
    shortest: int
    longest: int
    wanted: int
    overlap: float
    searched: int


@dataclass(frozen=True)
class Pattern:
    """Items that fire together.

    Attributes:
        items: ascending.
        confidence: share of the transactions with these items that are of the group.
        patches: rows of the group's transactions with these items.
    """

    items: tuple[int, ...]
    confidence: float
    patches: NDArray[np.int64]


class Transactions:
    """Items of M patches, as one row of bits an item.

    Args:
        items: (M, T) int64, the items of each patch.
        n_items: items there are.
    """

    def __init__(self, items: NDArray[np.int64], n_items: int) -> None:
        self.n = len(items)
        shown = np.zeros((self.n, n_items), dtype=bool)
        np.put_along_axis(shown, items, True, axis=1)
        self.bits = np.packbits(shown, axis=0).T.copy()  # (n_items, M / 8)

    def having(self, patterns: list[tuple[int, ...]]) -> NDArray[np.uint8]:
        """(len(patterns), M / 8) bits: the patches that show all items of a pattern."""
        longest = max(len(items) for items in patterns)
        padded = np.array([items + items[:1] * (longest - len(items)) for items in patterns])
        found = self.bits[padded[:, 0]]
        for column in padded.T[1:]:
            found &= self.bits[column]
        return found  # type: ignore[no-any-return]

    def rows(self, bits: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The rows whose bits are set."""
        return np.flatnonzero(np.unpackbits(bits)[: self.n])


def count(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(P, M / 8) -> (P,), bits that are set."""
    return _ONES[bits].sum(axis=-1, dtype=np.int64)  # type: ignore[no-any-return]


def frequent(
    transactions: Transactions, least: int, longest: int, most: int
) -> list[tuple[tuple[int, ...], int]] | None:
    """All sets of items that ``least`` patches or more show together, with how many do.

    Depth first by intersecting patches (Eclat, Zaki 2000), the rarest items first.

    Args:
        transactions: the patches.
        least: patches, 1 or more.
        longest: items in a set at most.
        most: None is returned where there are more sets than this.
    """
    found: list[tuple[tuple[int, ...], int]] = []

    def grow(
        prefix: tuple[int, ...], bits: NDArray[np.uint8], items: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> None:
        for j, item in enumerate(items):
            grown = (*prefix, int(item))
            found.append((tuple(sorted(grown)), int(counts[j])))
            if len(grown) == longest or len(found) > most:
                continue
            both = bits[j + 1 :] & bits[j]
            shared = count(both)
            enough = shared >= max(1, least)
            if enough.any():
                grow(grown, both[enough], items[j + 1 :][enough], shared[enough])

    counts = count(transactions.bits)
    items = np.flatnonzero(counts >= max(1, least))
    items = items[np.argsort(counts[items], kind="stable")]
    grow((), transactions.bits[items], items, counts[items])
    return found if len(found) <= most else None


def mine_patterns(
    group: Transactions, everything: Transactions, images: NDArray[np.int64], limits: Limits
) -> tuple[list[Pattern], int]:
    """The patterns of a group that cover most of its patches.

    Patterns seen in a single image are dropped, and of those that share too many patches the ones that cover
    less. Where too few are confident enough, as in groups by chance, the most confident others fill up.

    Args:
        group: patches of the group's images.
        everything: patches of all groups, this one among them.
        images: (M,) image of each patch of the group.
        limits: what a pattern has to be.

    Returns:
        At most ``limits.wanted`` patterns, rules first, and how many of them are rules.
    """
    sets = [entry for entry in _search(group, everything.n, limits) if len(entry[0]) >= limits.shortest]
    sets.sort(key=lambda entry: (-entry[1], len(entry[0]), entry[0]))
    confidence = _confidence(everything, sets)
    confident = confidence >= limits.confidence
    chosen = _Chosen(group, images, limits)
    for place in np.flatnonzero(confident):
        chosen.add(sets[place][0], confidence[place])
    rules = len(chosen.patterns)
    rest = np.flatnonzero(~confident)
    for place in rest[np.argsort(-confidence[rest], kind="stable")]:
        chosen.add(sets[place][0], confidence[place])
    return chosen.patterns, rules


def _search(group: Transactions, n: int, limits: Limits) -> list[tuple[tuple[int, ...], int]]:
    """Frequent sets at the least support asked for, or as low as ``limits.searched`` allows.

    The support is lowered from a tenth of the group on: sets of most patches are found first, and those are the
    ones wanted.
    """
    floor = max(2, int(np.ceil(limits.support * n)))
    least, longest = max(floor, group.n // 10), limits.longest
    found: list[tuple[tuple[int, ...], int]] = []
    while True:
        sets = frequent(group, least, longest, limits.searched)
        if sets is None and not found and longest > limits.shortest:
            longest = limits.shortest
            continue
        if sets is None:
            return found
        found = sets
        if least <= floor:
            return found
        least = max(floor, int(least * _LESS))


def _confidence(everything: Transactions, sets: list[tuple[tuple[int, ...], int]]) -> NDArray[np.float64]:
    """(P,), the share of the patches showing each set that are of the group."""
    shown = [
        count(everything.having([items for items, _ in sets[at : at + _BLOCK]]))
        for at in range(0, len(sets), _BLOCK)
    ]
    own = np.array([n for _, n in sets], dtype=np.float64)
    return own / np.concatenate(shown) if sets else own


class _Chosen:
    """Patterns so far, and whether another one is new to them."""

    def __init__(self, group: Transactions, images: NDArray[np.int64], limits: Limits) -> None:
        self.patterns: list[Pattern] = []
        self._group, self._images, self._limits = group, images, limits
        self._bits = np.zeros((0, group.bits.shape[1]), dtype=np.uint8)

    def add(self, items: tuple[int, ...], confidence: float) -> None:
        """Add a pattern, unless there are enough, or it is in one image only, or too much like another."""
        if len(self.patterns) == self._limits.wanted:
            return
        bits = self._group.having([items])
        shared, either = count(self._bits & bits), count(self._bits | bits)
        alike = (shared == either) | (shared > self._limits.overlap * either)
        if alike.any():
            return
        patches = self._group.rows(bits[0])
        if len(np.unique(self._images[patches])) > 1:
            self.patterns.append(Pattern(items, float(confidence), patches))
            self._bits = np.concatenate([self._bits, bits])
