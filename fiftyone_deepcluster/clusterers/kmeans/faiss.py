"""Lloyd's iteration by faiss: on the vectors' GPU if they are on one and faiss supports it, else on the CPU."""

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
    kmeans = faiss.Kmeans(
        dim,
        n_clusters,
        niter=settings.max_iter,
        spherical=settings.spherical,
        seed=settings.seed,
        # The caller samples; faiss' default limits would drop vectors or print warnings.
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors) // n_clusters + 1,
    )
    if vectors.device.type == "cuda" and getattr(faiss, "get_num_gpus", int)():
        # Its option ``gpu`` takes the first GPUs; the index decides where the work is done.
        resources = faiss.StandardGpuResources()
        kmeans.index = faiss.index_cpu_to_gpu(resources, vectors.device.index or 0, kmeans.index)
    kmeans.train(vectors.cpu().numpy(), init_centroids=centers.cpu().numpy())
    return torch.from_numpy(kmeans.centroids).to(vectors), settings.max_iter
