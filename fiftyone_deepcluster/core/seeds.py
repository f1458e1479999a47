"""Seeds for all random numbers, derived from the one seed in the options.

No generator is kept between rounds, so a resumed run draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *purpose: int | str) -> int:
    """Seed in 0..2**31-1 for one purpose, e.g. ``derive(51, "augment", round_index)``."""
    text = ":".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") >> 1


def rng(seed: int, *purpose: int | str) -> np.random.Generator:
    """New NumPy generator, seeded for one purpose."""
    return np.random.default_rng(derive(seed, *purpose))
