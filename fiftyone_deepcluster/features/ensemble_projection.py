"""Ensemble projection: the class probabilities of many classifiers trained on surrogate classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fiftyone_deepcluster.core.process_state import ignored_warnings
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.core.words import counted
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
"""Images projected at a time: 300 sets of 30 classes give 9,000 values per image."""

_ITERATIONS = 100
"""Maximum number of iterations of each logistic regression: the ensemble does not need exact optima."""


@ENCODERS.register
class EnsembleProjection(Encoder):
    """Ensemble projection: class probabilities of many classifiers of surrogate classes of nearby images.

    Dai and Van Gool ("Unsupervised high-level feature learning by ensemble projection", 2016), with which LDPO is
    compared (Wang et al., table 3). For each of 300 prototype sets, 30 images are drawn 50 times, and the draw with
    the largest minimum distance is kept; each of its images and its five nearest neighbors form a surrogate class; a
    logistic regression is trained on the 30 classes. An image's vector concatenates the class probabilities of
    all sets. The PCA after it is not in the paper: without it (``pca=0``) vectors have 9,000 values.
    """

    name: Literal["ensemble-projection"] = "ensemble-projection"
    base: Annotated[Encoder, PartOf(ENCODERS)] = Field(
        default="pooled", validate_default=True, description="Encoder of the vectors that are projected."
    )
    sets: int = Field(300, ge=1, le=10_000, description="Prototype sets, each with one classifier.")
    classes: int = Field(30, ge=2, le=1000, description="Surrogate classes per set.")
    images: int = Field(
        6, ge=1, le=1000, description="Images per surrogate class: a seed image and its nearest neighbors."
    )
    hypotheses: int = Field(
        50, ge=1, le=10_000, description="Draws of seed images per set; the most spread-out one is kept."
    )
    strictness: float = Field(
        15.0, gt=0, description="Inverse L2 regularization of the logistic regressions (C)."
    )
    pca: int | None = Field(
        None, ge=0, description="PCA dimensions; 0: no PCA; empty: 4096, or as many as the sample allows."
    )
    l2_normalize: bool = Field(True, description="Scale every vector to length 1 after the PCA.")
    sample: int = Field(
        5000, ge=2, description="Randomly drawn images to which classifiers and PCA are fitted."
    )

    def fit_transform(self, corpus: Corpus, request: EncodeRequest) -> Encoding:
        """See ``Encoder.fit_transform``.

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
                f"ensemble projection of {counted(len(seen), 'image')} cannot have classes={self.classes} surrogate "
                "classes; lower classes, or raise sample or add images"
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

    def transform(self, corpus: Corpus, fitted: dict[str, Any]) -> torch.Tensor:
        """See ``Encoder.transform``."""
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
        for index in range(self.sets):
            rows, classes = prototypes(points, self, rng(seed, "prototypes", index))
            model = LogisticRegression(C=self.strictness, max_iter=_ITERATIONS)
            with ignored_warnings(ConvergenceWarning):  # see _ITERATIONS
                model.fit(points[rows], classes)
            # for two classes scikit-learn has one weight vector: split it, so that the softmax gives its sigmoid
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
    """Rows of the images of one prototype set, and the surrogate class of each.

    An image near two seed images is in both their classes: the sets are meant to be noisy.

    Args:
        points: (M, D), vectors of the images to draw from.
        how: numbers of classes, images and hypotheses.
        draw: random generator of the hypotheses.

    Returns:
        (classes·images,) rows, class by class with the seed image first, and (classes·images,) classes from 0.
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
    away[np.arange(how.classes), seeds] = -1.0  # the seed image comes first, even before its duplicates
    near = np.argsort(away, axis=1, kind="stable")[:, : how.images]
    return near.ravel(), np.repeat(np.arange(how.classes), near.shape[1])


def _squared(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M, K) squared distances, clipped at 0."""
    import numpy as np

    lengths = (some**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)
    return np.maximum(lengths - 2 * some @ others.T, 0.0)  # type: ignore[no-any-return]
