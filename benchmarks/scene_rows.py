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
from torch.nn import functional

from fiftyone_deepcluster.analysis.linear_svm import linear_svm
from fiftyone_deepcluster.api.assembly import assemble, open_store
from fiftyone_deepcluster.api.fit import fit
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.features.base import EncodeRequest
from fiftyone_deepcluster.features.patch_mining.encoder import PatchMining
from fiftyone_deepcluster.images.inspect import image_facts
from fiftyone_deepcluster.methods.auto import FINE, PIECES
from fiftyone_deepcluster.methods.frozen import Frozen
from fiftyone_deepcluster.methods.ldpo import LDPO
from fiftyone_deepcluster.metrics.agreement import agreement

if TYPE_CHECKING:
    from fiftyone_deepcluster.core.record import Round
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.features.patch_mining.patches import Patches, Scale

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
        mining: options of patch mining; patches are crops, unless they say ``patches`` = ``maps``.
        options: of LDPO, on top of the rows' own.
        kept: activations of the patches of the fixed network, which all rows that mine once share.
    """

    images: np.ndarray
    classes: np.ndarray
    model: str
    weights: str | None
    size: int
    cache: Path | None = None
    mining: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    kept: dict[Patches, KeptPatches] = field(default_factory=dict)

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
    def corpus(self, rows: np.ndarray | None = None) -> Iterator[Corpus]:
        """The images, or those of ``rows``, and the network as LDPO begins."""
        images = self.images if rows is None else self.images[rows]
        resolved = self.ldpo(0).resolve(image_facts(images))
        with open_store(images, resolved, Silent()) as store:
            yield assemble(resolved, store, Silent(), None)[0]

    def patches(self, cut: Patches) -> KeptPatches:
        """Activations of the patches of all images by the fixed network, kept in memory for the other rows."""
        if cut not in self.kept:
            started = time.perf_counter()
            with self.corpus() as corpus:
                parts = [scales for _, scales in cut.of(corpus, np.arange(len(self.images)))]
            scales = [
                (torch.cat([part[i][0] for part in parts]), parts[0][i][1]) for i in range(len(parts[0]))
            ]
            self.kept[cut] = KeptPatches(scales, time.perf_counter() - started)
        return self.kept[cut]

    def miner(self, rows: np.ndarray | None = None, **values: Any) -> PatchMining:
        """Patch mining of the fixed network, for a corpus of all images or of ``rows``; nothing is merged by share."""
        chosen = np.arange(len(self.images)) if rows is None else rows
        return FixedPatchMining(
            **{"merge_share": 1.0, **self.mining, **values}, kept=self.patches, rows=chosen
        )

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
        rows: (N,) int64, the images that were clustered; None: all.
        mining: figures of the mining, if patches were mined once.
    """

    labels: np.ndarray
    vectors: torch.Tensor
    history: list[dict[str, float]] = field(default_factory=list)
    rows: np.ndarray | None = None
    mining: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class KeptPatches:
    """Activations of the patches of all images by a fixed network, one entry per scale, and the seconds they took."""

    scales: list[Scale]
    seconds: float


class FixedPatchMining(PatchMining):
    """Patch mining of a fixed network, whose patches pass through it once for all rows.

    ``kept`` are the activations of all scenes; ``rows`` are the scenes that the corpus has.
    """

    kept: Any = None
    rows: Any = None

    def _cut(self, scales: tuple[float, ...]) -> Any:
        kept = self.kept(super()._cut(self.scales))
        return _Kept(kept.scales[: len(scales)], self.rows)


@dataclass(frozen=True)
class _Kept:
    """In place of ``Patches``."""

    scales: list[Scale]
    scenes: np.ndarray

    def count(self, corpus: Corpus) -> int:
        return len(self.scales[0][1])

    def of(self, corpus: Corpus, rows: np.ndarray) -> Iterator[tuple[torch.Tensor, list[Scale]]]:
        for at in range(0, len(rows), 64):
            taken = rows[at : at + 64]
            chosen = torch.from_numpy(self.scenes[taken])
            yield (
                torch.from_numpy(taken),
                [(found[chosen], middles) for found, middles in self.scales],
            )


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


def mined(groups: str, cross_fit: bool = False) -> Row:
    """MDPM: patches of the fixed network mined once; k-means.

    Args:
        groups: mined in: ``random``, ``kmeans``, the ``classes``, or ``permuted``: the groups of k-means with the
            images exchanged at random, which mean nothing.
        cross_fit: of patch mining.
    """

    def row(scenes: Scenes, seed: int) -> Found:
        known = None
        if groups in ("kmeans", "permuted"):
            known = fixed()(scenes, seed).labels
        if groups == "permuted":
            known = np.random.default_rng(seed).permutation(known)
        if groups == "classes":
            known = scenes.classes
        request = EncodeRequest(seed, None if known is None else torch.from_numpy(known), scenes.k)
        with scenes.corpus() as corpus:
            encoding = scenes.miner(cross_fit=cross_fit).encode(corpus, request)
        labels = clustered(encoding.vectors, scenes.k, seed)
        figures = dict(encoding.scores)
        if known is not None:
            figures["nmi_with_groups"] = agreement(labels, known).nmi
        return Found(labels, encoding.vectors, mining=figures)

    return row


def stratified_halves(classes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of the rows, ascending, with half of each class in each; of an odd class the first has one more."""
    draw = np.random.default_rng(seed)
    first = np.zeros(len(classes), dtype=bool)
    for name in np.unique(classes):
        members = draw.permutation(np.flatnonzero(classes == name))
        first[members[: (len(members) + 1) // 2]] = True
    return np.flatnonzero(first), np.flatnonzero(~first)


def unseen(groups: str | None) -> Row:
    """k-means on one half of the images, drawn by the seed, with half of each class.

    With ``groups`` = ``classes`` patches are mined in the true classes of the other half, and the detectors and the
    PCA are applied to this one. None: the network's features.
    """

    def row(scenes: Scenes, seed: int) -> Found:
        seen, rows = stratified_halves(scenes.classes, seed)
        figures: dict[str, float] = {}
        if groups == "classes":
            known = torch.from_numpy(scenes.classes[seen])
            with scenes.corpus(seen) as corpus:
                encoding = scenes.miner(seen).encode(corpus, EncodeRequest(seed, known, scenes.k))
            with scenes.corpus(rows) as corpus:
                vectors = scenes.miner(rows).apply(corpus, encoding.fitted)
            figures = dict(encoding.scores)
        else:
            vectors = functional.normalize(torch.from_numpy(scenes.features()[rows]))
        return Found(clustered(vectors, scenes.k, seed), vectors, rows=rows, mining=figures)

    return row


def looped(mining: bool = False, pieces: int = 1, **values: Any) -> Row:
    """LDPO, trained on ``pieces`` pseudo-classes per cluster; with ``mining`` on codes of mined patches."""

    def row(scenes: Scenes, seed: int) -> Found:
        fine = {"pseudo_clusters": pieces * scenes.k} if pieces > 1 else {}
        encoder = {"encoder": {"name": "patch-mining", **scenes.mining}} if mining else {}
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
    "MDPM, cross-fit": mined("kmeans", cross_fit=True),
    # groups that mean nothing: their NMI with the clusters is what detectors confirm of any groups
    "MDPM, permuted groups": mined("permuted"),
    "MDPM, permuted groups, cross-fit": mined("permuted", cross_fit=True),
    # oracles
    "PM, true classes": mined("classes"),
    "PM, true classes, unseen images": unseen("classes"),
    "KM, the same unseen images": unseen(None),
    # table 2 and figure 3: RIM with each encoding; the history has clusters, purity, NMI and top-1 of every round
    "LDPO-VLAD, RIM": looped(n_clusters=None, encoder="vlad"),
    "LDPO-FV, RIM": looped(n_clusters=None, encoder="fisher"),
    # section 4.2: random and k-means start converge alike
    "LDPO-PM, random start": looped(mining=True, initial="random"),
    "LDPO-PM, k-means start": looped(mining=True, initial="kmeans"),
    # the paper's own settings
    "LDPO-FC, paper": looped(preset="paper"),
    "LDPO-PM, paper": looped(mining=True, preset="paper"),
}
"""The rows by name. Rows with ``PM`` mine patches: crops, or maps with ``Scenes.mining``, and are then named so.

``PM, true classes`` are oracles: ceilings of patch mining, which no method may use.
"""


def name_of(row: str, scenes: Scenes) -> str:
    """The row's name, which says so where patches are windows of maps instead of crops."""
    return f"{row}, maps" if "PM" in row and scenes.mining.get("patches") == "maps" else row


def run(name: str, scenes: Scenes, seed: int) -> dict[str, Any]:
    """One row with one seed: figures as plain values."""
    started = time.perf_counter()
    found = ROWS[name](scenes, seed)
    seconds = time.perf_counter() - started
    classes = scenes.classes if found.rows is None else scenes.classes[found.rows]
    figures = agreement(found.labels.astype(np.int64), classes)
    svm = linear_svm(found.vectors.cpu().numpy(), classes, folds=FOLDS, seed=seed)
    return {
        "row": name_of(name, scenes),
        "seed": seed,
        "model": scenes.model,
        "size": scenes.size,
        "images": len(classes),
        "options": scenes.options if name.startswith("LDPO") else {},
        "k": len(np.unique(found.labels)),
        **figures.model_dump(),
        "svm": svm.accuracy,
        "svm_cost": svm.cost,
        "seconds": seconds,
        "patch_seconds": sum(kept.seconds for kept in scenes.kept.values()),
        "mining": found.mining,
        "history": found.history,
    }
