"""Linear probes: accuracy of a linear classifier of known classes on each layer of a frozen network.

The protocol of Caron et al. (2018), section 4.3 (Zhang et al., 2016): feature maps are averaged over a grid, so that
every layer has at most some 9,600 features (AlexNet's five convolutions 9600, 9216, 9600, 9600 and 9216), and
a multinomial logistic regression and a linear support vector machine are trained on them. Here both are
scikit-learn's, on a sample of the images, and accuracy is measured on held-out images by stratified
cross-validation. The network before training is evaluated for comparison, to show what was learned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from fiftyone_deepcluster.core.process_state import ignored_warnings
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import CancelledError, InputError

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from numpy.typing import NDArray
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC, LinearSVC

    from fiftyone_deepcluster.backbones.layers import Layer
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.features.corpus import Corpus

MAX_FEATURES = 9_600
"""Maximum number of features per layer and image."""

_MAX_BYTES = 2**30
"""Memory limit for the features of the layers that are computed in one pass over the images."""

LARGEST_GRAM = 10_000
"""Largest number of images for a matrix of all their inner products."""

_LOGISTIC_C, _SVM_C = 100.0, 10.0
"""Inverse strength of the L2 penalty, for vectors of mean length 1."""

EMBEDDING = "embedding"
"""Layer name of the vectors that a run clusters."""

NetworkName = Literal["trained", "initial"]


class LayerScore(BaseModel):
    """Accuracy of linear classifiers on one layer of one network.

    Attributes:
        layer: its name; ``embedding`` for the vectors that are clustered.
        network: ``trained``, or ``initial``: the same network before training.
        n_features: features per image, after pooling.
        logistic: held-out accuracy of the multinomial logistic regression, mean over the folds.
        logistic_spread: its standard deviation over the folds.
        svm: held-out accuracy of the linear support vector machine.
        svm_spread: its standard deviation over the folds.
    """

    model_config = ConfigDict(frozen=True)
    layer: str
    network: NetworkName
    n_features: int
    logistic: float
    logistic_spread: float
    svm: float
    svm_spread: float


class ProbeResult(BaseModel):
    """Linear probes of all layers of a network, trained and before training.

    Attributes:
        label_field: field of the classes, if they come from a field.
        n_images: number of images used.
        n_classes: number of classes used; those with fewer images than folds are excluded.
        folds: of the cross-validation.
        chance: accuracy of always predicting the largest class.
        scores: layer by layer, the trained network first; only it where the network before training cannot be built.
    """

    model_config = ConfigDict(frozen=True)
    label_field: str = ""
    n_images: int
    n_classes: int
    folds: int
    chance: float
    scores: tuple[LayerScore, ...]

    def to_dataframe(self) -> pd.DataFrame:
        """One row per layer: n_features, and each classifier's accuracy with its gain over the untrained network.

        NaN where only the trained network was probed.
        """
        import pandas as pd

        trained = [score for score in self.scores if score.network == "trained"]
        initial = {
            score.layer: (score.logistic, score.svm) for score in self.scores if score.network == "initial"
        }
        rows = []
        for score in trained:
            logistic, svm = initial.get(score.layer, (math.nan, math.nan))
            row = {"layer": score.layer, "n_features": score.n_features}
            row |= {"logistic": score.logistic, "logistic_initial": logistic}
            row |= {"logistic_gain": score.logistic - logistic}
            rows.append(row | {"svm": score.svm, "svm_initial": svm, "svm_gain": score.svm - svm})
        return pd.DataFrame(rows)


@dataclass(frozen=True)
class ProbeRequest:
    """Options of a probe.

    Attributes:
        layers: layer names, or ``embedding`` for the vectors that the run clusters; None: all, including ``embedding``.
        folds: of the cross-validation.
        max_images: maximum number of images, drawn at random; None: all.
        seed: of the draw and the folds.
    """

    layers: Sequence[str] | None = None
    folds: int = 3
    max_images: int | None = 2_000
    seed: int = 51


class _Counter(Silent):
    """Reports one step of progress per classifier, not per image, and forwards cancellation."""

    def __init__(self, listener: Observer, total: int) -> None:
        self._listener = listener
        listener.phase("probe", total)

    def cancelled(self) -> bool:
        """Whether the observer requests cancellation."""
        return self._listener.cancelled()

    def done(self) -> None:
        """Report one step."""
        self._listener.advance(1)
        if self.cancelled():
            raise CancelledError("cancelled; no result of the probe was stored")


Vectors = Callable[[], "torch.Tensor"]
"""Returns the vectors (M, D) float32 of all images."""


def probe_networks(
    trained: Corpus,
    initial: Corpus | None,
    classes: NDArray[np.int64],
    request: ProbeRequest,
    vectors: tuple[Vectors, Vectors] | None = None,
) -> ProbeResult:
    """Probe every layer of the trained network and of the same network before training.

    Args:
        trained: the images and the trained network.
        initial: the same images, and the network before training; None: only the trained network is probed.
        classes: (M,) class of every image, -1 where unknown.
        request: layers, folds, sample.
        vectors: the vectors that the run clusters, by the trained and by the initial network, probed as
            ``embedding`` (LDPO's support vector machine on the learned representation); None: layers only.

    Raises:
        InputError: fewer than two classes with as many images as folds, or an unknown layer.
        CancelledError: the observer requested cancellation.
    """
    rows = choose_rows(classes, request)
    _, known = np.unique(classes[rows], return_inverse=True)
    layers, embedded = _chosen(trained, rows, request.layers, vectors is not None)
    sources = vectors if vectors is not None and embedded else (None, None)
    observer = trained.observer
    corpora: list[tuple[NetworkName, Corpus]] = [("trained", trained)]
    if initial is not None:
        corpora.append(("initial", initial))
    counter = _Counter(observer, len(corpora) * (len(layers) + embedded) * (1 + 2 * request.folds))
    scores: list[LayerScore] = []
    for (network, corpus), source in zip(corpora, sources, strict=False):
        corpus.observer = counter
        try:
            for name, features in _features(corpus, layers, rows, source):
                counter.done()
                found = accuracies(features, known, request.folds, request.seed, counter=counter)
                scores.append(_summary(network, name, features.shape[1], found))
        finally:
            corpus.observer = observer
    return ProbeResult(
        n_images=len(rows),
        n_classes=int(known.max()) + 1,
        folds=request.folds,
        chance=float(np.bincount(known).max() / len(known)),
        scores=tuple(scores),
    )


def _chosen(
    corpus: Corpus, rows: NDArray[np.int64], names: Sequence[str] | None, encoded: bool
) -> tuple[list[Layer], bool]:
    """The requested layers, and whether ``embedding`` is requested; ``encoded``: there are such vectors."""
    from fiftyone_deepcluster.backbones.layers import choose_layers, layers_of

    layers = layers_of(corpus.network, next(corpus.plain_batches(rows[:1])).images)
    if names is None:
        return choose_layers(layers, None), encoded
    embedded = encoded and EMBEDDING in names
    rest = [name for name in names if not (embedded and name == EMBEDDING)]
    return choose_layers(layers, rest), embedded


def choose_rows(classes: NDArray[np.int64], request: ProbeRequest) -> NDArray[np.int64]:
    """Sorted rows to use: a random sample of images with a known class that has as many images as folds.

    Raises:
        InputError: there are fewer than two such classes.
    """
    rows = np.flatnonzero(classes >= 0)
    if request.max_images is not None and len(rows) > request.max_images:
        rows = rng(request.seed, "probe").choice(rows, request.max_images, replace=False)
    counts = np.bincount(classes[rows], minlength=1)
    n_classes = int((counts >= request.folds).sum())
    if n_classes < 2:
        raise InputError(
            f"{counted(len(rows), 'image has', 'images have')} a known class, in "
            f"{counted(int((counts > 0).sum()), 'class', 'classes')}, of which "
            f"{counted(n_classes, 'has', 'have')} the {request.folds} images that folds={request.folds} "
            "needs; at least two such classes are needed: label more images, or lower folds"
        )
    return np.sort(rows[counts[classes[rows]] >= request.folds])


def pool(output: torch.Tensor) -> torch.Tensor:
    """(B, ...) output of a layer -> (B, D) float32 with D at most ``MAX_FEATURES``, or its number of channels.

    Maps (B, C, H, W) are averaged over a grid of g x g cells, g the largest with C·g·g <= ``MAX_FEATURES``; tokens
    (B, T, C) over all tokens.
    """
    from torch.nn import functional

    output = output.detach().float()
    if output.ndim == 3:
        return output.mean(1)
    if output.ndim == 4:
        cells = max(1, min(*output.shape[2:], math.isqrt(MAX_FEATURES // output.shape[1])))
        output = functional.adaptive_avg_pool2d(output, cells)
    return output.flatten(1)


def accuracies(
    vectors: torch.Tensor,
    classes: NDArray[np.int64],
    folds: int,
    seed: int,
    *,
    counter: _Counter | None = None,
) -> dict[str, list[float]]:
    """Held-out accuracy of ``logistic`` and ``svm`` in every fold.

    Both depend on the vectors only through inner products, since their L2 penalties do (representer theorem):
    N vectors with more than N dimensions are replaced by the rows of the Gram matrix' Cholesky factor, of
    N dimensions. Of more than ``LARGEST_GRAM`` vectors there is no Gram matrix: the support vector machines are then
    one-versus-all on the vectors themselves, otherwise one-versus-one.

    Args:
        vectors: (N, D) float32.
        classes: (N,) from 0 without gaps, each with at least ``folds`` images.
        folds: of the stratified cross-validation.
        seed: of the folds.
        counter: incremented after every classifier.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import SVC, LinearSVC

    gram, short = _inner_products(vectors)
    found: dict[str, list[float]] = {"logistic": [], "svm": []}
    splits = StratifiedKFold(folds, shuffle=True, random_state=derive(seed, "folds")).split(short, classes)
    for train, test in splits:
        logistic = LogisticRegression(C=_LOGISTIC_C, max_iter=300, random_state=0)
        # without random_state it uses NumPy's global generator
        svm = (
            LinearSVC(C=_SVM_C, dual="auto", random_state=0)
            if gram is None
            else SVC(C=_SVM_C, kernel="precomputed", random_state=0)
        )
        targets, plain = (classes[train], classes[test]), (short[train], short[test])
        found["logistic"].append(_held_out_accuracy(logistic, plain, targets))
        if counter is not None:
            counter.done()
        products = plain if gram is None else (gram[np.ix_(train, train)], gram[np.ix_(test, train)])
        found["svm"].append(_held_out_accuracy(svm, products, targets))
        if counter is not None:
            counter.done()
    return found


def _held_out_accuracy(
    classifier: LogisticRegression | LinearSVC | SVC,
    features: tuple[NDArray[np.float64], NDArray[np.float64]],
    targets: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> float:
    """Accuracy of a classifier that is fitted here; of both pairs, the first is for fitting, the second held out."""
    from sklearn.exceptions import ConvergenceWarning

    # held-out accuracy converges long before the loss reaches a tolerance of 1e-4
    with ignored_warnings(ConvergenceWarning):
        classifier.fit(features[0], targets[0])
    return float(classifier.score(features[1], targets[1]))


def _inner_products(vectors: torch.Tensor) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """The Gram matrix (N, N) of the centered vectors at mean length 1, and (N, min(D, N)) vectors with that matrix.

    None, and the centered vectors themselves, if there are more than ``LARGEST_GRAM``.
    """
    import torch

    centered = vectors.double()
    centered = centered - centered.mean(0)
    centered = centered / centered.square().sum(1).mean().sqrt().clamp_min(1e-12)
    if len(centered) > LARGEST_GRAM:
        return None, centered.numpy()
    gram = centered @ centered.T
    if centered.shape[1] <= len(centered):
        return gram.numpy(), centered.numpy()
    # centered vectors have rank N - 1 at most: a small multiple of the identity keeps the matrix positive definite
    return gram.numpy(), torch.linalg.cholesky(gram + 1e-8 * torch.eye(len(gram), dtype=gram.dtype)).numpy()


def _summary(network: NetworkName, layer: str, n_features: int, found: dict[str, list[float]]) -> LayerScore:
    return LayerScore(
        layer=layer,
        network=network,
        n_features=n_features,
        logistic=float(np.mean(found["logistic"])),
        logistic_spread=float(np.std(found["logistic"])),
        svm=float(np.mean(found["svm"])),
        svm_spread=float(np.std(found["svm"])),
    )


def _features(
    corpus: Corpus, layers: Sequence[Layer], rows: NDArray[np.int64], vectors: Vectors | None
) -> Iterator[tuple[str, torch.Tensor]]:
    """Every layer with its pooled output (N, D): as many layers per pass as fit the memory limit.

    The vectors that the run clusters come last, if given.
    """
    import torch

    from fiftyone_deepcluster.backbones.layers import capture_outputs

    each = MAX_FEATURES * len(rows) * 4
    together = max(1, _MAX_BYTES // each)
    for at in range(0, len(layers), together):
        part = layers[at : at + together]
        pieces: list[list[torch.Tensor]] = [[] for _ in part]
        corpus.network.eval()
        with torch.inference_mode(), corpus.compute.autocast():
            for batch in corpus.plain_batches(rows):
                for piece, output in zip(
                    pieces, capture_outputs(corpus.network, batch.images, part, pool), strict=True
                ):
                    piece.append(output.cpu())
        for layer, piece in zip(part, pieces, strict=True):
            yield layer.name, torch.cat(piece)
    if vectors is not None:
        yield EMBEDDING, vectors().cpu()[torch.from_numpy(rows)]
