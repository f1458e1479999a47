"""Checks for clusterers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fiftyone_deepcluster.clusterers.anchors import Anchors
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest
from fiftyone_deepcluster.clusterers.distances import means
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.metrics.agreement import agreement
from fiftyone_deepcluster.testing.checks import (
    PartCheck,
    blobs,
    digit_vectors,
    generators_left_alone,
    option_checks,
    refusing_is_fine,
    require,
    run_checks,
)

if TYPE_CHECKING:
    from fiftyone_deepcluster.clusterers.base import Clustering


def check_clusterer(clusterer: Clusterer | type[Clusterer] | str | dict[str, Any]) -> None:
    """Check a clusterer; takes seconds.

    Args:
        clusterer: object, class, name, or dict with name and options.

    Raises:
        AssertionError: a check failed; the message has its name and the reason.
        OptionsError: there is no such clusterer.
    """
    run_checks(CLUSTERERS, clusterer, CLUSTERER_CHECKS)


def result_is_complete(clusterer: Clusterer) -> None:
    """Labels, centers, confidence and objective of 240 vectors are valid, and every step is reported."""
    steps: list[int] = []
    request = ClusterRequest(4, seed=1, step=lambda: steps.append(1))
    _require_sound(clusterer.cluster(blobs(), request), 240)
    need = f"reported_steps is {clusterer.reported_steps}; call request.step_done() after each step"
    require(len(steps) == clusterer.reported_steps, f"{len(steps)} steps were reported, but {need}")


def groups_far_apart_are_found(clusterer: Clusterer) -> None:
    """Four well separated groups are clustered with a purity above 0.95."""
    found = clusterer.cluster(blobs(), ClusterRequest(4, seed=1))
    purity = agreement(found.labels, np.arange(240) % 4).purity
    require(purity > 0.95, f"purity is {purity:.2f} on four well separated groups; it should be above 0.95")


def centers_are_means(clusterer: Clusterer) -> None:
    """A center is the mean of its vectors, or that mean scaled to length 1."""
    vectors = blobs()
    found = clusterer.cluster(vectors, ClusterRequest(4, seed=1))
    expected = means(vectors, found.labels, found.n_clusters)
    unit = torch.nn.functional.normalize(expected)
    close = any(torch.allclose(found.centers, e, rtol=1e-4, atol=1e-3) for e in (expected, unit))
    require(close, "centers are not the means of the clusters; leave them out, or return the means")


def same_seed_gives_same_result(clusterer: Clusterer) -> None:
    """Two equal calls give equal results."""
    one, two = (clusterer.cluster(digit_vectors(400), ClusterRequest(10, seed=5)) for _ in range(2))
    for name in ("labels", "centers", "confidence"):
        require(
            torch.equal(getattr(one, name), getattr(two, name)),
            f"{name} differ between two calls with the same seed; use request.seed",
        )
    require(one.objective == two.objective, "objective differs between two calls with the same seed")


def order_of_rows_does_not_matter(clusterer: Clusterer) -> None:
    """Well separated groups are found in any order of the rows."""
    order = torch.randperm(240, generator=torch.Generator().manual_seed(0))
    plain = clusterer.cluster(blobs(), ClusterRequest(4, seed=1))
    mixed = clusterer.cluster(blobs()[order], ClusterRequest(4, seed=1))
    ari = agreement(mixed.labels, plain.labels[order]).ari
    require(ari > 0.95, f"ARI is {ari:.2f} between two orders of the rows; return labels in row order")


def vectors_are_left_alone(clusterer: Clusterer) -> None:
    """The input vectors are not modified."""
    vectors = blobs()
    clusterer.cluster(vectors, ClusterRequest(4, seed=1))
    require(torch.equal(vectors, blobs()), "the input vectors were modified; work on a copy")


def generators_are_left_alone(clusterer: Clusterer) -> None:
    """The global random generators are not used."""
    clusterer.cluster(blobs(), ClusterRequest(4, seed=1))  # imports may use the generators
    with generators_left_alone():
        clusterer.cluster(blobs(), ClusterRequest(4, seed=1))


def broken_vectors_are_refused(clusterer: Clusterer) -> None:
    """NaN and infinite values raise InputError."""
    for value in (math.nan, math.inf):
        vectors = blobs()
        vectors[7, 2] = value
        _require_refused(clusterer, vectors, ClusterRequest(4), f"a vector with {value}")


def wrong_numbers_are_refused(clusterer: Clusterer) -> None:
    """n_clusters above the number of vectors, 0 or None raises InputError, unless ``finds_number``."""
    if clusterer.finds_number:
        return
    for n_clusters in (241, 0, None):
        _require_refused(
            clusterer, blobs(), ClusterRequest(n_clusters), f"n_clusters={n_clusters} for 240 vectors"
        )


def few_vectors_are_clustered_or_refused(clusterer: Clusterer) -> None:
    """Two to five vectors give clusters, or an InputError that states how many are needed."""
    for n in (2, 3, 5):
        with refusing_is_fine(f"{n} vectors"):
            _require_sound(clusterer.cluster(blobs(n), ClusterRequest(2, seed=1)), n)


def equal_vectors_give_a_sound_result(clusterer: Clusterer) -> None:
    """Identical vectors, at the origin and elsewhere, give a valid result."""
    for value in (0.0, 5.0):
        _require_sound(clusterer.cluster(torch.full((40, 3), value), ClusterRequest(4, seed=1)), 40)


def known_labels_are_kept(clusterer: Clusterer) -> None:
    """With ``keeps_labels``, fixed labels stay, wrong ones too, and free vectors join them; others raise InputError."""
    vectors, truth = blobs(), torch.arange(240) % 4
    labels = torch.where(torch.arange(240) < 80, truth, 0)
    labels[:4] = torch.tensor([1, 2, 3, 0])  # decided against the vectors
    labels[4:8] = -1
    fixed = torch.arange(240) < 80
    request = ClusterRequest(4, seed=1, anchors=Anchors(labels, fixed))
    if not clusterer.keeps_labels:
        _require_refused(clusterer, vectors, request, "a request with known labels")
        return
    found = clusterer.cluster(vectors, request)
    require(torch.equal(found.labels[fixed], labels[fixed]), "labels that are fixed changed")
    require(bool((found.confidence[:4] == 1).all()), "a fixed label has not confidence 1")
    ari = agreement(found.labels[80:], truth[80:]).ari
    require(ari > 0.95, f"ARI is {ari:.2f} on vectors without a fixed label; start from request.anchors")


def _require_sound(found: Clustering, n: int) -> None:
    require(found.labels.shape == (n,), f"labels have shape {tuple(found.labels.shape)} instead of ({n},)")
    require(found.labels.dtype == torch.int64, f"labels are {found.labels.dtype} instead of int64")
    used = sorted(set(found.labels.tolist()) - {-1})
    require(
        used == list(range(found.n_clusters)),
        f"labels in use are {used} instead of 0..{found.n_clusters - 1}",
    )
    require(
        found.confidence.shape == (n,),
        f"confidence has shape {tuple(found.confidence.shape)} instead of ({n},)",
    )
    inside = (found.confidence >= 0) & (found.confidence <= 1)
    require(bool(inside.all()), "confidence has values outside 0..1")
    require(bool(torch.isfinite(found.centers).all()), "centers contain NaN or infinite values")
    require(not math.isnan(found.objective), "objective is NaN")


def _require_refused(clusterer: Clusterer, vectors: torch.Tensor, request: ClusterRequest, what: str) -> None:
    try:
        clusterer.cluster(vectors, request)
    except InputError:
        return
    raise AssertionError(f"{what} is accepted; raise an InputError")


CLUSTERER_CHECKS: tuple[PartCheck[Clusterer], ...] = (
    *option_checks(CLUSTERERS),
    result_is_complete,
    groups_far_apart_are_found,
    centers_are_means,
    same_seed_gives_same_result,
    order_of_rows_does_not_matter,
    vectors_are_left_alone,
    generators_are_left_alone,
    broken_vectors_are_refused,
    wrong_numbers_are_refused,
    few_vectors_are_clustered_or_refused,
    equal_vectors_give_a_sound_result,
    known_labels_are_kept,
)
"""All checks, in the order in which ``check_clusterer`` runs them."""
