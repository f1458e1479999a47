"""Bag-of-descriptors encodings of convolutional feature maps: base class of VLAD and the Fisher vector.

Every cell of a map is a local descriptor of C values. A codebook is fitted to the descriptors of a sample of images,
each image is encoded by the differences of its descriptors from the codebook, and the long codes are reduced by PCA.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.features.base import Encoder, EncodeRequest, Encoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus

Codebook = dict[str, "torch.Tensor"]


class CodebookEncoder(Encoder):
    """Base class of encoders that encode the maps of a layer by a codebook."""

    title: ClassVar[str]

    layer: str | None = Field(
        None,
        description="Layer whose feature maps are encoded, such as conv5; empty: the last one with maps.",
    )
    words: int = Field(64, ge=1, le=4096, description="Codebook size (visual words).")
    pca: int | None = Field(
        None, ge=0, description="PCA dimensions; 0: no PCA; empty: 4096, or as many as the sample allows."
    )
    l2_normalize: bool = Field(True, description="Scale every vector to length 1 after the PCA.")
    sample: int = Field(5000, ge=2, description="Randomly drawn images to which codebook and PCA are fitted.")
    descriptors: int = Field(
        256_000, ge=1, description="Maximum number of local descriptors to which the codebook is fitted."
    )

    @abstractmethod
    def learn(self, descriptors: torch.Tensor, seed: int) -> Codebook:
        """Fit a codebook to descriptors (M, C); returns tensors by name."""

    @abstractmethod
    def describe(self, cells: torch.Tensor, codebook: Codebook) -> torch.Tensor:
        """(B, P, C) descriptors of B images -> (B, L) codes."""

    def fit_transform(self, corpus: Corpus, request: EncodeRequest) -> Encoding:
        """See ``Encoder.fit_transform``."""
        from fiftyone_deepcluster.features.streaming import LDPO_COMPONENTS, Shrink, reduce_streamed

        codebook = self.learn(self._cells(corpus, request.seed), derive(request.seed, "codebook"))
        corpus.compute.broadcast(codebook.values())
        shrink = Shrink(
            LDPO_COMPONENTS if self.pca is None else self.pca,
            self.l2_normalize,
            self.sample,
            derive(request.seed, "reduce"),
        )
        vectors, reduction = reduce_streamed(corpus, self._describer(corpus, codebook), shrink, self.title)
        fitted = {
            "codebook": {name: values.cpu() for name, values in codebook.items()},
            "reduction": reduction.state_dict(),
        }
        return Encoding(vectors, fitted, {"dimensions": float(vectors.shape[1])})

    def transform(self, corpus: Corpus, fitted: dict[str, Any]) -> torch.Tensor:
        """See ``Encoder.transform``."""
        from fiftyone_deepcluster.features.reduce import Reduction
        from fiftyone_deepcluster.features.streaming import apply_streamed

        codebook = {name: v.to(corpus.compute.device) for name, v in fitted["codebook"].items()}
        reduction = Reduction.from_state(fitted["reduction"])
        return apply_streamed(corpus, self._describer(corpus, codebook), reduction)

    def _cells(self, corpus: Corpus, seed: int) -> torch.Tensor:
        """(M, C) descriptors of a sample of the images, equally many per image."""
        import torch

        from fiftyone_deepcluster.core.devices import send
        from fiftyone_deepcluster.features.streaming import collect_values, sample_rows

        rows = sample_rows(len(corpus), self.sample, derive(seed, "images"))
        each = max(1, self.descriptors // len(rows))
        generator = torch.Generator().manual_seed(derive(seed, "cells", corpus.compute.rank))

        def drawn(some: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for taken, maps in corpus.maps(some, self.layer):
                cells = cells_of(maps)
                chosen = torch.rand(cells.shape[:2], generator=generator).argsort(dim=1)[:, :each]
                places = send(chosen, cells.device)[:, :, None].expand(-1, -1, cells.shape[2])
                yield taken, cells.gather(1, places)

        corpus.observer.phase("codebook", len(rows))
        return collect_values(corpus, rows, drawn).flatten(0, 1)

    def _describer(self, corpus: Corpus, codebook: Codebook) -> Any:
        def describe(rows: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for taken, maps in corpus.maps(rows, self.layer):
                yield taken, self.describe(cells_of(maps), codebook)

        return describe


def cells_of(maps: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) maps -> (B, H·W, C) descriptors; a layer without maps gives one per image."""
    return maps.flatten(2).transpose(1, 2) if maps.ndim > 2 else maps[:, None, :]


def normalized(long: torch.Tensor) -> torch.Tensor:
    """(B, L): sign(z)·sqrt|z| elementwise, then length 1 (Perronnin et al. 2010, improved Fisher vector)."""
    from torch.nn import functional

    return functional.normalize(long.sign() * long.abs().sqrt(), dim=1)
