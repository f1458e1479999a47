"""Words of the reports that belong to images: key words of clusters, and topics to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORD = r"(?u)\b[^\W\d_]{3,}\b"
"""A word: three letters or more, of any script; numbers and dates say nothing of a group."""

Texts = Sequence[str | None]


@dataclass(frozen=True)
class KeyWord:
    """A word that stands for a cluster.

    Attributes:
        word: in lower case.
        count: how often it occurs in the cluster's texts.
        share: part of the cluster's texts that hold it, 0..1.
    """

    word: str
    count: int
    share: float


def key_words(
    texts: Texts, labels: NDArray[np.int64], *, n_words: int = 10, common: float = 1.0
) -> dict[int, list[KeyWord]]:
    """The most frequent words of each cluster's texts (Wang et al., LDPO, section 3.2).

    English stop words and the words common to all clusters are removed first; the rest is ranked by count.

    Args:
        texts: N reports; None or empty where there is none.
        labels: (N,) clusters; -1 is left out.
        n_words: at most so many a cluster.
        common: a word that occurs in at least this share of the clusters is common to them. The paper's 1.0 takes
            out what occurs in every one; lower it where there are many small clusters.

    Returns:
        Cluster id -> words, most frequent first; clusters without text have an empty list.

    Raises:
        InputError: not one text an image, no text at all, or ``common`` out of 0..1.
    """
    if not 0 < common <= 1:
        raise InputError(f"common={common} is a share of the clusters; give more than 0 and at most 1")
    rows, counts, words = _counted(texts, len(labels))
    labels = np.asarray(labels)[rows]
    clusters = np.unique(labels[labels >= 0])
    total = np.stack([np.asarray(counts[labels == c].sum(axis=0)).ravel() for c in clusters])
    if len(clusters) > 1:
        total[:, (total > 0).mean(axis=0) >= common] = 0
    found: dict[int, list[KeyWord]] = {}
    for row, cluster in enumerate(clusters):
        # words of equal count by the alphabet, so that the list is the same every time
        best = np.lexsort((words, -total[row]))[:n_words]
        inside = counts[labels == cluster]
        found[int(cluster)] = [
            KeyWord(str(words[w]), int(total[row, w]), float((inside[:, w] > 0).sum() / inside.shape[0]))
            for w in best
            if total[row, w] > 0
        ]
    return found


def topics(texts: Texts, n_topics: int, seed: int) -> NDArray[np.int64]:
    """The main topic of each text by latent Dirichlet allocation, as first pseudo-labels.

    The paper starts from 80 topics of radiology reports (Shin et al. 2015); the vocabulary drops English stop words
    and words of a single text.

    Args:
        texts: N reports.
        n_topics: topics.
        seed: of the allocation.

    Returns:
        (N,) int64 topics, compact from 0; -1 for an image without a usable text.

    Raises:
        InputError: fewer usable texts than topics.
    """
    from sklearn.decomposition import LatentDirichletAllocation

    rows, counts, _ = _counted(texts, len(texts))
    counts = counts[:, np.asarray((counts > 0).sum(axis=0)).ravel() > 1]
    usable = np.asarray(counts.sum(axis=1)).ravel() > 0
    if usable.sum() < n_topics:
        raise InputError(
            f"{usable.sum()} texts share words with others, which is less than the {n_topics} topics; lower the "
            "number of topics, or give more texts"
        )
    model = LatentDirichletAllocation(n_topics, random_state=seed, learning_method="batch")
    best = model.fit_transform(counts[usable]).argmax(axis=1)
    found = np.full(len(texts), -1, np.int64)
    found[rows[usable]] = np.unique(best, return_inverse=True)[1]
    return found


def _counted(texts: Texts, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
    """Rows that have a text, a sparse count of words for each, and the words."""
    from sklearn.feature_extraction.text import CountVectorizer

    if len(texts) != n:
        raise InputError(f"{len(texts)} texts for {n} images; give one an image, None where there is none")
    rows = np.array([i for i, text in enumerate(texts) if text and text.strip()], np.int64)
    if not len(rows):
        raise InputError("none of the images has a text; name a field that holds the reports")
    vectorizer = CountVectorizer(stop_words="english", token_pattern=WORD)
    try:
        counts = vectorizer.fit_transform([str(texts[i]) for i in rows]).tocsr()
    except ValueError as error:
        raise InputError(
            f"the {len(rows)} texts hold no words but stop words; name a field that holds reports"
        ) from error
    return rows, counts, vectorizer.get_feature_names_out()
