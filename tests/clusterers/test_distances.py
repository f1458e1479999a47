"""Centers, distances and margins against loops, and computed in chunks."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from fiftyone_deepcluster.clusterers import distances
from fiftyone_deepcluster.clusterers.kmeans.lloyd import LloydSettings, lloyd
from fiftyone_deepcluster.clusterers.kmeans.seeding import first_centers
from fiftyone_deepcluster.metrics import products


def test_distances_and_confidence_equal_values_by_hand():
    vectors = torch.tensor([[0.0], [2.0], [10.0], [14.0], [7.0]])
    labels = torch.tensor([0, 0, 1, 1, -1])
    place = distances.describe_clusters(vectors, labels)
    assert place.centers.tolist() == [[1.0], [12.0]]
    assert place.distance.tolist() == pytest.approx([1, 1, 2, 2, 5])
    assert place.margin.tolist() == pytest.approx([11, 9, 7, 11, 1])
    assert place.confidence.tolist() == pytest.approx(
        [1 - 1 / 12, 1 - 1 / 10, 1 - 2 / 9, 1 - 2 / 13, 1 - 5 / 6]
    )


def test_distances_equal_a_loop(digits):
    vectors = digits[:200]
    labels = torch.arange(200) % 7 - 1
    place = distances.describe_clusters(vectors, labels, 7)
    assert place.centers[6].eq(0).all()
    for row in range(200):
        away = (place.centers[:6] - vectors[row]).norm(dim=1)
        own = int(labels[row]) if labels[row] >= 0 else int(away.argmin())
        others = torch.cat([away[:own], away[own + 1 :]])
        assert float(place.distance[row]) == pytest.approx(float(away[own]), rel=1e-4)
        assert float(place.margin[row]) == pytest.approx(float(others.min() - away[own]), abs=1e-3)


def test_one_cluster_and_none(blobs):
    alone = distances.describe_clusters(blobs, torch.zeros(240, dtype=torch.int64))
    assert alone.margin.unique().tolist() == [0.0]
    assert alone.confidence.unique().tolist() == [1.0]
    noise = distances.describe_clusters(blobs, torch.full((240,), -1))
    assert noise.centers.shape == (0, 6)
    assert len(noise.distance) == 240


def test_result_does_not_depend_on_the_chunk_size(digits, monkeypatch):
    centers = digits[:30]
    whole = distances.nearest_two(digits, centers)
    sums = distances.sums(digits, whole[0], 30)
    monkeypatch.setattr(products, "_CPU_CHUNK", 30 * 7)
    parts = distances.nearest_two(digits, centers)
    clear = whole[2] - whole[1] > 1e-2  # digits are whole numbers: of two centers as near either may be taken
    assert clear.float().mean() > 0.9
    assert torch.equal(whole[0][clear], parts[0][clear])
    for one, other in zip(whole[1:], parts[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(distances.sums(digits, whole[0], 30), sums)


def test_nearest_centers_gives_labels_and_distances(digits):
    labels, distance = distances.nearest_centers(digits, digits[:50])
    assert labels[:50].tolist() == list(range(50))
    assert distance[:50].tolist() == pytest.approx([0.0] * 50, abs=1e-3)
    torch.testing.assert_close(distance, torch.cdist(digits, digits[:50]).amin(dim=1), rtol=1e-3, atol=1e-2)


def test_parallel_chunks_give_the_same_bits(monkeypatch):
    """Threads work on whole chunks, and each writes only its own rows."""
    monkeypatch.setattr(products, "_CPU_CHUNK", 4096)
    vectors = torch.randn(3000, 12, generator=torch.Generator().manual_seed(3))
    start = first_centers(vectors, 40, "kmeans++", seed=5)
    found = {}
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found[threads] = lloyd(vectors, start, LloydSettings(10, 0.0, spherical=False, seed=7))[0]
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)

    assert torch.equal(found[1], found[3])


GROWTH = """
import resource
import torch
from fiftyone_deepcluster.clusterers.distances import nearest_two
from fiftyone_deepcluster.features.corpus import check_features

torch.set_num_threads(1)
vectors = torch.rand(70_000, 1024)
nearest_two(vectors[:100], vectors[:4])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="kilobytes only on Linux")
@pytest.mark.parametrize(
    "call", ["nearest_two(vectors, vectors[:4])", "check_features(vectors.view(-1, 64))"]
)
def test_long_vectors_and_few_centers_need_no_copy_of_all_vectors(call):
    command = [sys.executable, "-W", "ignore", "-c", GROWTH.format(call)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150_000, "kB; the vectors have 287,000"
