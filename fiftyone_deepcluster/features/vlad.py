"""VLAD of convolutional maps: residuals of an image's local descriptors to the nearest codebook words."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from fiftyone_deepcluster.features.base import ENCODERS
from fiftyone_deepcluster.features.codebook import Codebook, CodebookEncoder

if TYPE_CHECKING:
    import torch


@ENCODERS.register
class Vlad(CodebookEncoder):
    """VLAD: residuals of a layer's local descriptors to the nearest of 64 words, summed per word, then PCA.

    Jégou et al. 2010, as used by LDPO (Wang et al., section 3.1): 64 k-means centers, 64 x 256 = 16,384 values from
    AlexNet's conv5 and 64 x 1024 = 65,536 from GoogLeNet's Inception5b, reduced to 4,096. The paper gives no
    normalization: square root and L2 normalization are the usual defaults.
    """

    name: Literal["vlad"] = "vlad"
    title: ClassVar[str] = "VLAD"

    def learn(self, descriptors: torch.Tensor, seed: int) -> Codebook:
        """K-means centers (words, C); fewer for fewer distinct descriptors."""
        from fiftyone_deepcluster.clusterers.base import ClusterRequest
        from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans

        words = min(self.words, len(descriptors))
        found = KMeans(n_init=1).cluster(descriptors, ClusterRequest(words, seed))
        return {"centers": found.centers}

    def describe(self, cells: torch.Tensor, codebook: Codebook) -> torch.Tensor:
        """(B, P, C) -> (B, words·C): for each word c the sum of x - c over its descriptors x, normalized."""
        from torch.nn import functional

        from fiftyone_deepcluster.clusterers.distances import nearest_centers
        from fiftyone_deepcluster.features.codebook import normalized

        centers = codebook["centers"]
        nearest = nearest_centers(cells.flatten(0, 1), centers)[0].view(cells.shape[:2])
        member = functional.one_hot(nearest, len(centers)).to(cells.dtype)  # (B, P, K)
        sums = member.transpose(1, 2) @ cells - member.sum(dim=1)[:, :, None] * centers
        return normalized(sums.flatten(1))
