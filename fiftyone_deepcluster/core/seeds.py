"""Seeds for all random numbers, derived from the one seed in the options.

No generator is kept between rounds, so a resumed run draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import hashlib

import numpy as np

LARGEST_SEED = 2**31 - 1
"""Largest seed that users can give, and that ``derive`` returns: more does not fit the generators of all libraries."""


def derive(seed: int, *purpose: int | str) -> int:
    """Seed in 0..``LARGEST_SEED`` for one purpose, e.g. ``derive(51, "augment", round_index)``."""
    text = ":".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") >> 1


def rng(seed: int, *purpose: int | str) -> np.random.Generator:
    """New NumPy generator, seeded for one purpose."""
    return np.random.default_rng(derive(seed, *purpose))
