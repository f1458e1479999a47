"""What a method keeps to."""

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
    """PartCheck a method by fitting 120 digits a few times: give options that make it quick, such as ``rounds=2``.

    Args:
        method: Options object, its class, name, or dict with name and options.

    Raises:
        AssertionError: the first check that fails, and why.
        OptionsError: there is no such method.
    """
    run_checks(METHODS, method, METHOD_CHECKS)


def nothing_stays_automatic(method: Options) -> None:
    """``resolve`` settles image size and color, changes nothing in place, and its result can be stored."""
    before = method.model_dump()
    resolved = method.resolve(image_facts(digit_images(_N)))
    require(method.model_dump() == before, "resolve changed the options in place; return a copy")
    require(
        type(resolved) is type(method),
        f"resolve gave a {type(resolved).__name__}; return options of its own kind",
    )
    require(
        resolved.image_size is not None,
        "image_size is None after resolve; end it with self.settled(facts, ...)",
    )
    require(resolved.color != "auto", "color is 'auto' after resolve; end it with self.settled(facts, ...)")
    again = METHODS.parse(json.loads(json.dumps(resolved.model_dump(mode="json"))))
    require(
        again == resolved,
        f"resolved options change on their way through JSON: {resolved!r} becomes {again!r}",
    )


def every_image_gets_a_cluster(method: Options) -> None:
    """Labels, confidence and vectors of all images, and a record that says why it stopped."""
    found = _fitted(method)
    require(found.labels.shape == (_N,), f"labels have the shape {found.labels.shape}, not ({_N},)")
    require(found.labels.max() >= 0, "no image is in a cluster")
    sound = (found.confidence >= 0) & (found.confidence <= 1)
    require(bool(sound.all()), "confidence is not in 0..1")
    require(np.isfinite(found.embeddings).all(), "the vectors that were clustered are not finite")
    require(found.record.stop_reason is not None, "the record has no stop_reason")


def same_seed_gives_same_clusters(method: Options) -> None:
    """Twice the same call."""
    one, two = _fitted(method), _fitted(method)
    require(np.array_equal(one.labels, two.labels), "labels differ between two runs with the same seed")


def a_finished_run_can_be_used(method: Options) -> None:
    """The stored model gives clusters for images, through a file."""
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(digit_images(_N), _quick(method), run_dir=folder)
        found = predict(folder, digit_images(_N)[:20])
    require(len(found.labels) == 20, f"20 images got {len(found.labels)} labels by predict")
    known = set(fitted.labels.tolist())
    require(set(found.labels.tolist()) <= known, "predict gives clusters that the run does not have")


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
"""In the order in which ``check_method`` runs them."""
