"""Patch mining: encodes an image by the responses of mined visual element detectors."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.features.base import ENCODERS, Encoder, EncodeRequest, Encoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from typing_extensions import Self

    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.features.patch_mining.itemsets import Limits, Pattern
    from fiftyone_deepcluster.features.patch_mining.patches import Patches
    from fiftyone_deepcluster.features.streaming import Describe, Shrink

logger = logging.getLogger(__name__)


@ENCODERS.register
class PatchMining(Encoder):
    """Patch mining: responses of detectors of visual elements that are typical of the last clusters.

    LDPO (Wang et al., section 3.1 and Algorithm 1) after MDPM (Li et al. 2015). Patches of some images of every
    group (random groups in the first round, then the last clusters) become transactions of their largest
    activations; association rules are mined per group; the 50 that cover most patches get an LDA detector each;
    detectors that respond to each other's patches are merged over all groups. An image's code is the largest score of
    every detector in the whole image and in each quarter, over all scales, reduced by PCA. The paper gives the 50
    patterns and the merging; all other numbers are defaults, from MDPM where it gives them.
    """

    name: Literal["patch-mining"] = "patch-mining"
    patches: Literal["crops", "maps"] = Field(
        "crops",
        description="Crops, each passed through the network (as in the paper), or windows of a layer's maps (faster).",
    )
    layer: str | None = Field(
        None,
        description="Layer of the activations; empty: the features (crops), or the last layer with maps (maps).",
    )
    scales: tuple[float, ...] = Field(
        (0.5, 0.625, 0.75),
        min_length=1,
        description="Sides of the patches as shares of the image side; rules are mined at the first.",
    )
    stride: float = Field(
        0.125, ge=0.01, le=1, description="Step between patches, as a share of the image side."
    )
    activations: int = Field(20, ge=2, le=200, description="Largest activations per transaction.")
    support: float = Field(
        1e-4,
        gt=0,
        lt=1,
        description="Minimum support: share of all patches that belong to the group and show the pattern.",
    )
    confidence: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Minimum confidence: share of a pattern's patches that belong to its group.",
    )
    shortest: int = Field(3, ge=1, le=10, description="Minimum number of activations per pattern.")
    longest: int = Field(6, ge=1, le=10, description="Maximum number of activations per pattern.")
    patterns: int = Field(50, ge=1, le=1000, description="Patterns kept per group.")
    overlap: float = Field(
        0.5, gt=0, le=1, description="Maximum overlap (IoU) of the patches of two patterns of a group."
    )
    merge_share: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Detectors are merged if each reaches this share of the other's score on its own patches.",
    )
    merge_score: float | None = Field(
        None,
        allow_inf_nan=False,
        description="Absolute score threshold for merging, as in the paper; empty: merge_share is used.",
    )
    shrinkage: float = Field(
        0.1,
        gt=0,
        description="LDA shrinkage: added to each variance, as a share of the mean variance.",
    )
    level: bool = Field(
        True, description="Scale each detector so that its scores over all patches have standard deviation 1."
    )
    mined_patches: int = Field(40_000, ge=100, description="Patches to mine, over all groups.")
    searched: int = Field(
        20_000,
        ge=1000,
        description="Most frequent itemsets examined per group; where there are more, the support is not lowered, and "
        "searches_cut in the round's scores counts the group.",
    )
    pca: int | None = Field(
        None, ge=0, description="PCA dimensions; 0: no PCA; empty: 4096, or as many as the sample allows."
    )
    cross_fit: bool = Field(
        False,
        description="Encode each half of the images by detectors that were mined in the other half, summed up by "
        "cluster (ours): no image is encoded by detectors trained on it. Random groups are not split.",
    )
    l2_normalize: bool = Field(True, description="Scale every vector to length 1 after the PCA.")
    sample: int = Field(5000, ge=2, description="Randomly drawn images to which the PCA is fitted.")

    @field_validator("scales")
    @classmethod
    def _shares(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        for scale in scales:
            if not 0 < scale <= 1:  # false for NaN, too
                raise ValueError(
                    f"scales={scale}: give shares of the image side, above 0 and at most 1, such as 0.5"
                )
        return scales

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError(
                f"shortest={self.shortest} is more than longest={self.longest}; lower it, or raise longest"
            )
        return self

    def fit_transform(self, corpus: Corpus, request: EncodeRequest) -> Encoding:
        """See ``Encoder.fit_transform``."""
        from fiftyone_deepcluster.features.streaming import reduce_streamed

        groups = self._groups(len(corpus), request)
        if self.cross_fit and self._are_clusters(request):
            return self._cross_fitted(corpus, request, groups)
        features, images = self._mined(corpus, groups, request.seed)
        _, detectors, scores = self._elements(features, images, groups)
        describe = self._describer(corpus, detectors.to(corpus.compute.device))
        vectors, reduction = reduce_streamed(corpus, describe, self._shrink(request), "patch mining")
        fitted = {"detectors": detectors.cpu(), "reduction": reduction.state_dict()}
        return Encoding(vectors, fitted, {**scores, "dimensions": float(vectors.shape[1])})

    def transform(self, corpus: Corpus, fitted: dict[str, Any]) -> torch.Tensor:
        """See ``Encoder.transform``."""
        from fiftyone_deepcluster.features.patch_mining.cross_fit import CrossFit
        from fiftyone_deepcluster.features.reduce import Reduction
        from fiftyone_deepcluster.features.streaming import apply_streamed

        reduction = Reduction.from_state(fitted["reduction"])
        if "cross_fit" in fitted:
            crossed = CrossFit.from_state(fitted["cross_fit"], corpus.compute.device)
            describe = crossed.describer(corpus, self._cut(self.scales), crossed.halves.of(corpus))
        else:
            describe = self._describer(corpus, fitted["detectors"].to(corpus.compute.device))
        return apply_streamed(corpus, describe, reduction)

    def _cross_fitted(self, corpus: Corpus, request: EncodeRequest, groups: NDArray[np.int64]) -> Encoding:
        """The encoding with ``cross_fit``: each half is mined by itself, in half as many patches."""
        import numpy as np

        from fiftyone_deepcluster.features.patch_mining.cross_fit import (
            CrossFit,
            Halves,
            check_halves,
            fit_cross,
        )

        halves, half = Halves.split(corpus, derive(request.seed, "halves"))
        check_halves(half[groups >= 0])
        scores: dict[str, float] = {}
        found = []
        for which in range(2):
            own = np.where(half == which, groups, -1)
            features, images = self._mined(corpus, own, request.seed, self.mined_patches // 2)
            elements, detectors, figures = self._elements(features, images, groups)
            found.append(
                (detectors.to(corpus.compute.device), [groups[images[patches]] for patches in elements])
            )
            scores = {name: value + scores.get(name, 0.0) for name, value in figures.items()}
        crossed, vectors, reduction = fit_cross(
            corpus, CrossFit.of(halves, found), self._cut(self.scales), half, self._shrink(request)
        )
        scores |= {"dimensions": float(vectors.shape[1]), "scored_groups": float(crossed.n_groups)}
        fitted = {"cross_fit": crossed.state_dict(), "reduction": reduction.state_dict()}
        return Encoding(vectors, fitted, scores)

    def _shrink(self, request: EncodeRequest) -> Shrink:
        from fiftyone_deepcluster.features.streaming import LDPO_COMPONENTS, Shrink

        components = LDPO_COMPONENTS if self.pca is None else self.pca
        return Shrink(components, self.l2_normalize, self.sample, derive(request.seed, "reduce"))

    def _elements(
        self, features: torch.Tensor, images: NDArray[np.int64], groups: NDArray[np.int64]
    ) -> tuple[list[NDArray[np.int64]], torch.Tensor, dict[str, float]]:
        """Rows of the merged elements' patches, their detectors (V, D), and scores for the record."""
        from fiftyone_deepcluster.features.patch_mining.detectors import Background, Limit, merge_elements

        found, figures = self._patterns(features, images, groups)
        background = Background.of(features, self.shrinkage)
        limit = Limit(self.merge_score, self.merge_share)
        merged, detectors = merge_elements(
            features, [pattern.patches for pattern in found], background, limit
        )
        figures |= {"patterns": len(found), "elements": len(merged), "mined_patches": len(features)}
        detectors = background.leveled(detectors) if self.level else detectors
        logger.info(
            "patch mining: %(mined_patches)d patches, %(patterns)d patterns, %(rules)d of them rules, %(elements)d "
            "elements; the search was cut short in %(searches_cut)d groups",
            figures,
        )
        return merged, detectors, {name: float(value) for name, value in figures.items()}

    def _are_clusters(self, request: EncodeRequest) -> bool:
        return request.groups is not None and bool((request.groups >= 0).any())

    def _groups(self, n: int, request: EncodeRequest) -> NDArray[np.int64]:
        """(N,) groups to mine in, -1 for none: the last clusters, or random groups."""
        import numpy as np

        if request.groups is not None and self._are_clusters(request):
            return request.groups.cpu().numpy()  # type: ignore[no-any-return]
        count = request.n_groups or max(2, min(100, n // 50))
        return rng(request.seed, "groups").permutation(np.arange(n) % count)

    def _mined(
        self, corpus: Corpus, groups: NDArray[np.int64], seed: int, most: int | None = None
    ) -> tuple[torch.Tensor, NDArray[np.int64]]:
        """Activations (M, D) of the patches of some images of each group, and the image (M,) of each patch.

        The same number of images of each group, as ``mined_patches`` or ``most`` allows; small groups leave theirs to
        the others.
        """
        import numpy as np

        from fiftyone_deepcluster.features.streaming import collect_values

        names, sizes = np.unique(groups[groups >= 0], return_counts=True)
        cut = self._cut(self.scales[:1])
        wanted = max(2 * len(names), (most or self.mined_patches) // cut.count(corpus))
        draw = rng(seed, "mined")
        rows = np.sort(
            np.concatenate(
                [
                    draw.permutation(np.flatnonzero(groups == name))[:quota]
                    for name, quota in zip(names, shares(sizes, wanted), strict=True)
                ]
            )
        )
        corpus.observer.phase("mine", len(rows))
        found = collect_values(
            corpus, rows, lambda some: ((taken, found[0][0]) for taken, found in cut.of(corpus, some))
        )
        return found.flatten(0, 1), np.repeat(rows, found.shape[1])

    def _patterns(
        self, features: torch.Tensor, images: NDArray[np.int64], groups: NDArray[np.int64]
    ) -> tuple[list[Pattern], dict[str, int]]:
        """Patterns of all groups, with their patches as rows of ``features``, and figures for the record.

        Patterns below the confidence are left out, unless no group has a rule, as random groups may.
        """
        import numpy as np

        from fiftyone_deepcluster.features.patch_mining.itemsets import Pattern, Transactions, mine_patterns

        count = min(self.activations, features.shape[1])
        items = np.concatenate([part.topk(count).indices.cpu().numpy() for part in features.split(16_384)])
        everything = Transactions(items, features.shape[1])
        found: list[Pattern] = []
        rules: list[Pattern] = []
        cut = 0
        for group in np.unique(groups[images]):
            rows = np.flatnonzero(groups[images] == group)
            own = Transactions(items[rows], features.shape[1])
            mined = mine_patterns(own, everything, images[rows], self._limits())
            patterns = [Pattern(p.items, p.confidence, rows[p.patches]) for p in mined.patterns]
            rules += patterns[: mined.rules]
            found += patterns
            cut += mined.cut_short
        if not found:
            raise InputError(
                f"patch mining found no pattern in {counted(len(items), 'patch', 'patches')} of "
                f"{counted(len(np.unique(images)), 'image')}; lower "
                f"support={self.support} or shortest={self.shortest}, or use encoder='pooled'"
            )
        return rules or found, {"rules": len(rules), "searches_cut": cut}

    def _limits(self) -> Limits:
        from fiftyone_deepcluster.features.patch_mining.itemsets import Limits

        return Limits(
            support=self.support,
            confidence=self.confidence,
            shortest=self.shortest,
            longest=self.longest,
            wanted=self.patterns,
            overlap=self.overlap,
            searched=self.searched,
        )

    def _cut(self, scales: tuple[float, ...]) -> Patches:
        from fiftyone_deepcluster.features.patch_mining.patches import Patches

        return Patches(self.patches, scales, self.stride, self.layer)

    def _describer(self, corpus: Corpus, detectors: torch.Tensor) -> Describe:
        import torch

        from fiftyone_deepcluster.features.patch_mining.patches import strongest

        cut = self._cut(self.scales)

        def describe(rows: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for taken, scales in cut.of(corpus, rows):
                best = [strongest(found @ detectors.T, middles) for found, middles in scales]
                yield taken, torch.stack(best).amax(dim=0).flatten(1)

        return describe


def shares(sizes: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """How many members of each group to take, ``wanted`` in all: the same number, or all of a smaller group.

    Args:
        sizes: (G,) members of each group.
        wanted: total number; less where the groups have fewer members.
    """
    import numpy as np

    order = np.argsort(sizes, kind="stable")
    taken, left = np.zeros(len(sizes), dtype=np.int64), wanted
    for place, group in enumerate(order):
        each, rest = divmod(left, len(sizes) - place)
        taken[group] = min(int(sizes[group]), each + (rest > 0))
        left -= int(taken[group])
    return taken
