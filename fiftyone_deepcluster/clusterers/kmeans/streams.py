"""Centers that follow a stream of vectors: the update of mini-batch k-means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.clusterers.distances import nearest_two, sums

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.core.devices import Compute


class Centroids:
    """K centers, each the running mean of the vectors it was given (Sculley 2010; Hsu and Lin, eq. 2 and 3).

    Nothing but the centers and their counts is kept, so any number of vectors may come by.

    Args:
        centers: (K, D) float32 to begin with. They weigh nothing: 1 / count is 1 for a center's first
            vector, which takes its place.
    """

    def __init__(self, centers: torch.Tensor) -> None:
        import torch

        self.centers = centers.clone()
        self.counts = torch.zeros(len(centers), dtype=torch.float64, device=centers.device)
        self._idle = torch.zeros_like(self.counts)

    def __len__(self) -> int:
        return len(self.centers)

    def nearest(self, vectors: torch.Tensor) -> torch.Tensor:
        """(B,) int64, the center of each vector (B, D)."""
        return nearest_two(vectors, self.centers)[0]

    def update(self, vectors: torch.Tensor, labels: torch.Tensor, compute: Compute | None = None) -> None:
        """Move every center towards its vectors: c <- (1 - g) c + g h with g = 1 / count, one after the other.

        As g is 1 / count, a batch's m vectors in any order come to c <- c + (sum h - m c) / (count + m),
        which is done at once.

        Args:
            vectors: (B, D) float32.
            labels: (B,) int64, the center of each.
            compute: the processes that share the stream; None: this one alone.
        """
        import torch

        given = torch.bincount(labels, minlength=len(self))[:, None]
        added = torch.cat([sums(vectors, labels, len(self)).double(), given.double()], dim=1)
        if compute is not None:
            added = compute.all_reduce_sum(added)
        given = added[:, -1:]
        self.counts += given[:, 0]
        shift = added[:, :-1] - given * self.centers
        self.centers += (shift / self.counts.clamp_min(1.0)[:, None]).to(self.centers)
        self._idle = torch.where(given[:, 0] > 0, 0.0, self._idle + given.sum())

    def revive(
        self, vectors: torch.Tensor, labels: torch.Tensor, patience: int, compute: Compute | None = None
    ) -> int:
        """Put every dead center on the vector that is farthest from its own center.

        Args:
            vectors: (B, D), the last batch.
            labels: (B,) their centers.
            patience: a center that got none of the last ``patience`` vectors is dead.
            compute: the processes that share the stream; None: this one alone.

        Returns:
            How many were moved.
        """
        dead = (self._idle >= patience).nonzero()[:, 0]
        if not len(dead):
            return 0
        far = (vectors - self.centers[labels]).square().sum(dim=1)
        chosen = far.topk(min(len(dead), len(far))).indices
        chosen = chosen[far[chosen] > 0]
        moved = dead[: len(chosen)]
        self.centers[moved] = vectors[chosen].to(self.centers)
        self.forget(moved)
        if compute is not None:
            compute.broadcast([self.centers, self.counts, self._idle])
        return len(moved)

    def forget(self, which: torch.Tensor | None = None) -> None:
        """Count anew, so that the next vectors weigh as the first ones: all centers, or those of (M,) ids."""
        for values in (self.counts, self._idle):
            values[slice(None) if which is None else which] = 0.0

    def to(self, device: torch.device) -> Centroids:
        """Move to ``device``, in place."""
        self.centers, self.counts, self._idle = (
            part.to(device) for part in (self.centers, self.counts, self._idle)
        )
        return self

    def state_dict(self) -> dict[str, Any]:
        """Centers, counts, and for how many vectors each center has been idle."""
        return {"centers": self.centers, "counts": self.counts, "idle": self._idle}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Centroids:
        """Go on from ``state_dict``."""
        found = cls(state["centers"])
        found.counts, found._idle = state["counts"].clone(), state["idle"].clone()
        return found
