"""Methods to compare DAC with: rows of its Table 2 from maintained libraries, and UMAP + GMM."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

from fiftyone_deepcluster.analysis.baselines import BaselineSettings, measure
from fiftyone_deepcluster.metrics.agreement import agreement

Labels = np.ndarray
Cluster = Callable[[np.ndarray, int, int], Labels]
"""Vectors (N, D) float32, number of clusters and seed to labels (N,)."""

AE_EPOCHS, DEC_EPOCHS = 50, 50
"""Of ClustPy's auto-encoder and of DEC on top of it."""


def kmeans(vectors: np.ndarray, k: int, seed: int) -> Labels:
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=5, random_state=seed).fit_predict(vectors)


def spectral(vectors: np.ndarray, k: int, seed: int) -> Labels:
    """Nearest-neighbor graph; the paper's has self-tuned widths."""
    from sklearn.cluster import SpectralClustering

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the graph may fall into parts; that is its result
        return SpectralClustering(
            k, affinity="nearest_neighbors", n_neighbors=10, assign_labels="kmeans", random_state=seed
        ).fit_predict(vectors)


def agglomerative(vectors: np.ndarray, k: int, seed: int) -> Labels:
    """Ward's; the paper's joins mutual nearest neighbors."""
    from sklearn.cluster import AgglomerativeClustering

    return AgglomerativeClustering(k).fit_predict(vectors)


def nmf(vectors: np.ndarray, k: int, seed: int) -> Labels:
    """The largest of k non-negative parts; the paper's also keeps neighbors together."""
    from sklearn.decomposition import NMF

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 300 steps were not enough
        model = NMF(k, init="nndsvda", max_iter=300, random_state=seed)
        # The scale of weights and parts is arbitrary: parts of length 1 make the weights comparable.
        return (model.fit_transform(vectors) * np.linalg.norm(model.components_, axis=1)).argmax(1)


def auto_encoder(vectors: np.ndarray, k: int, seed: int) -> Labels:
    """ClustPy's auto-encoder, then k-means."""
    return kmeans(_dec(vectors, k, seed, epochs=0), k, seed)


def dec(vectors: np.ndarray, k: int, seed: int) -> Labels:
    """ClustPy's DEC."""
    return _dec(vectors, k, seed, epochs=DEC_EPOCHS)


def _dec(vectors: np.ndarray, k: int, seed: int, epochs: int) -> np.ndarray:
    """Labels of DEC, or with no epochs the vectors (N, 10) of its auto-encoder."""
    try:
        from clustpy.deep import DEC
    except ImportError as error:
        raise SystemExit("AE + k-means and DEC need ClustPy: pip install clustpy") from error
    model = DEC(
        k, pretrain_epochs=AE_EPOCHS, clustering_epochs=epochs, random_state=np.random.RandomState(seed)
    )
    model.fit(vectors)
    return model.labels_ if epochs else model.transform(vectors)


PIXELS: dict[str, Cluster] = {
    "k-means": kmeans,
    "SC": spectral,
    "AC": agglomerative,
    "NMF": nmf,
    "AE + k-means": auto_encoder,
    "DEC": dec,
}
"""Rows of Table 2 by name."""

ON_FEATURES = ("k-means", "SC", "AC", "NMF")
"""Rows of Table 3."""


def figures(cluster: Cluster, vectors: np.ndarray, classes: np.ndarray, seed: int) -> dict[str, float]:
    """ACC, NMI, ARI and seconds."""
    started = time.perf_counter()
    labels = cluster(vectors, len(np.unique(classes)), seed)
    seconds = time.perf_counter() - started
    return {**agreement(labels.astype(np.int64), classes).model_dump(), "seconds": seconds}


def umap_gmm(vectors: np.ndarray, classes: np.ndarray, seed: int) -> dict[str, float]:
    """UMAP + GMM as every run's record has it, on the first 10,000."""
    rows = min(len(vectors), 10_000)
    settings = BaselineSettings(len(np.unique(classes)), seed, classes[:rows])
    found = measure(torch.from_numpy(vectors[:rows]), "first", settings)[-1]
    return {**found.truth.model_dump(), "seconds": found.seconds}
