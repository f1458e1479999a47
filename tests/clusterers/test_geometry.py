"""Centres, distances and margins against loops; chunked against whole."""

from __future__ import annotations

import pytest
import torch

from fiftyone_deepcluster.clusterers import geometry
from fiftyone_deepcluster.clusterers.lloyd import Schedule, lloyd
from fiftyone_deepcluster.clusterers.seeding import first_centers


def test_by_hand():
    vectors = torch.tensor([[0.0], [2.0], [10.0], [14.0], [7.0]])
    labels = torch.tensor([0, 0, 1, 1, -1])
    place = geometry.describe(vectors, labels)
    assert place.centers.tolist() == [[1.0], [12.0]]
    assert place.distance.tolist() == pytest.approx([1, 1, 2, 2, 5])
    assert place.margin.tolist() == pytest.approx([11, 9, 7, 11, 1])
    assert place.confidence.tolist() == pytest.approx(
        [1 - 1 / 12, 1 - 1 / 10, 1 - 2 / 9, 1 - 2 / 13, 1 - 5 / 6]
    )


def test_against_a_loop(digits):
    vectors = digits[:200]
    labels = torch.arange(200) % 7 - 1
    place = geometry.describe(vectors, labels, 7)
    assert place.centers[6].eq(0).all()
    for row in range(200):
        distances = (place.centers[:6] - vectors[row]).norm(dim=1)
        own = int(labels[row]) if labels[row] >= 0 else int(distances.argmin())
        others = torch.cat([distances[:own], distances[own + 1 :]])
        assert float(place.distance[row]) == pytest.approx(float(distances[own]), rel=1e-4)
        assert float(place.margin[row]) == pytest.approx(float(others.min() - distances[own]), abs=1e-3)


def test_one_cluster_and_none(blobs):
    alone = geometry.describe(blobs, torch.zeros(240, dtype=torch.int64))
    assert alone.margin.unique().tolist() == [0.0]
    assert alone.confidence.unique().tolist() == [1.0]
    noise = geometry.describe(blobs, torch.full((240,), -1))
    assert noise.centers.shape == (0, 6)
    assert len(noise.distance) == 240


def test_chunks_do_not_matter(digits, monkeypatch):
    # moved off the grid of grey levels: between two that are equally near rounding would choose
    centers = digits[:30] + torch.rand(30, 64, generator=torch.Generator().manual_seed(0))
    whole = geometry.nearest_two(digits, centers)
    sums = geometry.sums(digits, whole[0], 30)
    monkeypatch.setattr(geometry, "_CPU_CHUNK", 30 * 7)
    parts = geometry.nearest_two(digits, centers)
    assert torch.equal(whole[0], parts[0])
    for one, other in zip(whole[1:], parts[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(geometry.sums(digits, whole[0], 30), sums)


def test_chunks_cover_all_rows_once_and_keep_the_bound():
    parts = list(geometry.chunks(10_001, 3000, torch.device("cpu")))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(10_001))
    assert max(part.stop - part.start for part in parts) * 3000 <= 2**21
    assert list(geometry.chunks(0, 5, torch.device("cpu"))) == []


def test_assign_to(digits):
    labels, distance = geometry.assign_to(digits, digits[:50])
    assert labels[:50].tolist() == list(range(50))
    assert distance[:50].tolist() == pytest.approx([0.0] * 50, abs=1e-3)
    torch.testing.assert_close(distance, torch.cdist(digits, digits[:50]).amin(dim=1), rtol=1e-3, atol=1e-2)


def test_chunks_side_by_side_give_the_same_to_the_bit(monkeypatch):
    """Threads work on whole chunks, and each writes only its own rows."""
    monkeypatch.setattr(geometry, "_CPU_CHUNK", 4096)
    vectors = torch.randn(3000, 12, generator=torch.Generator().manual_seed(3))
    start = first_centers(vectors, 40, "kmeans++", seed=5)
    found = {}
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found[threads] = lloyd(vectors, start, Schedule(10, 0.0, spherical=False, seed=7))[0]
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)

    assert torch.equal(found[1], found[3])


def test_an_error_in_a_chunk_is_raised_and_threads_are_restored():
    before = torch.get_num_threads()
    torch.set_num_threads(2)

    def fail(rows):
        raise ZeroDivisionError(rows)

    try:
        with pytest.raises(ZeroDivisionError):
            geometry.each_chunk(100, geometry._CPU_CHUNK, torch.device("cpu"), fail)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
