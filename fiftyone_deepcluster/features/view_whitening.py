"""Features whitened by the covariance between the views of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.features.base import ENCODERS, Encoder, EncodeRequest, Encoding

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from fiftyone_deepcluster.backbones.layers import Layer
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.features.views import Views

LAYER_WEIGHTS = (1.0, 0.7, 0.5)
"""Weights of the last layer, of the one before, and of all others."""


@ENCODERS.register
class ViewWhitened(Encoder):
    """View-whitened: mean features of several views, whitened by the covariance between views of one image.

    The mean over the views of an image, less the mean over all images, is multiplied by (W + s t I)^(-1/2): W is the
    covariance of the features within images, t its mean variance, s ``strength``. Directions that differ between views
    of one image (position, size, light) lose weight, those that distinguish images keep it. It is the within-class
    covariance normalization of speaker recognition (Hatch, Kajarekar and Stolcke 2006) with an image as the class.
    Whitening by the total covariance, as with PCA, reduces both.

    Covariances are summed batch by batch; memory holds one vector for each image and layer.
    """

    name: Literal["view-whitened"] = "view-whitened"
    views: int = Field(
        10,
        ge=2,
        le=100,
        description="Views of every image: the image, its mirror image, and crops; time grows with them.",
    )
    strength: float = Field(
        1.0, gt=0, description="Added to the variances, relative to their mean; larger values whiten less."
    )
    layer: str | None = Field(
        None,
        description="Layers, separated by commas, or auto: the features, the next to last layer with maps, and the "
        "last one before the last reduction of the maps; empty: the features.",
    )
    layer_weights: str | None = Field(
        None,
        description="One weight for each layer, separated by commas, the last layer first; empty: 1, 0.7, then 0.5.",
    )
    crop: float = Field(0.35, gt=0, le=1, description="Minimum area of a crop, as a share of the image.")
    jitter: float = Field(
        0.3, ge=0, lt=1, description="Maximum change of brightness and contrast of a crop, as a fraction."
    )
    l2_normalize: bool = Field(True, description="Scale every vector to length 1.")

    @field_validator("layer_weights")
    @classmethod
    def _numbers(cls, weights: str | None) -> str | None:
        """Check that the weights are positive numbers."""
        if weights is None or not weights.strip():
            return None
        try:
            numbers = [float(part) for part in weights.split(",")]
        except ValueError:
            numbers = [0.0]
        if not all(0 < number < float("inf") for number in numbers):
            raise ValueError(
                f"layer_weights={weights!r}: give numbers above 0, separated by commas, such as '1, 0.7'"
            )
        return weights

    @property
    def view_settings(self) -> Views:
        """The views of every image."""
        from fiftyone_deepcluster.features.views import Views

        return Views(self.views, self.crop, self.jitter)

    def fit_transform(self, corpus: Corpus, request: EncodeRequest) -> Encoding:
        """See ``Encoder.fit_transform``."""
        import torch

        means, scatters, n_views = _view_means(corpus, self.view_settings, self._layers(corpus))
        fitted: dict[str, Any] = {"means": [], "matrices": []}
        for mean, scatter in zip(means, scatters, strict=True):
            center = mean.mean(dim=0, dtype=torch.float64).float()
            matrix = _inverse_root(scatter / (len(corpus) * (n_views - 1)), self.strength).float()
            length = ((mean - center) @ matrix.to(mean)).norm(dim=1).mean().clamp_min(1e-12)
            fitted["means"].append(center.cpu())
            fitted["matrices"].append((matrix / length.to(matrix)).cpu())
        vectors = self._joined(means, fitted)
        return Encoding(vectors, fitted, widths=tuple(mean.shape[1] for mean in means))

    def transform(self, corpus: Corpus, fitted: dict[str, Any]) -> torch.Tensor:
        """See ``Encoder.transform``."""
        return self._joined(_view_means(corpus, self.view_settings, self._layers(corpus))[0], fitted)

    def _joined(self, means: list[torch.Tensor], fitted: dict[str, Any]) -> torch.Tensor:
        """The whitened means of all layers, of mean length their weights, as one vector for each image.

        With ``l2_normalize`` every part is scaled to the length of its weight, and then the whole vector to length 1.
        """
        import torch
        from torch.nn.functional import normalize

        weights = self._weights(len(means))
        parts = [
            (mean - center.to(mean)) @ matrix.to(mean)
            for mean, center, matrix in zip(means, fitted["means"], fitted["matrices"], strict=True)
        ]
        if self.l2_normalize:
            parts = [normalize(part) for part in parts]
        joined = torch.cat([weight * part for weight, part in zip(weights, parts, strict=True)], dim=1)
        return normalize(joined) if self.l2_normalize else joined

    def _weights(self, n: int) -> list[float]:
        if self.layer_weights is None:
            return [*LAYER_WEIGHTS, *LAYER_WEIGHTS[-1:] * n][:n]
        weights = [float(part) for part in self.layer_weights.split(",")]
        if len(weights) != n:
            raise OptionsError(
                f"layer_weights={self.layer_weights!r} has {len(weights)} numbers for {n} layers; give one for each"
            )
        return weights

    def _layers(self, corpus: Corpus) -> list[Layer]:
        """The layers, the last one first."""
        from fiftyone_deepcluster.backbones.layers import FEATURES_LAYER, choose_layers
        from fiftyone_deepcluster.features.view_outputs import FEATURES

        if self.layer is None:
            return [FEATURES]
        if self.layer == "auto":
            return [FEATURES, *_before_features(corpus)]
        names = [name.strip() for name in self.layer.split(",") if name.strip()]
        chosen = choose_layers(corpus.layers(), [n for n in names if n != FEATURES_LAYER], "layer")
        return [*[FEATURES] * (FEATURES_LAYER in names), *reversed(chosen)]


def _before_features(corpus: Corpus) -> list[Layer]:
    """The next to last layer with maps, and the last one with larger maps; one or none where they are the same."""
    from fiftyone_deepcluster.backbones.cut import larger_maps

    layers = corpus.layers()
    maps = [layer for layer in layers if len(layer.shape) == 3 and layer.shape[1] > 1]
    return list(dict.fromkeys([*maps[-2:-1], *larger_maps(layers)[-1:]]))


def _view_means(
    corpus: Corpus, views: Views, layers: Sequence[Layer]
) -> tuple[list[torch.Tensor], list[torch.Tensor], int]:
    """For each layer the means over the views (N, D) and the within-image scatter (D, D); and the number of views.

    Every feature vector is scaled to length 1 first.
    """
    from torch.nn.functional import normalize

    from fiftyone_deepcluster.features.view_outputs import view_outputs

    means: list[torch.Tensor] = []
    scatters: list[torch.Tensor] = []
    n_views = 0
    corpus.observer.phase("embed", len(corpus))
    for rows, outputs in view_outputs(corpus, views, layers):
        if not means:
            means, scatters = _zeros(corpus, outputs)
        for mean, scatter, values in zip(means, scatters, outputs, strict=True):
            found = normalize(values, dim=2)
            middle = found.mean(dim=0)
            n_views = len(found)
            mean[rows.to(mean.device)] = middle.to(mean.device)
            deviations = (found - middle).flatten(0, 1)
            scatter.add_((deviations.T @ deviations).double())
    return (
        [corpus.compute.sum_shards(mean) for mean in means],
        [corpus.compute.all_reduce_sum(scatter) for scatter in scatters],
        n_views,
    )


def _zeros(corpus: Corpus, outputs: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Means (N, D) float32 and scatters (D, D) float64 for outputs (V, B, D), all zero."""
    import torch

    n, widths = len(corpus), [values.shape[2] for values in outputs]
    means = [torch.zeros(n, width, device=corpus.compute.device_for(n * width)) for width in widths]
    device = outputs[0].device
    return means, [torch.zeros(width, width, dtype=torch.float64, device=device) for width in widths]


def _inverse_root(within: torch.Tensor, strength: float) -> torch.Tensor:
    """(within + strength · mean variance · I)^(-1/2), (D, D) float64, in the basis of its eigenvectors."""
    import torch

    values, vectors = torch.linalg.eigh(within)
    added = strength * values.clamp_min(0).mean().clamp_min(1e-12)
    # The sign of an eigenvector is arbitrary: fix it, so that equal data give equal vectors.
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return vectors * largest.sign() / (values.clamp_min(0) + added).sqrt()  # type: ignore[no-any-return]
