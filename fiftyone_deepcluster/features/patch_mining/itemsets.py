"""Association rules of patches: activations that occur together in one group of images and rarely elsewhere.

A patch is a *transaction*: the indices of its largest activations. A *pattern* is an itemset; it is a rule for a
group if it is frequent there (support) and most patches that show it are of the group (confidence).
As in MDPM (Li et al. 2015), used by LDPO (Wang et al., section 3.1).

Frequent itemsets are found by our own search, not by mlxtend (the tests compare the two): mlxtend cannot stop at a
maximum number of itemsets, and is slower. Seconds for about 11,000 itemsets of at most 6 of the 20 items of a patch
(best of three, one of 2 CPU cores):

    patches, items   here   apriori   fpgrowth
    2,000, 256        .08       .23        .65
    5,000, 256        .11       .38       1.44
    5,000, 1,024      .15      1.00       1.23

Each group is searched at several supports, and the last search, with too many itemsets, is stopped here after
.14 to .24 s; fpgrowth takes 1.6 to 3.0 s for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ONES = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)
_LESS = 0.7  # factor of the support between attempts
_BLOCK = 512  # patterns counted at a time


@dataclass(frozen=True)
class Limits:
    """Requirements on patterns.

    Attributes:
        support: minimum share of all transactions that belong to the group and show the pattern.
        confidence: minimum share of the transactions with the pattern that belong to the group.
        shortest: minimum number of items.
        longest: maximum number of items.
        wanted: number of patterns.
        overlap: largest number of patches that two patterns share, relative to those that show either (IoU); 1: only
            patterns with equal patches are excluded.
        searched: maximum number of frequent itemsets; the support is not lowered further if there are more.
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
    """An itemset with its patches.

    Attributes:
        items: item indices, ascending.
        confidence: share of the transactions with these items that belong to the group.
        patches: rows of the group's transactions with these items.
    """

    items: tuple[int, ...]
    confidence: float
    patches: NDArray[np.int64]


@dataclass(frozen=True)
class Mined:
    """The patterns of a group.

    Attributes:
        patterns: rules first, then the most confident others.
        rules: number of rules.
        cut_short: whether ``Limits.searched`` ended the search above the requested support.
    """

    patterns: list[Pattern]
    rules: int
    cut_short: bool


class Transactions:
    """Items of M patches, stored as one bit vector over the patches per item.

    Args:
        items: (M, T) int64, the items of each patch.
        n_items: number of different items.
    """

    def __init__(self, items: NDArray[np.int64], n_items: int) -> None:
        self.n = len(items)
        shown = np.zeros((self.n, n_items), dtype=bool)
        np.put_along_axis(shown, items, True, axis=1)
        self.bits = np.packbits(shown, axis=0).T.copy()  # (n_items, M / 8)

    def having(self, patterns: list[tuple[int, ...]]) -> NDArray[np.uint8]:
        """(len(patterns), M / 8) bits: the patches with all items of each pattern."""
        longest = max(len(items) for items in patterns)
        padded = np.array([items + items[:1] * (longest - len(items)) for items in patterns])
        found = self.bits[padded[:, 0]]
        for column in padded.T[1:]:
            found &= self.bits[column]
        return found  # type: ignore[no-any-return]

    def rows(self, bits: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Rows of the set bits."""
        return np.flatnonzero(np.unpackbits(bits)[: self.n])


def count(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(P, M / 8) -> (P,), number of set bits."""
    return _ONES[bits].sum(axis=-1, dtype=np.int64)  # type: ignore[no-any-return]


def frequent(
    transactions: Transactions, least: int, longest: int, most: int
) -> list[tuple[tuple[int, ...], int]] | None:
    """All itemsets of at least ``least`` patches, with their number of patches.

    Depth-first search by intersecting patch sets (Eclat, Zaki 2000), rarest items first.

    Args:
        transactions: the patches.
        least: minimum number of patches, 1 or more.
        longest: maximum number of items per set.
        most: return None if there are more itemsets than this.
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
) -> Mined:
    """The patterns of a group that cover most of its patches.

    Patterns that occur in a single image are dropped; of patterns that share too many patches, the one with more
    patches is kept. After the rules follow the most confident others, for groups without rules.

    Args:
        group: patches of the group's images.
        everything: patches of all groups, including this one.
        images: (M,) image of each patch of the group.
        limits: requirements on patterns.

    Returns:
        At most ``limits.wanted`` patterns.
    """
    searched, cut_short = _search(group, everything.n, limits)
    sets = [entry for entry in searched if len(entry[0]) >= limits.shortest]
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
    return Mined(chosen.patterns, rules, cut_short)


def _search(group: Transactions, n: int, limits: Limits) -> tuple[list[tuple[tuple[int, ...], int]], bool]:
    """Frequent itemsets at the requested support, or the lowest that ``limits.searched`` allows; True if cut short.

    The support is lowered stepwise from a tenth of the group, since itemsets of many patches are preferred.
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
            return found, True
        found = sets
        if least <= floor:
            return found, longest < limits.longest
        least = max(floor, int(least * _LESS))


def _confidence(everything: Transactions, sets: list[tuple[tuple[int, ...], int]]) -> NDArray[np.float64]:
    """(P,), for each itemset the share of its patches that belong to the group."""
    shown = [
        count(everything.having([items for items, _ in sets[at : at + _BLOCK]]))
        for at in range(0, len(sets), _BLOCK)
    ]
    own = np.array([n for _, n in sets], dtype=np.float64)
    return own / np.concatenate(shown) if sets else own


class _Chosen:
    """The patterns selected so far."""

    def __init__(self, group: Transactions, images: NDArray[np.int64], limits: Limits) -> None:
        self.patterns: list[Pattern] = []
        self._group, self._images, self._limits = group, images, limits
        self._bits = np.zeros((0, group.bits.shape[1]), dtype=np.uint8)

    def add(self, items: tuple[int, ...], confidence: float) -> None:
        """Add a pattern, unless there are enough, it occurs in one image only, or it overlaps another too much."""
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
