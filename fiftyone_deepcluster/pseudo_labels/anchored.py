"""Labels fixed by a person, as a constraint of the clustering in every round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fiftyone_deepcluster.clusterers.anchors import Anchors

if TYPE_CHECKING:
    from fiftyone_deepcluster.features.corpus import Corpus


def anchors_of(corpus: Corpus, last: torch.Tensor, *, moves: bool) -> Anchors | None:
    """Labels that a clustering of the corpus starts from, and which of them it must keep; None if no label is fixed.

    Args:
        corpus: its ``initial`` are the labels before the first round.
        last: (N,) int64, labels of the last clustering; empty before the first.
        moves: whether images that are not fixed may change their cluster. Before a network is trained on the known
            labels they should not: its features still reflect the clusters before the review.
    """
    if corpus.fixed is None or corpus.initial is None:
        return None
    labels = last if len(last) else torch.from_numpy(corpus.initial)
    fixed = torch.from_numpy(corpus.fixed)
    return Anchors(labels, fixed if moves else fixed | (labels >= 0))
