"""Words in the reports of images: keywords of clusters, and topics as initial pseudo-labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.progress import Silent, in_parts, observer_or_silent
from fiftyone_deepcluster.core.words import all_of, counted
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from fiftyone_deepcluster.core.progress import Observer

WORD = re.compile(r"\b(?:[^\W\d_]{3,}|[A-Z]{2}|[A-Z]{1,2}\d{1,2})\b")
"""A word: three letters or more, of any script, or an abbreviation in capitals such as CT, PA, T1 or L5; numbers and
dates do not characterize a group."""

_UNIT = re.compile(
    r"(?<=\d)\s*(?:MM|CM|ML|DL|MG|MCG|KG|CC|IU|HU|GY|MSV|MMHG|MMOL|UMOL|MEQ|BPM|KHZ|MHZ)\b", re.IGNORECASE
)
"""Removed only after a number; otherwise they are words: MG is mammography, CC a view, MM myeloma."""

Texts = Sequence[str | None]

Rank = Literal["count", "distinct"]

SIGNIFICANT = 10.83
"""Log-likelihood ratio exceeded by chance by one word in a thousand (chi-squared, one degree of freedom)."""

_AT_ONCE = 500
"""Texts whose words are counted at once; between, progress is reported and a cancel is noticed."""

_MIN_TEXTS = 2
"""Minimum number of texts with a word: a word of a single text does not characterize a cluster."""


@dataclass(frozen=True)
class KeyWord:
    """A keyword of a cluster.

    Attributes:
        word: in lower case.
        count: number of occurrences in the cluster's texts.
        share: share of the cluster's texts that contain it, 0..1.
    """

    word: str
    count: int
    share: float


def words_of_clusters(
    texts: Texts,
    labels: NDArray[np.int64],
    *,
    n_words: int = 10,
    common: float = 1.0,
    rank: Rank = "count",
    groups: Sequence[object | None] | None = None,
    observer: Observer | None = None,
) -> dict[int, list[KeyWord]]:
    """The most frequent words of each cluster's texts (Wang et al., LDPO, section 3.2).

    English stop words and the words common to all clusters are removed first; the rest is ranked by count. With
    few or small clusters, general words of reports ("history", "old", "seen") are missing from one cluster by
    chance and lead the lists of the others. ``rank="distinct"``, which is ours, ranks instead by how much more
    of a cluster's texts contain a word than of all others (Dunning 1993's log-likelihood ratio), and drops words
    explained by chance: a cluster without distinctive words has an empty list.

    Args:
        texts: N reports; None or empty if there is none.
        labels: (N,) clusters; -1 is ignored.
        n_words: maximum number of words per cluster.
        common: words in at least this share of the clusters are common and removed. The paper's 1.0 removes
            only words in all of them; lower it for many small clusters.
        rank: ``count``, as in the paper, or ``distinct``.
        groups: N groups, such as patients, whose texts are alike: ``distinct`` counts those of a cluster as one. None
            for an image that is in no group. None: every text is independent of the others.
        observer: receives progress events; can cancel.

    Returns:
        Cluster id -> words, best first; clusters without text have an empty list. Empty if all images are noise.

    Raises:
        InputError: not one text or group per image, no text at all, ``n_words`` or ``common`` out of range, or unknown
            ``rank``.
        CancelledError: the observer requested cancellation.
    """
    n_words = arguments.whole_number("n_words", n_words, 1)
    common = arguments.share_of("common", common, "the clusters")
    arguments.one_of("rank", rank, get_args(Rank))
    if groups is not None and len(groups) != len(labels):
        raise InputError(
            f"groups has {counted(len(groups), 'entry', 'entries')} for {counted(len(labels), 'image')}; give one per "
            "image, None where there is none"
        )
    rows, counts, words = _counted(texts, len(labels), observer_or_silent(observer))
    labels = np.asarray(labels)[rows]
    clusters = np.unique(labels[labels >= 0])
    if not len(clusters):
        return {}
    total, held = (_summed(part, labels, clusters) for part in (counts, counts > 0))
    sizes = np.array([(labels == c).sum() for c in clusters])
    weight = (
        total.astype(float)
        if rank == "count"
        else significance(*_per_group(counts, labels, clusters, rows, groups))
    )
    if len(clusters) > 1:
        weight[:, (total > 0).mean(axis=0) >= common] = 0
    found: dict[int, list[KeyWord]] = {}
    for row, cluster in enumerate(clusters):
        # ties are in alphabetical order, so that the list is reproducible
        best = [w for w in np.lexsort((words, -weight[row]))[:n_words] if weight[row, w] > 0]
        found[int(cluster)] = [
            KeyWord(str(words[w]), int(total[row, w]), float(held[row, w] / sizes[row])) for w in best
        ]
    return found


def _per_group(
    counts: csr_matrix,
    labels: NDArray[np.int64],
    clusters: NDArray[np.int64],
    rows: NDArray[np.int64],
    groups: Sequence[object | None] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of each cluster's groups with each word (K, V), and of all of them (K,); a text without one is its own."""
    from scipy.sparse import csr_matrix

    from fiftyone_deepcluster.metrics.matching import numbered

    own = np.full(len(rows), -1) if groups is None else numbered(groups)[0][rows]
    own = np.where(own < 0, len(rows) + np.arange(len(rows)), own)
    pairs, at = np.unique(np.stack([labels, own]), axis=1, return_inverse=True)
    joined = csr_matrix((np.ones(len(at)), (at.ravel(), np.arange(len(at)))), (pairs.shape[1], len(at)))
    held = ((joined @ counts) > 0).astype(np.int64)
    return _summed(held, pairs[0], clusters), np.array([(pairs[0] == c).sum() for c in clusters])


def significance(held: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Significance of a word being more frequent in a cluster's texts than in all others.

    Args:
        held: (K, V) number of texts of each cluster that contain each word.
        sizes: (K,) number of texts of each cluster.

    Returns:
        (K, V) log-likelihood ratio (Dunning 1993, "Accurate methods for the statistics of surprise and coincidence"),
        0 below ``SIGNIFICANT``, for words of a single text, and for words that are rarer in the cluster.
    """
    size = sizes[:, None]
    outside, rest = held.sum(axis=0) - held, sizes.sum() - size
    share = (held + outside) / (size + rest)
    ratio = 2 * (_log_likelihood(held, size, share) + _log_likelihood(outside, rest, share))
    more = held * rest > outside * size
    return np.where(more & (held >= _MIN_TEXTS) & (ratio >= SIGNIFICANT), ratio, 0.0)


def _log_likelihood(
    held: NDArray[np.int64], texts: NDArray[np.int64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Binomial log-likelihood of ``held`` out of ``texts`` at the rate held / texts, minus that at ``share``."""
    from scipy.special import xlogy

    own = held / np.maximum(texts, 1)
    return np.asarray(
        xlogy(held, own) + xlogy(texts - held, 1 - own) - xlogy(held, share) - xlogy(texts - held, 1 - share)
    )


def _summed(counts: csr_matrix, labels: NDArray[np.int64], clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """(K, V) sums of the rows of each cluster."""
    return np.stack([np.asarray(counts[labels == c].sum(axis=0)).ravel() for c in clusters])


def topics(texts: Texts, n_topics: int, seed: int) -> NDArray[np.int64]:
    """The main topic of each text by latent Dirichlet allocation, as initial pseudo-labels.

    The paper starts from 80 topics of radiology reports (Shin et al. 2015); the vocabulary excludes English stop words
    and words of a single text.

    Args:
        texts: N reports.
        n_topics: number of topics.
        seed: of the allocation.

    Returns:
        (N,) int64 topics, compact from 0; -1 for an image without a usable text.

    Raises:
        InputError: ``n_topics`` is not a whole number, or there are fewer usable texts than topics.
    """
    from sklearn.decomposition import LatentDirichletAllocation

    n_topics = arguments.whole_number("n_topics", n_topics, 1)
    rows, counts, _ = _counted(texts, len(texts), Silent())
    counts = counts[:, np.asarray((counts > 0).sum(axis=0)).ravel() > 1]
    usable = np.asarray(counts.sum(axis=1)).ravel() > 0
    if usable.sum() < n_topics:
        raise InputError(
            f"{counted(int(usable.sum()), 'text shares', 'texts share')} words with others, which is less than the "
            f"{counted(n_topics, 'topic')}; lower the number of topics, or give more texts"
        )
    model = LatentDirichletAllocation(n_topics, random_state=seed, learning_method="batch")
    best = model.fit_transform(counts[usable]).argmax(axis=1)
    found = np.full(len(texts), -1, np.int64)
    found[rows[usable]] = np.unique(best, return_inverse=True)[1]
    return found


def _words(text: str) -> list[str]:
    """The words of a text in lower case, without English stop words and units of numbers.

    US means ultrasound in a text with lower case letters; in a text all in capitals it may be "us" and is removed.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    capitals = text.isupper()
    found = WORD.findall(_UNIT.sub(" ", text))
    kept = [
        word for word in found if word.lower() not in ENGLISH_STOP_WORDS or (word == "US" and not capitals)
    ]
    return [word.lower() for word in kept]


def _counted(
    texts: Texts, n: int, observer: Observer
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
    """Rows that have a text, their sparse word counts, and the words."""
    from sklearn.feature_extraction.text import CountVectorizer

    if len(texts) != n:
        raise InputError(
            f"{counted(len(texts), 'text')} for {counted(n, 'image')}; give one per image, None where there is none"
        )
    rows = np.array([i for i, text in enumerate(texts) if text and text.strip()], np.int64)
    if not len(rows):
        raise InputError("none of the images has a text; name a field that holds the reports")
    vectorizer = CountVectorizer(analyzer=_words)
    try:
        counts = vectorizer.fit_transform(_one_by_one(texts, rows, observer)).tocsr()
    except ValueError as error:
        raise InputError(
            f"there are only stop words, numbers and units in {all_of(len(rows), 'text')}; name a field that "
            "holds reports"
        ) from error
    return rows, counts, vectorizer.get_feature_names_out()


def _one_by_one(texts: Texts, rows: NDArray[np.int64], observer: Observer) -> Iterator[str]:
    why = "cancelled; no key words were stored"
    for part in in_parts(observer, "words", len(rows), size=_AT_ONCE, why=why):
        yield from (str(texts[row]) for row in rows[part])
