"""Checks for methods."""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.api.predict import predict
from fiftyone_deepcluster.images.inspect import image_facts
from fiftyone_deepcluster.methods.base import METHODS, Options
from fiftyone_deepcluster.testing.checks import PartCheck, digit_images, option_checks, require, run_checks

if TYPE_CHECKING:
    from fiftyone_deepcluster.api.fit import FitResult

_N = 120


def check_method(method: Options | type[Options] | str | dict[str, Any]) -> None:
    """Check a method by fitting 120 digits a few times; give options that make it fast, such as ``rounds=2``.

    Args:
        method: Options object, its class, name, or dict with name and options.

    Raises:
        AssertionError: a check failed; the message has its name and the reason.
        OptionsError: there is no such method.
    """
    run_checks(METHODS, method, METHOD_CHECKS)


def nothing_stays_automatic(method: Options) -> None:
    """``resolve`` sets image size and color, modifies nothing in place, and its result can be stored."""
    before = method.model_dump()
    resolved = method.resolve(image_facts(digit_images(_N)))
    require(method.model_dump() == before, "resolve modified the options in place; return a copy")
    require(
        type(resolved) is type(method),
        f"resolve returned a {type(resolved).__name__}; return a {type(method).__name__}",
    )
    require(
        resolved.image_size is not None,
        "image_size is None after resolve; return self.settled(facts, ...)",
    )
    require(resolved.color != "auto", "color is 'auto' after resolve; return self.settled(facts, ...)")
    again = METHODS.parse(json.loads(json.dumps(resolved.model_dump(mode="json"))))
    require(
        again == resolved,
        f"resolved options change in a JSON round trip: {resolved!r} becomes {again!r}",
    )


def every_image_gets_a_cluster(method: Options) -> None:
    """Labels, confidence and embeddings of all images are valid, and the record has a stop reason."""
    found = _fitted(method)
    require(found.labels.shape == (_N,), f"labels have shape {found.labels.shape} instead of ({_N},)")
    require(found.labels.max() >= 0, "no image is in a cluster")
    valid = (found.confidence >= 0) & (found.confidence <= 1)
    require(bool(valid.all()), "confidence has values outside 0..1")
    require(np.isfinite(found.embeddings).all(), "embeddings contain NaN or infinite values")
    require(found.record.stop_reason is not None, "the record has no stop_reason")


def same_seed_gives_same_clusters(method: Options) -> None:
    """Two equal calls give equal labels."""
    one, two = _fitted(method), _fitted(method)
    require(np.array_equal(one.labels, two.labels), "labels differ between two runs with the same seed")


def a_finished_run_can_be_used(method: Options) -> None:
    """``predict`` assigns clusters with the stored model."""
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(digit_images(_N), _quick(method), run_dir=folder)
        found = predict(folder, digit_images(_N)[:20])
    require(len(found.labels) == 20, f"predict returned {len(found.labels)} labels for 20 images")
    known = set(fitted.labels.tolist())
    require(set(found.labels.tolist()) <= known, "predict returned clusters that the run does not have")


def _fitted(method: Options) -> FitResult:
    return fit(digit_images(_N), _quick(method))


def _quick(method: Options) -> Options:
    return method.model_copy(update={"baselines": False, "device": "cpu"})


METHOD_CHECKS: tuple[PartCheck[Options], ...] = (
    *option_checks(METHODS),
    nothing_stays_automatic,
    every_image_gets_a_cluster,
    same_seed_gives_same_clusters,
    a_finished_run_can_be_used,
)
"""All checks, in the order in which ``check_method`` runs them."""
