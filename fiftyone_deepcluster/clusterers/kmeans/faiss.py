"""Lloyd's iteration by faiss: on a GPU if faiss supports it and the vectors are on one, else on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.errors import MissingDependencyError

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.clusterers.kmeans.lloyd import LloydSettings


def faiss_lloyd(
    vectors: torch.Tensor, centers: torch.Tensor, settings: LloydSettings
) -> tuple[torch.Tensor, int]:
    """As ``lloyd.lloyd``, but always ``max_iter`` iterations, since faiss has no tolerance.

    Raises:
        MissingDependencyError: faiss is not installed.
    """
    import torch

    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            'backend="faiss" needs faiss; pip install faiss-cpu (or faiss-gpu), or use backend="torch"'
        ) from error
    n_clusters, dim = centers.shape
    on_gpu = vectors.device.type == "cuda" and getattr(faiss, "get_num_gpus", int)() > 0
    kmeans = faiss.Kmeans(
        dim,
        n_clusters,
        niter=settings.max_iter,
        spherical=settings.spherical,
        seed=settings.seed,
        gpu=1 if on_gpu else False,
        # The caller samples; faiss' default limits would drop vectors or print warnings.
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors) // n_clusters + 1,
    )
    kmeans.train(vectors.cpu().numpy(), init_centroids=centers.cpu().numpy())
    return torch.from_numpy(kmeans.centroids).to(vectors), settings.max_iter
