"""One seed in the options; every draw derives its own from it.

Nothing keeps a generator between rounds, so a resumed run draws exactly what the unbroken one would.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *purpose: int | str) -> int:
    """A seed in 0..2**31-1 for one purpose, e.g. ``derive(51, "augment", round_index)``."""
    text = ":".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") >> 1


def rng(seed: int, *purpose: int | str) -> np.random.Generator:
    """A fresh NumPy generator for one purpose."""
    return np.random.default_rng(derive(seed, *purpose))
