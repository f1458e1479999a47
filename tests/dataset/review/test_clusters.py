"""Clusters of a run: statistics against a plain count, nearest and random exemplars."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_deepcluster import load_run
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.errors import InputError


def test_clusters_against_a_plain_count(make_digits, stored_run):
    dataset = make_digits(40)
    result = stored_run(dataset)
    infos = load_run(dataset, "dc").clusters(n_exemplars=3)
    assert [info.size for info in infos] == sorted((info.size for info in infos), reverse=True)
    ids, paths = dataset.values(["id", "filepath"])
    for info in infos:
        rows = np.flatnonzero(result.labels == info.ids[0])
        near = rows[np.argsort(result.distance[rows])][:3]
        assert info.name == f"cluster-0{info.ids[0]}"
        assert info.size == len(rows)
        assert info.share == pytest.approx(len(rows) / 40)
        assert info.cohesion == pytest.approx(result.distance[rows].mean(), rel=1e-5)
        assert info.exemplars == tuple(ids[row] for row in near) == info.exemplar_samples
        assert info.exemplar_paths == tuple(paths[row] for row in near)
        assert set(info.exemplar_boxes) == {None}
        assert 0 <= info.stability <= 1
    assert load_run(dataset, "dc").clusters(n_exemplars=0)[0].exemplars == ()
    for drawn in ("nearest", "random"):
        infos = load_run(dataset, "dc").clusters(10**30, drawn)
        assert all(len(info.exemplars) == info.size for info in infos), "any larger number means all"


def test_random_exemplars_are_drawn_by_a_seed(make_digits, stored_run):
    dataset = make_digits(40)
    result = stored_run(dataset)
    run = load_run(dataset, "dc")
    ids, paths = dataset.values(["id", "filepath"])
    path_of = dict(zip(ids, paths, strict=True))
    infos = run.clusters(n_exemplars=4, exemplars="random")
    for info in infos:
        members = {ids[row] for row in np.flatnonzero(result.labels == info.ids[0])}
        assert len(set(info.exemplars)) == min(4, len(members))
        assert set(info.exemplars) <= members
        assert info.exemplar_paths == tuple(path_of[image] for image in info.exemplars)
    near = run.clusters(n_exemplars=4)
    assert [(a.name, a.size, a.cohesion) for a in infos] == [(b.name, b.size, b.cohesion) for b in near]
    assert infos == run.clusters(4, "random", seed=run.options.seed)

    seen = {info.name: set() for info in infos}
    for seed in range(40):
        for info in run.clusters(4, "random", seed=seed):
            seen[info.name] |= set(info.exemplars)
    assert {name: len(images) for name, images in seen.items()} == {a.name: a.size for a in infos}
    with pytest.raises(InputError, match=r"exemplars='best' is not known; choose one of: nearest, random"):
        run.clusters(exemplars="best")


def test_random_exemplars_of_objects(make_digits):
    import fiftyone as fo

    dataset = make_digits(6)
    for sample in dataset.iter_samples(autosave=True):
        halves = [fo.Detection(label="half", bounding_box=[x, 0, 0.5, 1]) for x in (0, 0.5)]
        sample["objects"] = fo.Detections(detections=halves)
    cluster(
        dataset.to_patches("objects"), "frozen", "dc", n_clusters=2, baselines=False, compute_brain=False,
        progress=False,
    )  # fmt: skip
    samples, objects, boxes = dataset.values(
        ["id", "objects.detections.id", "objects.detections.bounding_box"]
    )
    known = {
        o: (sample, tuple(box))
        for sample, some, places in zip(samples, objects, boxes, strict=True)
        for o, box in zip(some, places, strict=True)
    }
    labels = dict(
        zip(
            dataset.values("objects.detections.id", unwind=True),
            dataset.values("objects.detections.dc", unwind=True),
            strict=True,
        )
    )
    for info in load_run(dataset, "dc").clusters(3, "random"):
        for image, sample, box in zip(
            info.exemplars, info.exemplar_samples, info.exemplar_boxes, strict=True
        ):
            assert known[image] == (sample, box)
            assert labels[image] == info.name


def test_objects_are_counted_where_others_of_their_sample_have_no_cluster(make_digits):
    import fiftyone as fo

    dataset = make_digits(12)
    for row, sample in enumerate(dataset.iter_samples(autosave=True)):
        halves = [fo.Detection(label="half", confidence=x, bounding_box=[x, 0, 0.5, 1]) for x in (0, 0.5)]
        if row == 3:  # an object without area cannot be read
            halves.append(fo.Detection(label="dot", confidence=1, bounding_box=[0.5, 0.5, 0, 0]))
        if row:
            sample["objects"] = fo.Detections(detections=halves)
    options = {"n_clusters": 2, "baselines": False, "compute_brain": False, "progress": False}
    everything = cluster(dataset.to_patches("objects"), "frozen", "every", **options)
    assert everything.record.n_failed == 1
    assert sum(info.size for info in everything.clusters()) == 22
    right = dataset.filter_labels("objects", fo.ViewField("confidence") > 0.2)
    some = cluster(right.to_patches("objects"), "frozen", "some", **options)
    for run in (everything, some):
        counts = dataset.count_values(f"objects.detections.{run.key}")
        infos = run.clusters(2)
        assert {info.name: info.size for info in infos} == {name: counts[name] for name in run.names()}
        assert sum(info.share for info in infos) == pytest.approx(1)
        drawn = run.clusters(2, "random")
        assert [(info.name, info.size, len(info.exemplars)) for info in drawn] == [
            (info.name, info.size, min(2, info.size)) for info in infos
        ]
