"""Images held out of a round to evaluate the network on its pseudo-classes (Wang et al., LDPO, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.core.seeds import rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus


@dataclass(frozen=True)
class Split:
    """Rows of one round: (T,), (V,) and (H,) int64, a partition of all rows."""

    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class Holdout:
    """Splits the images anew in every round, and evaluates the network on the held-out part.

    Attributes:
        training: share of the images for training.
        validation: share for validation; the rest is for testing.
        seed: of the splits.
    """

    training: float = 0.7
    validation: float = 0.1
    seed: int = 0

    def split(self, n: int, round_index: int, groups: NDArray[np.int64] | None = None) -> Split:
        """The split of round ``round_index``.

        Args:
            n: images.
            round_index: each round has its own split.
            groups: (n,) e.g. the patient of each image, -1 unknown; a group is never split, so the shares are
                only approximated.
        """
        draw = rng(self.seed, "split", round_index)
        owners = np.arange(n) if groups is None else _alone_where_unknown(groups)
        members = np.argsort(owners, kind="stable")
        starts = np.unique(owners[members], return_index=True)[1]
        parts = np.split(members, starts[1:])
        order = [parts[i] for i in draw.permutation(len(parts))]
        ends = np.cumsum([len(part) for part in order])
        # assigned by the middle of each group, so that one large group is not always in training
        middles = (ends - [len(part) / 2 for part in order]) / n
        kind = (middles >= self.training).astype(int) + (middles >= self.training + self.validation)
        rows = [[part for part, k in zip(order, kind, strict=True) if k == wanted] for wanted in range(3)]
        return Split(*(np.sort(np.concatenate(some)) if some else np.zeros(0, np.int64) for some in rows))

    def scores(self, corpus: Corpus, labels: NDArray[np.int64], split: Split) -> dict[str, float]:
        """Top-1 and top-5 accuracy of the head on all held-out images that have a pseudo-label (N,), not -1."""
        found = {}
        for name, rows in (("validation", split.validation), ("test", split.test)):
            known = rows[labels[rows] >= 0]
            if len(known):
                top = _top(corpus, known, 5)
                hits = top == labels[known][:, None]
                found[f"{name}_top1"] = float(hits[:, 0].mean())
                found[f"{name}_top5"] = float(hits.any(axis=1).mean())
        return found


def _alone_where_unknown(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Group numbers in which every row without a group is a group of its own."""
    unknown = groups < 0
    own = groups.max(initial=-1) + 1 + np.arange(unknown.sum())
    owners = groups.copy()
    owners[unknown] = own
    return owners


def _top(corpus: Corpus, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """(len(rows), min(k, K)) the classes with the highest logits, best first."""
    import torch

    corpus.network.eval()
    corpus.observer.phase("held out", len(rows))
    found = []
    with torch.inference_mode(), corpus.compute.autocast():
        for batch in corpus.plain_batches(rows):
            logits = corpus.network(batch.images).logits.float()
            found.append(logits.topk(min(k, logits.shape[1]), dim=1).indices)
    return torch.cat(found).cpu().numpy()  # type: ignore[no-any-return]
