"""The network's features, reduced by PCA, as in DeepCluster and most other methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from fiftyone_deepcluster.features.base import ENCODERS, Encoder, EncodeRequest, Encoding

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self

    from fiftyone_deepcluster.features.corpus import Corpus

DEEPCLUSTER_COMPONENTS = 256
"""PCA dimensions of DeepCluster (Caron et al., section 4)."""

_FEW_IMAGES = 50_000
_FEW_COMPONENTS = 64


@ENCODERS.register
class Pooled(Encoder):
    """The network's features, with PCA if there are many, scaled to length 1.

    ``bands`` separates top from bottom but not left from right: the part of the spatial pyramids of Lazebnik, Schmid
    and Ponce (2006) that is invariant to horizontal flips; so is a grid of ``bands`` and ``columns`` with ``mirror``.
    """

    name: Literal["pooled"] = "pooled"
    pca: int | None = Field(
        None,
        ge=0,
        description="PCA dimensions; 0: no PCA; empty: 256 for large data sets, 64 or none for small ones.",
    )
    whiten: bool | None = Field(
        None, description="Whiten the PCA; empty: for 256 dimensions, as in DeepCluster."
    )
    l2_normalize: bool = Field(
        True,
        description="Scale every vector to length 1; turn off for clusterers that use the length, such as rim.",
    )
    layer: str | None = Field(
        None,
        description="Layer whose maps are averaged, or several separated by commas, each scaled to length 1; empty: "
        "the network's features.",
    )
    bands: int = Field(
        1,
        ge=1,
        le=64,
        description="Horizontal bands that are averaged separately; with layer empty: of the last layer with maps.",
    )
    columns: int = Field(
        1, ge=1, le=64, description="Columns that are averaged separately; bands=2 and columns=2: four cells."
    )
    mirror: bool = Field(
        False, description="Average the features of every image and of its mirror image; takes twice as long."
    )
    augmented: bool = Field(
        False,
        description="Embed a random augmentation of every image, as in training, without layer, bands, columns and "
        "mirror; not for new images.",
    )

    @field_validator("layer", mode="before")
    @classmethod
    def _names(cls, layer: object) -> object:
        """Strip and deduplicate layer names; None if there are none."""
        if not isinstance(layer, str):
            return layer
        return ",".join(dict.fromkeys(name.strip() for name in layer.split(",") if name.strip())) or None

    @model_validator(mode="after")
    def _augmented_excludes_layers(self) -> Self:
        if self.augmented and (self.mirror or not self._plain):
            raise ValueError(
                "augmented=True embeds by the network's features only; leave layer, bands, columns and mirror out"
            )
        return self

    def fit_transform(self, corpus: Corpus, request: EncodeRequest) -> Encoding:
        """See ``Encoder.fit_transform``."""
        from fiftyone_deepcluster.features.reduce import fit_pca, no_pca

        augmented, device = self.augmented, corpus.compute.device
        features = corpus.features(augmented=True, seed=request.seed) if augmented else self._features(corpus)
        n_components, whiten = self.settle(len(features), features.shape[1])
        reduction = (
            fit_pca(features, n_components, whiten=whiten, l2_normalize=self.l2_normalize, device=device)
            if n_components
            else no_pca(l2_normalize=self.l2_normalize)
        )
        return Encoding(reduction.apply(features, device), reduction.state_dict())

    def transform(self, corpus: Corpus, fitted: dict[str, Any]) -> torch.Tensor:
        """See ``Encoder.transform``."""
        from fiftyone_deepcluster.features.reduce import Reduction

        return Reduction.from_state(fitted).apply(self._features(corpus), corpus.compute.device)

    def settle(self, n_images: int, n_features: int) -> tuple[int, bool]:
        """PCA dimensions (0: no PCA) and whether to whiten.

        On small data sets, whitening to 256 dimensions amplifies noise to the level of the signal (MNIST test
        set: k-means NMI falls from .50 to .28), so by default they have 64 dimensions, not whitened.
        """
        large = n_images >= _FEW_IMAGES and n_features > DEEPCLUSTER_COMPONENTS
        if self.pca is None:
            n_components = (
                DEEPCLUSTER_COMPONENTS
                if large
                else (_FEW_COMPONENTS if n_features > 2 * _FEW_COMPONENTS else 0)
            )
        else:
            n_components = self.pca
        return n_components, n_components == DEEPCLUSTER_COMPONENTS if self.whiten is None else self.whiten

    @property
    def _plain(self) -> bool:
        """Whether the network's features are used instead of layer outputs."""
        return self.layer is None and self.bands == self.columns == 1

    def _features(self, corpus: Corpus) -> torch.Tensor:
        found = self._pass(corpus, mirror=False)
        return (found + self._pass(corpus, mirror=True)) / 2 if self.mirror else found

    def _pass(self, corpus: Corpus, *, mirror: bool) -> torch.Tensor:
        """(N, D) features of the images, or of their mirror images."""
        from fiftyone_deepcluster.features.corpus import check_features
        from fiftyone_deepcluster.features.streaming import all_rows, collect_values

        if self._plain:
            return corpus.features(mirror=mirror)
        corpus.observer.phase("embed", len(corpus))
        names = None if self.layer is None else self.layer.split(",")
        found = collect_values(
            corpus,
            all_rows(corpus),
            lambda rows: (
                (taken, self._joined(maps)) for taken, maps in corpus.maps_of(rows, names, mirror=mirror)
            ),
        )
        return check_features(found)

    def _joined(self, layers: list[torch.Tensor]) -> torch.Tensor:
        """(B, ...) outputs of layers -> (B, D) float32."""
        import torch
        from torch.nn import functional

        from fiftyone_deepcluster.features.streaming import averaged

        parts = [averaged(maps, self.bands, self.columns) for maps in layers]
        return (
            parts[0] if len(parts) == 1 else torch.cat([functional.normalize(part) for part in parts], dim=1)
        )
