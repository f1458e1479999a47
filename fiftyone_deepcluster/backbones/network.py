"""The network that the loop trains: images in, features and logits out, with a replaceable head."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import skip_init

from fiftyone_deepcluster.backbones.dropout import replace_dropout, seed_dropout
from fiftyone_deepcluster.backbones.input_norms import channels_after, make_input_norm
from fiftyone_deepcluster.core.types import Outputs

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.base import Backbone, InputNormName

LEVEL_LENGTH = 10.0
"""Length to which features are scaled before the head with ``level_before_head``.

The curvature of a softmax layer's loss on vectors of length r is at most r² / 2, so gradient descent is stable up to a
learning rate of 4 / r²: 0.04 for this length, where 0.01 is usual for a new layer on pre-trained features; 0.003 for
1,280 unscaled features of standard deviation 1, whose length is 36."""


def build_network(
    backbone: Backbone, input_norm: InputNormName, shape: tuple[int, int], weights: str | None = None
) -> Network:
    """A network without a head.

    Args:
        backbone: builds the module.
        input_norm: name of the fixed first layer.
        shape: channels (1 or 3) and side in pixels of the images.
        weights: as for ``Backbone.build``.

    Raises:
        OptionsError: the backbone does not suit such images, has no such weights, or states no mean and deviation
            for ``input_norm="model"``.
    """
    channels, size = shape
    body = backbone.build(channels_after(input_norm, channels), size, weights)
    first = make_input_norm(input_norm, channels, body)
    return Network(first, body, relu_before_head=bool(body.relu_before_head))


class Network(nn.Module):
    """Input norm, backbone and head.

    ``features`` are the vectors that are clustered: the backbone's output *before* its last ReLU where it ends in
    one (``relu_before_head``), as in DeepCluster; that ReLU is then applied before the head.

    Args:
        input_norm: fixed first layer.
        backbone: (B, C, H, W) -> (B, D), with an attribute ``dim`` = D.
        relu_before_head: apply a ReLU to the features before the head.
        level_before_head: normalize the features before the head (after that ReLU) to mean 0 and length
            ``LEVEL_LENGTH`` per image. Pre-trained backbones differ in scale: SqueezeNet's features are ten times as
            long as MobileNetV2's, and a learning rate that suits one makes the head of the other diverge.
    """

    def __init__(
        self,
        input_norm: nn.Module,
        backbone: nn.Module,
        *,
        relu_before_head: bool = False,
        level_before_head: bool = False,
    ) -> None:
        super().__init__()
        self.input_norm = input_norm
        self.backbone = replace_dropout(backbone)
        self.relu_before_head = relu_before_head
        self.level_before_head = level_before_head
        self.head: nn.Linear | None = None

    @property
    def dim(self) -> int:
        """Number of features."""
        return int(self.backbone.dim)  # type: ignore[arg-type]

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the head; 0 without a head."""
        return 0 if self.head is None else self.head.out_features

    def forward(self, *views: torch.Tensor) -> Outputs:
        """Views (B, C, H, W) float in 0..1, each of its own size -> features (sum of B, D), logits (sum of B, K)."""
        # Further views first: the running statistics of batch norm are dominated by the last view.
        parts = [self.features(images) for images in reversed(views)]
        return self.outputs_of(parts[0] if len(parts) == 1 else torch.cat(parts[::-1]))

    def outputs_of(self, features: torch.Tensor) -> Outputs:
        """Features (B, D) -> the same and logits (B, K)."""
        if self.head is None:
            return Outputs(features, features.new_zeros(len(features), 0))
        return Outputs(features, self.head(self._for_head(features)))

    def _for_head(self, features: torch.Tensor) -> torch.Tensor:
        seen = features.relu() if self.relu_before_head else features
        if not self.level_before_head:
            return seen
        leveled: torch.Tensor = nn.functional.layer_norm(seen, seen.shape[1:])
        return leveled * (LEVEL_LENGTH / math.sqrt(seen.shape[1]))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) float in 0..1 -> (B, D) features, without the head."""
        return self.backbone(self.input_norm(images))  # type: ignore[no-any-return]

    def replace_head(self, n_outputs: int, seed: int) -> None:
        """Set a new linear head: weights N(0, 0.01), biases 0 (Caron et al.; their released code)."""
        device = next(self.parameters(), torch.empty(0)).device
        head = skip_init(nn.Linear, self.dim, n_outputs)  # does not use torch's global generator
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            head.weight.copy_(torch.randn(n_outputs, self.dim, generator=generator) * 0.01)
            head.bias.zero_()
        self.head = head.to(device)

    def set_prototypes(self, prototypes: torch.Tensor) -> None:
        """Set a frozen head without biases: logits are the dot products of the features with (K, D)."""
        head = skip_init(nn.Linear, self.dim, len(prototypes), bias=False)
        with torch.no_grad():
            head.weight.copy_(prototypes)
        self.head = head.requires_grad_(False).to(next(self.parameters(), torch.empty(0)).device)

    def seed_dropout(self, seed: int) -> None:
        """Reset the random generator of the dropout layers."""
        seed_dropout(self, seed, next(self.parameters(), torch.empty(0)).device)

    def load_with_head(self, state: dict[str, torch.Tensor]) -> None:
        """Load a state dict, and set a head of the size it holds, with or without biases."""
        weight = state.get("head.weight")
        self.head = None
        if weight is not None and "head.bias" in state:
            self.replace_head(len(weight), seed=0)
        elif weight is not None:
            self.set_prototypes(weight)
        self.load_state_dict(state)
