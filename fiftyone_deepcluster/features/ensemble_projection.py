"""Ensemble projection: an image as what many small classifiers of made-up classes say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fiftyone_deepcluster.core.process_state import ignored_warnings
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.features.base import ENCODERS, Encoder, EncodeRequest, Encoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.features.streaming import Describe

_CHUNK = 1024
"""Images projected at a time: 300 sets of 30 classes make 9,000 numbers an image."""

_ITERATIONS = 100
"""Of each logistic regression at most: what counts is the ensemble, not the optimum of one."""


@ENCODERS.register
class EnsembleProjection(Encoder):
    """Ensemble projection: scores of many small classifiers, each of made-up classes of near images.

    Dai and Van Gool ("Unsupervised high-level feature learning by ensemble projection", 2016), which LDPO (Wang et
    al., table 3) is compared with. For each of 300 sets of prototypes 50 draws of 30 images are made, and the draw
    is kept whose two nearest images are farthest apart; each of its images and the five nearest to it are a
    surrogate class; a logistic regression tells the 30 classes apart; an image is the classes' probabilities in
    all sets, one after the other. The PCA after it is not the paper's: without one (``pca=0``) vectors have 9,000
    numbers.
    """

    name: Literal["ensemble-projection"] = "ensemble-projection"
    base: Annotated[Encoder, PartOf(ENCODERS)] = Field(
        default="pooled", validate_default=True, description="Makes the vectors that are projected."
    )
    sets: int = Field(300, ge=1, le=10_000, description="Sets of prototypes, each with a classifier.")
    classes: int = Field(30, ge=2, le=1000, description="Surrogate classes in a set.")
    images: int = Field(6, ge=1, le=1000, description="Images of a surrogate class: a seed and its nearest.")
    hypotheses: int = Field(
        50, ge=1, le=10_000, description="Draws of seeds that the best one is taken from."
    )
    strictness: float = Field(
        15.0, gt=0, description="Weight of the surrogate classes against the L2 penalty (C)."
    )
    pca: int | None = Field(
        None, ge=0, description="PCA dimensions; 0: no PCA; empty: 4096, or as many as the sample allows."
    )
    l2_normalize: bool = Field(True, description="Scale every vector to length 1 after the PCA.")
    sample: int = Field(
        5000, ge=2, description="Images, drawn by chance, that prototypes and PCA are learned from."
    )

    def encode(self, corpus: Corpus, request: EncodeRequest) -> Encoding:
        """See ``Encoder.encode``.

        Raises:
            InputError: fewer images than surrogate classes.
        """
        from fiftyone_deepcluster.features.streaming import (
            LDPO_COMPONENTS,
            Shrink,
            reduce_streamed,
            sample_rows,
        )

        below = self.base.encode(corpus, request)
        seen = sample_rows(len(corpus), self.sample, derive(request.seed, "images"))
        if len(seen) < self.classes:
            raise InputError(
                f"ensemble projection of {len(seen)} images cannot have classes={self.classes} surrogate classes; "
                "lower classes or add images"
            )
        corpus.observer.phase("ensemble", self.sets)
        matrix, bias = self._classifiers(below.vectors[seen.tolist()].cpu(), request.seed, corpus)
        matrix, bias = matrix.to(below.vectors.device), bias.to(below.vectors.device)
        corpus.compute.broadcast([matrix, bias])
        n_components = LDPO_COMPONENTS if self.pca is None else self.pca
        shrink = Shrink(n_components, self.l2_normalize, self.sample, derive(request.seed, "reduce"))
        describe = self._describer(below.vectors, matrix, bias)
        vectors, reduction = reduce_streamed(corpus, describe, shrink, "ensemble projection")
        fitted = {
            "base": below.fitted,
            "matrix": matrix.cpu(),
            "bias": bias.cpu(),
            "reduction": reduction.state_dict(),
        }
        return Encoding(vectors, fitted, {**below.scores, "dimensions": float(vectors.shape[1])})

    def apply(self, corpus: Corpus, fitted: dict[str, Any]) -> torch.Tensor:
        """See ``Encoder.apply``."""
        from fiftyone_deepcluster.features.reduce import Reduction
        from fiftyone_deepcluster.features.streaming import apply_streamed

        vectors = self.base.apply(corpus, fitted["base"])
        matrix, bias = fitted["matrix"].to(vectors.device), fitted["bias"].to(vectors.device)
        reduction = Reduction.from_state(fitted["reduction"])
        return apply_streamed(corpus, self._describer(vectors, matrix, bias), reduction)

    def _classifiers(
        self, vectors: torch.Tensor, seed: int, corpus: Corpus
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (D, sets·classes) and biases (sets·classes,) of all sets."""
        import numpy as np
        import torch
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        points = vectors.double().numpy()
        weights, biases = [], []
        for turn in range(self.sets):
            rows, classes = prototypes(points, self, rng(seed, "prototypes", turn))
            model = LogisticRegression(C=self.strictness, max_iter=_ITERATIONS)
            with ignored_warnings(ConvergenceWarning):  # as _ITERATIONS says
                model.fit(points[rows], classes)
            # of two classes scikit-learn has one function only: half of it for, half of it against
            both = len(model.coef_) == 1
            weights.append(np.concatenate([-model.coef_, model.coef_]) / 2 if both else model.coef_)
            biases.append(
                np.concatenate([-model.intercept_, model.intercept_]) / 2 if both else model.intercept_
            )
            corpus.observer.advance(1)
        matrix, bias = np.concatenate(weights).T.copy(), np.concatenate(biases)
        return torch.from_numpy(matrix).float(), torch.from_numpy(bias).float()

    def _describer(self, vectors: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor) -> Describe:
        import torch

        def describe(rows: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for taken in torch.from_numpy(rows).split(_CHUNK):
                scores = vectors[taken.to(vectors.device)] @ matrix + bias
                yield taken, scores.unflatten(1, (-1, self.classes)).softmax(dim=2).flatten(1)

        return describe


def prototypes(
    points: NDArray[np.float64], how: EnsembleProjection, draw: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the images of one set of prototypes, and the surrogate class of each.

    An image near two seeds is in both their classes: the set is meant to be noisy.

    Args:
        points: (M, D), of the images to draw from.
        how: numbers of classes, images and hypotheses.
        draw: of the hypotheses.

    Returns:
        (classes·images,) rows, class by class with the seed first, and (classes·images,) numbers from 0.
    """
    import numpy as np

    best, seeds = -1.0, np.zeros(0, np.int64)
    for _ in range(how.hypotheses):
        drawn = draw.choice(len(points), how.classes, replace=False)
        apart = _squared(points[drawn], points[drawn])
        least = apart[np.triu_indices(how.classes, 1)].min()
        if least > best:
            best, seeds = least, drawn
    away = _squared(points[seeds], points)
    away[np.arange(how.classes), seeds] = -1.0  # a copy of the seed does not take its place
    near = np.argsort(away, axis=1, kind="stable")[:, : how.images]
    return near.ravel(), np.repeat(np.arange(how.classes), near.shape[1])


def _squared(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M, K) squared distances, not below 0."""
    import numpy as np

    lengths = (some**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)
    return np.maximum(lengths - 2 * some @ others.T, 0.0)  # type: ignore[no-any-return]
