"""A network as the loop sees it: images in, features and logits out, and a head that can be renewed."""

from __future__ import annotations

import torch
from torch import nn

from fiftyone_deepcluster.types import Outputs


class Network(nn.Module):
    """Front, trunk and head.

    ``features`` are what is clustered: the trunk's output *before* its last ReLU where the trunk ends in
    one (``relu_before_head``), as DeepCluster does; the head applies that ReLU itself.

    Args:
        front: fixed first layer.
        trunk: (B, C, H, W) -> (B, D), with an attribute ``dim`` = D.
        relu_before_head: the head sees relu(features).
    """

    def __init__(self, front: nn.Module, trunk: nn.Module, *, relu_before_head: bool = False) -> None:
        super().__init__()
        self.front = front
        self.trunk = trunk
        self.relu_before_head = relu_before_head
        self.head: nn.Linear | None = None

    @property
    def dim(self) -> int:
        """Dimensions of the features."""
        return int(self.trunk.dim)  # type: ignore[arg-type]

    @property
    def n_outputs(self) -> int:
        """Outputs of the head; 0 where there is none yet."""
        return 0 if self.head is None else self.head.out_features

    def forward(self, images: torch.Tensor) -> Outputs:
        """(B, C, H, W) float in 0..1 -> features (B, D) and logits (B, K)."""
        features = self.trunk(self.front(images))
        if self.head is None:
            return Outputs(features, features.new_zeros(len(features), 0))
        return Outputs(features, self.head(features.relu() if self.relu_before_head else features))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) float in 0..1 -> (B, D) features, without the head."""
        return self.trunk(self.front(images))  # type: ignore[no-any-return]

    def replace_head(self, n_outputs: int, seed: int) -> None:
        """A new linear head: weights N(0, 0.01), biases 0 (Caron et al.; their released code)."""
        device = next(self.parameters(), torch.empty(0)).device
        head = nn.Linear(self.dim, n_outputs)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            head.weight.copy_(torch.randn(n_outputs, self.dim, generator=generator) * 0.01)
            head.bias.zero_()
        self.head = head.to(device)

    def load_with_head(self, state: dict[str, torch.Tensor]) -> None:
        """Load a state dict, with a head of the size that the state has."""
        weight = state.get("head.weight")
        self.head = None
        if weight is not None:
            self.replace_head(len(weight), seed=0)
        self.load_state_dict(state)
