"""Online centers of a stream of vectors: the update of mini-batch k-means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.clusterers.distances import nearest_two, sizes_of, sums

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.core.devices import Compute


class Centroids:
    """K centers, each the running mean of the vectors assigned to it (Sculley 2010; Hsu and Lin, eq. 2 and 3).

    Only centers and counts are kept, so the stream may have any length.

    Args:
        centers: (K, D) float32 initial centers. They have no weight: a center's first vector replaces it, since
            1 / count is then 1.
    """

    def __init__(self, centers: torch.Tensor) -> None:
        import torch

        self.centers = centers.clone()
        self.counts = torch.zeros(len(centers), dtype=torch.float64, device=centers.device)
        self._idle = torch.zeros_like(self.counts)

    def __len__(self) -> int:
        return len(self.centers)

    def nearest(self, vectors: torch.Tensor) -> torch.Tensor:
        """(B,) int64, the nearest center of each vector (B, D)."""
        return nearest_two(vectors, self.centers)[0]

    def update(self, vectors: torch.Tensor, labels: torch.Tensor, compute: Compute | None = None) -> None:
        """Move every center toward its vectors: c <- (1 - g) c + g h with g = 1 / count, for each vector h.

        As g is 1 / count, the m vectors of a batch in any order amount to c <- c + (sum h - m c) / (count + m),
        which is computed in one step.

        Args:
            vectors: (B, D) float32.
            labels: (B,) int64, the center of each.
            compute: the processes that share the stream; None: a single process.
        """
        import torch

        given = sizes_of(labels, len(self))[:, None]
        added = torch.cat([sums(vectors, labels, len(self)).double(), given.double()], dim=1)
        if compute is not None:
            added = compute.all_reduce_sum(added)
        given = added[:, -1:]
        self.counts += given[:, 0]
        shift = added[:, :-1] - given * self.centers
        self.centers += (shift / self.counts.clamp_min(1.0)[:, None]).to(self.centers)
        self._idle = torch.where(given[:, 0] > 0, 0.0, self._idle + given.sum())

    def revive(
        self, vectors: torch.Tensor, labels: torch.Tensor, *, patience: int, compute: Compute | None = None
    ) -> int:
        """Move dead centers to the vectors that are farthest from their own centers.

        Args:
            vectors: (B, D), the last batch.
            labels: (B,), their centers.
            patience: a center is dead if it got none of the last ``patience`` vectors.
            compute: the processes that share the stream; None: a single process.

        Returns:
            Number of centers moved.
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
        """Reset the counts of all centers, or of those with indices (M,), so that their next vector replaces them."""
        for values in (self.counts, self._idle):
            values[slice(None) if which is None else which] = 0.0

    def to(self, device: torch.device) -> Centroids:
        """Move to ``device``, in place."""
        self.centers, self.counts, self._idle = (
            part.to(device) for part in (self.centers, self.counts, self._idle)
        )
        return self

    def state_dict(self) -> dict[str, Any]:
        """Centers, counts, and the number of vectors since each center was last assigned one."""
        live = {"centers": self.centers, "counts": self.counts, "idle": self._idle}
        return {name: values.cpu().clone() for name, values in live.items()}  # the originals change in place

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Centroids:
        """Restore from ``state_dict``."""
        found = cls(state["centers"])
        found.counts, found._idle = state["counts"].clone(), state["idle"].clone()
        return found
