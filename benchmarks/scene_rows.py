"""The rows of LDPO's table 3: features, clusterer and scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fiftyone_deepcluster.analysis.linear_svm import linear_svm
from fiftyone_deepcluster.api.assembly import assemble, open_store
from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.features.base import ENCODERS, EncodeRequest
from fiftyone_deepcluster.images.inspect import image_facts
from fiftyone_deepcluster.methods.auto import FINE, PIECES
from fiftyone_deepcluster.methods.frozen import Frozen
from fiftyone_deepcluster.methods.ldpo import LDPO
from fiftyone_deepcluster.metrics.agreement import agreement

if TYPE_CHECKING:
    from fiftyone_deepcluster.core.record import Round
    from fiftyone_deepcluster.features.corpus import Corpus

FOLDS = 5
"""Of the one-versus-all support vector machines that predict the classes from the vectors (LDPO, section 4.2)."""

PAPER: dict[str, tuple[str, str]] = {
    "KM": ("65.0", ".659"),
    "LSC": ("76.5", ".625"),
    "AC": ("65.2", ".653"),
    "EP": ("73.6", ""),
    "MDPM": ("63.4", ".596"),
    "LDPO-FC": ("73.1", ".705"),
    "LDPO-PM": ("90.2", ".861"),
}
"""The paper's purity in percent and NMI for S-15 with AlexNet."""


@dataclass(frozen=True)
class Scenes:
    """Images and the network for their features.

    Attributes:
        images: (N, H, W) uint8.
        classes: (N,) int64; used for evaluation only, except their number.
        model: of torchvision.
        weights: its state dict; None: random.
        size: side of the network's input in pixels.
        cache: folder that keeps features from one call to the next; None: none.
        mining: options of patch mining.
        options: of LDPO, on top of the rows' own.
    """

    images: np.ndarray
    classes: np.ndarray
    model: str
    weights: str | None
    size: int
    cache: Path | None = None
    mining: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def k(self) -> int:
        """Number of classes."""
        return len(np.unique(self.classes))

    def ldpo(self, seed: int, **values: Any) -> LDPO:
        """LDPO's options for these images."""
        backbone = {"name": "torchvision", "model": self.model}
        given = {"n_clusters": self.k, "baselines": False, **values, **self.options}
        return LDPO(backbone=backbone, weights=self.weights, image_size=self.size, seed=seed, **given)

    @contextmanager
    def corpus(self) -> Iterator[Corpus]:
        """The images and the network as LDPO begins."""
        resolved = self.ldpo(0).resolve(image_facts(self.images))
        with open_store(self.images, resolved, Silent()) as store:
            yield assemble(resolved, store, Silent(), None)[0]

    def features(self) -> np.ndarray:
        """(N, D) float32 of the fixed network."""
        kept = self.cache and self.cache / f"{self.model}-{self.size}-{len(self.images)}-bicubic.npy"
        if kept and kept.is_file():
            return np.load(kept)  # type: ignore[no-any-return]
        with self.corpus() as corpus:
            found = corpus.features().cpu().numpy()
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(kept, found)
        return found


@dataclass(frozen=True)
class Found:
    """Clusters, and the vectors that were clustered.

    Attributes:
        labels: (N,) int64.
        vectors: (N, D) float32.
        history: figures of every round, if there are rounds.
    """

    labels: np.ndarray
    vectors: torch.Tensor
    history: list[dict[str, float]] = field(default_factory=list)


class RoundPrinter(Silent):
    """Prints a line per round."""

    def round_done(self, entry: Round, rounds: int) -> None:
        """Figures against the classes, the round before and the held-out part, and seconds."""
        truth, change = entry.truth, entry.change
        parts = [f"   round {entry.index + 1}: k {entry.clusters_in_use}"]
        parts += [f"purity {truth.purity:.3f}, NMI {truth.nmi:.3f}"] if truth else []
        parts += [f"NMI with the round before {change.nmi:.3f}"] if change else []
        parts += [f"test top-1 {entry.scores['test_top1']:.3f}"] if "test_top1" in entry.scores else []
        seconds = ", ".join(f"{name} {value:.0f}" for name, value in entry.seconds.items())
        print(", ".join(parts) + f" ({seconds} s)", flush=True)


Row = Callable[[Scenes, int], Found]
"""Scenes and a seed to clusters."""


def clustered(vectors: torch.Tensor, k: int, seed: int) -> np.ndarray:
    """Labels (N,) of k-means."""
    return CLUSTERERS.parse("kmeans").cluster(vectors, ClusterRequest(k, seed)).labels.numpy()


def fixed(clusterer: str = "kmeans", reducer: str = "identity", **encoder: Any) -> Row:
    """A clusterer on the fixed network's features."""

    def row(scenes: Scenes, seed: int) -> Found:
        pooled = {"name": "pooled", "pca": 0}
        options = Frozen(
            n_clusters=scenes.k, seed=seed, clusterer=clusterer, reducer=reducer, baselines=False,
            encoder={**encoder, "base": pooled} if encoder else pooled,
        )  # fmt: skip
        result = fit(None, options, features=scenes.features())
        return Found(result.labels, torch.from_numpy(result.embeddings))

    return row


def mined(groups: str) -> Row:
    """MDPM: patches of the fixed network mined once, in random groups, groups of k-means or the classes; k-means."""

    def row(scenes: Scenes, seed: int) -> Found:
        encoder = ENCODERS.parse({"name": "patch-mining", "merge_share": 1.0, **scenes.mining})
        known = None
        if groups == "kmeans":
            known = torch.from_numpy(fixed()(scenes, seed).labels)
        if groups == "classes":
            known = torch.from_numpy(scenes.classes)
        with scenes.corpus() as corpus:
            vectors = encoder.encode(corpus, EncodeRequest(seed, known, scenes.k)).vectors
        return Found(clustered(vectors, scenes.k, seed), vectors)

    return row


def looped(mining: bool = False, pieces: int = 1, patches: str | None = None, **values: Any) -> Row:
    """LDPO, trained on ``pieces`` pseudo-classes per cluster; ``patches`` overrides the patches of the mining."""

    def row(scenes: Scenes, seed: int) -> Found:
        fine = {"pseudo_clusters": pieces * scenes.k} if pieces > 1 else {}
        source = {} if patches is None else {"patches": patches, "layer": None}
        encoder = {"encoder": {"name": "patch-mining", **scenes.mining, **source}} if mining else {}
        result = fit(
            scenes.images,
            scenes.ldpo(seed, **encoder, **values, **fine),
            truth=list(scenes.classes),
            observer=RoundPrinter(),
        )
        history = [
            {"k": float(entry.clusters_in_use), "loss": float(entry.loss or 0.0), **entry.scores}
            | {f"truth_{name}": value for name, value in (entry.truth.model_dump() if entry.truth else {}).items()}
            | {f"last_{name}": value for name, value in (entry.change.model_dump() if entry.change else {}).items()}
            for entry in result.record.rounds
        ]  # fmt: skip
        return Found(result.labels, torch.from_numpy(result.embeddings), history)

    return row


UMAP = {"name": "umap", "epochs": 200}
"""Reducer of LDPO's rows that name it; the paper uses k-means on the vectors themselves."""

ROWS: dict[str, Row] = {
    "KM": fixed(),
    "LSC": fixed("lsc"),
    "AC": fixed("agglomerative"),
    "UMAP + k-means": fixed(reducer="umap"),
    "EP": fixed(name="ensemble-projection", pca=0),
    "MDPM": mined("kmeans"),
    "MDPM, random groups": mined("random"),
    "LDPO-FC": looped(),
    "LDPO-FC, UMAP": looped(reducer=UMAP),
    "LDPO-FC, fine, UMAP": looped(reducer=UMAP, pieces=PIECES, **FINE),
    "LDPO-PM": looped(mining=True),
    "LDPO-PM, UMAP": looped(mining=True, reducer=UMAP),
    "LDPO-FC, RIM": looped(n_clusters=None),
    # crops through the network, as in the paper; the rows above take what --mining says
    "LDPO-PM, crops": looped(mining=True, patches="crops"),
    "PM, true classes": mined("classes"),
    # table 2 and figure 3: RIM with each encoding; the history has clusters, purity, NMI and top-1 of every round
    "LDPO-VLAD, RIM": looped(n_clusters=None, encoder="vlad"),
    "LDPO-FV, RIM": looped(n_clusters=None, encoder="fisher"),
    # section 4.2: random and k-means start converge alike
    "LDPO-PM, random start": looped(mining=True, initial="random"),
    "LDPO-PM, k-means start": looped(mining=True, initial="kmeans"),
    # the paper's own settings
    "LDPO-FC, paper": looped(preset="paper"),
    "LDPO-PM, paper": looped(mining=True, patches="crops", preset="paper"),
}
"""The rows by name. ``PM, true classes`` is an oracle: the ceiling of patch mining, which no method may use."""


def run(name: str, scenes: Scenes, seed: int) -> dict[str, Any]:
    """One row with one seed: figures as plain values."""
    started = time.perf_counter()
    found = ROWS[name](scenes, seed)
    seconds = time.perf_counter() - started
    figures = agreement(found.labels.astype(np.int64), scenes.classes)
    svm = linear_svm(found.vectors.cpu().numpy(), scenes.classes, folds=FOLDS, seed=seed)
    return {
        "row": name,
        "seed": seed,
        "model": scenes.model,
        "size": scenes.size,
        "images": len(scenes.images),
        "options": scenes.options if name.startswith("LDPO") else {},
        "k": len(np.unique(found.labels)),
        **figures.model_dump(),
        "svm": svm.accuracy,
        "svm_cost": svm.cost,
        "seconds": seconds,
        "history": found.history,
    }
