"""Weights whose values are not read, because a stored network replaces all of them."""

from __future__ import annotations

from collections.abc import Iterable


class StoredWeights(str):
    """The ``weights`` of a backbone that is built for a stored network, which then gives it all values.

    It equals the name or path that the run was made with: some backbones have other layers with given weights than with
    random ones. A custom backbone that does not use ``load_file`` reads the file as usual.

    Attributes:
        names: names of the values of the stored backbone, such as ``model.conv1.weight``.
    """

    names: frozenset[str]

    def __new__(cls, weights: str, names: Iterable[str]) -> StoredWeights:
        """``weights`` as the run was made with, and ``names`` of the stored values."""
        made = super().__new__(cls, weights)
        made.names = frozenset(names)
        return made


def values_of(weights: str | None) -> str | None:
    """The name or path of weights whose values are to be read; None for random weights and ``StoredWeights``."""
    return None if isinstance(weights, StoredWeights) else weights
