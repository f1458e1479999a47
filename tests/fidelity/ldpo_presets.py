"""LDPO's preset for the tests of its paper."""

from __future__ import annotations

import fiftyone_deepcluster as fdc
from tests.fidelity.papers import facts


def paper(**values):
    return fdc.LDPO(preset="paper", **values)


def resolved(n=215_786, side=512, **values):
    return paper(**values).resolve(facts(n, side, gray=True))


def of_digits(**values):
    """The preset for the digits of ``make_corpus``, which have a small network of random weights."""
    given = {"n_clusters": 4, "backbone": {"name": "small", "width": 8}, "weights": None, **values}
    return paper(**given).resolve(facts(60, 24, gray=True))
