"""K-means against a plain Lloyd iteration, faiss and its own properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import kmeans_plusplus

from fiftyone_deepcluster.clusterers import distances
from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.kmeans import lloyd as lloyd_module
from fiftyone_deepcluster.clusterers.kmeans.bounds import Assigner
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans, default_n_init
from fiftyone_deepcluster.clusterers.kmeans.faiss import faiss_lloyd
from fiftyone_deepcluster.clusterers.kmeans.lloyd import (
    LloydSettings,
    final_assignment,
    lloyd,
    split_for_empty,
)
from fiftyone_deepcluster.clusterers.kmeans.seeding import first_centers
from tests.pretend_cuda import PretendedTensor, pretended_gpu


def slow_nearest(vectors: np.ndarray, centers: np.ndarray) -> np.ndarray:
    labels = np.empty(len(vectors), np.int64)
    for row, vector in enumerate(vectors):
        labels[row] = np.argmin([np.sum((vector - center) ** 2) for center in centers])
    return labels


def slow_lloyd(vectors: np.ndarray, centers: np.ndarray, max_iter: int) -> tuple[np.ndarray, np.ndarray]:
    centers = centers.astype(np.float64)
    for _ in range(max_iter):
        labels = slow_nearest(vectors, centers)
        centers = np.stack([vectors[labels == k].mean(axis=0) for k in range(len(centers))])
    return slow_nearest(vectors, centers), centers


def mixture(n: int, dim: int, parts: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    middles = torch.randn(parts, dim, generator=generator)
    which = torch.randint(parts, (n,), generator=generator)
    return middles[which] + torch.randn(n, dim, generator=generator)


@pytest.mark.parametrize("max_iter", [1, 3, 15])
def test_lloyd_equals_a_plain_loop(digits, max_iter):
    start = digits[:10]
    labels, centers = slow_lloyd(digits.numpy().astype(np.float64), start.numpy(), max_iter)
    part = KMeans(max_iter=max_iter, tolerance=0, n_init=1)
    found = part.cluster(digits, ClusterRequest(10, init_centers=start))
    assert np.array_equal(found.labels, labels)
    objective = np.sum((digits.numpy() - centers[labels]) ** 2)
    assert found.objective == pytest.approx(objective, rel=1e-5)


def test_lloyd_equals_faiss_from_the_same_centers():
    vectors = mixture(4000, 32, 40, seed=0)
    schedule = LloydSettings(12, 0.0, False, 0)
    start = vectors[:64].clone()
    ours, theirs = lloyd(vectors, start, schedule)[0], faiss_lloyd(vectors, start, schedule)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    assert torch.equal(distances.nearest_two(vectors, ours)[0], distances.nearest_two(vectors, theirs)[0])


@pytest.mark.parametrize("spherical", [False, True])
def test_backends_reach_the_same_objective(digits, spherical):
    vectors = torch.nn.functional.normalize(digits, dim=1) if spherical else digits
    found = {
        backend: KMeans(backend=backend, spherical=spherical, n_init=3).cluster(
            vectors, ClusterRequest(10, 4)
        )
        for backend in ("torch", "faiss", "auto")
    }
    assert found["torch"].objective == pytest.approx(found["faiss"].objective, rel=0.01)
    assert torch.equal(found["auto"].labels, found["torch"].labels)


def test_objective_as_good_as_faiss_from_its_own_start():
    import faiss

    vectors = mixture(8000, 24, 60, seed=1)
    theirs = faiss.Kmeans(24, 100, niter=20, seed=0)
    theirs.train(vectors.numpy())
    objective = distances.nearest_two(vectors, torch.from_numpy(theirs.centroids))[1].sum()
    assert KMeans().cluster(vectors, ClusterRequest(100)).objective < 1.01 * float(objective)


@pytest.mark.parametrize("parts", [1, 30])
def test_bounds_give_the_labels_of_the_plain_assignment(parts):
    vectors = mixture(3000, 16, parts, seed=2)
    centers = vectors[:50].clone()
    assigner = Assigner(vectors, centers.mean(dim=0))
    measured = []
    for _ in range(25):
        labels = assigner.assign(centers)
        measured.append(assigner.measured)
        plain = distances.nearest_two(vectors, centers)[0]
        own, best = ((vectors - centers[which]).norm(dim=1) for which in (labels, plain))
        assert ((own - best) <= 1e-4).all()
        centers = distances.means(vectors, labels, 50)
    assert measured[0] == 1
    assert measured[-1] < 0.7


def test_lloyd_with_and_without_bounds_gives_the_same_result(monkeypatch):
    vectors = mixture(3000, 16, 30, seed=4)
    start, schedule = vectors[:50].clone(), LloydSettings(15, 0.0, spherical=False, seed=0)
    plain = lloyd(vectors, start, schedule)
    monkeypatch.setattr(lloyd_module, "PAYS_FROM", 50)
    torch.testing.assert_close(lloyd(vectors, start, schedule), plain)


def test_bounds_hold_after_centers_move_far():
    vectors = mixture(500, 4, 5, seed=3)
    centers = vectors[:8].clone()
    assigner = Assigner(vectors, centers.mean(dim=0))
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        assert torch.equal(assigner.assign(centers), distances.nearest_two(vectors, centers)[0])
        centers = centers.clone()
        centers[int(torch.randint(8, (1,), generator=generator))] = vectors[
            int(torch.randint(500, (1,), generator=generator))
        ]


def test_distances_stay_exact_far_from_the_origin(digits):
    start = digits[:10]
    near = KMeans(n_init=1).cluster(digits, ClusterRequest(10, init_centers=start))
    far = KMeans(n_init=1).cluster(digits + 4096, ClusterRequest(10, init_centers=start + 4096))
    assert torch.equal(near.labels, far.labels)


def test_warm_start_begins_from_the_given_centers(blobs):
    start = torch.stack([blobs[group::4].mean(dim=0) for group in (2, 0, 3, 1)])
    found = KMeans(n_init=1).cluster(blobs, ClusterRequest(4, seed=9, init_centers=start))
    assert found.labels[:4].tolist() == [1, 3, 0, 2]
    assert found.scores["n_iter"] <= 2


def test_init_centers_of_another_shape_are_ignored(blobs):
    plain = KMeans().cluster(blobs, ClusterRequest(4, seed=9))
    for start in (blobs[:3], blobs[:4, :5], torch.full((4, 6), float("nan"))):
        found = KMeans().cluster(blobs, ClusterRequest(4, seed=9, init_centers=start))
        assert torch.equal(found.labels, plain.labels)
    cold = KMeans(warm_start=False).cluster(blobs, ClusterRequest(4, seed=9, init_centers=blobs[:4] * 0))
    assert torch.equal(cold.labels, plain.labels)


def test_a_poor_warm_start_does_not_worsen_the_result(blobs):
    poor = blobs[0] + torch.arange(24.0).reshape(4, 6)
    found = KMeans().cluster(blobs, ClusterRequest(4, seed=9, init_centers=poor))
    assert found.objective == pytest.approx(
        KMeans().cluster(blobs, ClusterRequest(4, seed=9)).objective, rel=1e-4
    )
    assert [default_n_init(k) for k in (2, 10, 64, 1000)] == [20, 20, 3, 1]


def test_few_and_short_vectors_have_more_initializations(digits):
    short = digits[:, 20:26]
    assert KMeans().cluster(short, ClusterRequest(10)).objective == pytest.approx(
        KMeans(n_init=60).cluster(short, ClusterRequest(10)).objective
    )
    long, twenty = (KMeans(n_init=n).cluster(digits, ClusterRequest(10)).objective for n in (None, 20))
    assert long == twenty


def test_more_n_init_never_increase_the_objective(digits):
    once, often = (KMeans(n_init=n).cluster(digits, ClusterRequest(10)).objective for n in (1, 4))
    assert often <= once


def test_spherical_centers_have_length_one(digits):
    vectors = torch.nn.functional.normalize(digits, dim=1)
    centers = KMeans(spherical=True).cluster(vectors, ClusterRequest(10)).centers
    torch.testing.assert_close(centers.norm(dim=1), torch.ones(10))


@pytest.mark.parametrize("start", ["kmeans++", "sample"])
def test_initial_centers_are_different_rows(digits, start):
    centers = first_centers(digits, 200, start, seed=1)
    assert len(centers.unique(dim=0)) == 200
    assert ((centers[:, None] == digits[None]).all(dim=2).sum(dim=1) == 1).all()


def test_kmeans_plus_plus_reaches_every_far_group(blobs):
    centers = first_centers(blobs, 4, "kmeans++", seed=1)
    assert len(distances.nearest_two(blobs, centers)[0].unique()) == 4


@pytest.mark.parametrize("n_clusters", [10, 30])
def test_kmeans_plus_plus_starts_as_well_as_scikit_learns(digits, n_clusters):
    """The best of several draws: with a single draw the distances to the centers are 15 % larger."""
    found, expected = 0.0, 0.0
    for seed in range(10):
        centers = first_centers(digits, n_clusters, "kmeans++", seed=seed)
        found += float(torch.cdist(digits, centers).square().amin(1).sum())
        others = torch.from_numpy(kmeans_plusplus(digits.numpy(), n_clusters, random_state=seed)[0])
        expected += float(torch.cdist(digits, others).square().amin(1).sum())
    assert found < 1.06 * expected


def test_sampled_training_still_labels_all(digits):
    found = KMeans(sample_per_cluster=30).cluster(digits, ClusterRequest(10))
    assert len(found.labels) == len(digits)
    assert found.objective < 1.1 * KMeans().cluster(digits, ClusterRequest(10)).objective


def test_split_for_empty_preserves_the_total_count():
    centers = torch.arange(12.0).reshape(4, 3)
    counts = torch.tensor([0, 9, 0, 2])
    assert split_for_empty(centers, counts, torch.Generator().manual_seed(0)) == 2
    assert counts.sum() == 11
    assert (counts > 0).all()
    assert torch.isfinite(centers).all()
    assert len(centers.unique(dim=0)) == 4


def test_split_for_empty_stops_at_clusters_of_one_vector():
    centers, counts = torch.ones(3, 2), torch.tensor([1, 0, 0])
    assert split_for_empty(centers, counts, torch.Generator().manual_seed(0)) == 2
    assert counts.tolist() == [1, 0, 0]


def test_an_empty_center_is_moved_to_a_far_vector(blobs):
    centers = torch.cat([blobs[:3], torch.full((1, 6), 1e6)])
    labels, _, _ = final_assignment(blobs, centers)
    assert labels.unique().tolist() == [0, 1, 2, 3]


def test_as_many_clusters_as_vectors(blobs):
    found = KMeans().cluster(blobs[:20], ClusterRequest(20))
    assert found.n_clusters == 20
    assert found.objective == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("n", [100, 200])
def test_copies_of_fewer_vectors_than_clusters(digits, n):
    vectors = torch.nn.functional.normalize(digits[:n]).repeat(10, 1)
    found = KMeans().cluster(vectors, ClusterRequest(5 * n))
    assert torch.equal(found.labels.unique(), torch.arange(n))
    assert len(found.centers) == n


def test_fewer_distinct_vectors_than_clusters():
    vectors = torch.tensor([[0.0, 0.0], [3.0, 4.0]]).repeat(10, 1)
    found = KMeans().cluster(vectors, ClusterRequest(5))
    assert found.n_clusters == 2
    assert found.confidence.tolist() == [1.0] * 20


def test_one_cluster(blobs):
    found = KMeans().cluster(blobs, ClusterRequest(1))
    assert found.n_clusters == 1
    torch.testing.assert_close(found.centers[0], blobs.mean(dim=0))
    assert found.confidence.unique().tolist() == [1.0]


class OnSecondGpu(PretendedTensor):
    device = property(lambda _: torch.device("cuda", 1))


def test_faiss_computes_on_the_gpu_of_the_vectors(monkeypatch, blobs):
    import faiss

    asked = []
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: None, raising=False)
    monkeypatch.setattr(
        faiss, "index_cpu_to_gpu", lambda _, gpu, index: asked.append(gpu) or index, raising=False
    )
    with pretended_gpu(n_gpus=2):
        vectors = OnSecondGpu(blobs)
        centers, _ = faiss_lloyd(vectors, OnSecondGpu(blobs[:4]), LloydSettings(3, 0.0, False, 0))
        assert centers.device.type == "cuda"

    assert asked == [1]


@pytest.mark.parametrize("n_clusters", [5, 600], ids=["product", "sorted rows"])
def test_sums_on_a_gpu_are_those_of_the_cpu(n_clusters):
    generator = torch.Generator().manual_seed(2)
    vectors = torch.randn(2000, 7, generator=generator)
    labels = torch.randint(n_clusters, (2000,), generator=generator)
    with pretended_gpu() as gpu:
        there = distances.sums(vectors.to("cuda"), labels.to("cuda"), n_clusters)
        sizes = distances.sizes_of(labels.to("cuda"), n_clusters)
        assert gpu.waits.total() == 3, "the copies"
        there, sizes = there.cpu(), sizes.cpu()

    torch.testing.assert_close(there, distances.sums(vectors, labels, n_clusters))
    assert torch.equal(sizes, torch.bincount(labels, minlength=n_clusters))
