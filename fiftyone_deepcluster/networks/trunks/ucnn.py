"""UCNN's trunk, so that every method can take it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fiftyone_deepcluster.networks.trunks.base import TRUNKS, FrontName, Trunk

if TYPE_CHECKING:
    from torch import nn


@TRUNKS.register
class UCNNTrunk(Trunk):
    """UCNN: AlexNet's convolutions, three more with a global maximum, and a linear layer (Hsu and Lin).

    The defaults are sizes for images up to 64 pixels with random weights. The paper's are ``width`` 1,
    ``adapted`` 1, ``maps`` and ``dim`` as many as clusters, and no norm.
    """

    name: Literal["ucnn"] = "ucnn"
    maps: int = Field(64, ge=2, le=65_536, description="Channels of conv8; the paper: one a cluster.")
    dim: int = Field(128, ge=2, le=65_536, description="Features of an image, the outputs of FC9.")
    width: float = Field(0.25, gt=0, le=4, description="Share of AlexNet's channels in conv1-5.")
    adapted: float = Field(
        1 / 32, gt=0, le=4, description="Share of the paper's 6144 and 2048 channels in conv6 and conv7."
    )
    norm: Literal["none", "batch"] = Field(
        "batch",
        description="After every layer but conv8; the paper has none and starts from trained weights.",
    )

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Trunk.build``."""
        from fiftyone_deepcluster.networks.ucnn import UCNN, Layout, load_weights

        layout = Layout(self.maps, self.dim, self.width, self.adapted, self.norm)
        return load_weights(UCNN(channels, size, layout), weights)

    @property
    def front(self) -> FrontName:
        """Mean 0 and deviation 1 per image."""
        return "zscore"
