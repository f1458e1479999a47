"""Where the images of a cluster were in every round."""

from __future__ import annotations

from collections import Counter

import fiftyone as fo
import numpy as np
import pytest

from fiftyone_deepcluster.dataset.review.flow import OTHERS, cluster_flow
from fiftyone_deepcluster.dataset.review.similar import similar_images
from fiftyone_deepcluster.dataset.runs.run import load_run
from fiftyone_deepcluster.errors import InputError, RunError


def boxed(dataset):
    """Patches view with one object in each image."""
    whole = [fo.Detection(label="x", bounding_box=[0, 0, 1, 1]) for _ in range(len(dataset))]
    dataset.set_values("objects", [fo.Detections(detections=[one]) for one in whole])
    return dataset.to_patches("objects")


@pytest.mark.parametrize("by_patches", [False, True])
def test_every_round_counts_every_image_of_the_cluster(make_digits, stored_run, by_patches):
    dataset = make_digits(60)
    stored_run(boxed(dataset) if by_patches else dataset, k=3)
    prefix = "objects.detections." if by_patches else ""
    labels, rounds = (
        dataset.values(path, unwind=by_patches)
        for path in (f"{prefix}dc" if by_patches else "dc.label", f"{prefix}dc_round_labels")
    )
    inside = np.stack([row for name, row in zip(labels, rounds, strict=True) if name == "cluster-01"])
    flow = cluster_flow(load_run(dataset, "dc"), "cluster-01")
    assert (flow.n_images, flow.rounds) == (len(inside), tuple(range(1, inside.shape[1] + 1)))
    for at, groups in enumerate(flow.groups):
        assert dict(groups) == Counter(inside[:, at].tolist())
    for at, links in enumerate(flow.links):
        assert {(a, b): n for a, b, n in links} == Counter(map(tuple, inside[:, at : at + 2].tolist()))


def test_many_rounds_and_many_clusters_are_summarized(make_digits, stored_run):
    from fiftyone.core.utils import serialize_numpy_array

    dataset = make_digits(40)
    stored_run(dataset, k=2)
    rows = np.random.default_rng(0).integers(0, 30, (40, 25))
    for sample, row in zip(dataset, rows, strict=True):
        dataset._sample_collection.update_one(
            {"_id": sample._id}, {"$set": {"dc_round_labels": serialize_numpy_array(row)}}
        )
    dataset._sample_collection.update_many({}, {"$set": {"dc.label": "all"}})
    flow = cluster_flow(load_run(dataset, "dc"), "all")
    assert (len(flow.rounds), flow.rounds[0], flow.rounds[-1]) == (8, 1, 25)
    assert all(len(groups) == 7 and groups[-1][0] == OTHERS for groups in flow.groups)
    assert all(sum(n for _, n in groups) == 40 for groups in flow.groups)


def test_one_round_has_no_history(clustered_once):
    run = load_run(clustered_once, "dc")
    assert cluster_flow(run, run.names()[0]) is None


@pytest.fixture
def clustered_once(make_digits):
    import fiftyone_deepcluster as fdc

    dataset = make_digits(40)
    fdc.cluster(dataset, "frozen", n_clusters=3, baselines=False, progress=False, compute_brain=False)
    return dataset


def test_similar_images_are_the_nearest_of_the_clusters_asked_for(clustered_once):
    run = load_run(clustered_once, "dc")
    first, second, _ = (info.name for info in run.clusters(n_exemplars=0))
    ids, labels = clustered_once.values("id"), np.array(clustered_once.values("dc.label"))
    vectors = np.stack(clustered_once.values("dc_embedding"))
    inside = np.flatnonzero(labels == first)[:2]
    distances = np.linalg.norm(vectors - vectors[inside].mean(axis=0), axis=1)
    order = [row for row in distances.argsort(kind="stable") if labels[row] in (first, second)]
    expected = [ids[row] for row in order if row not in inside][:9]
    found = similar_images(run, [ids[row] for row in inside], [second], 9, "ground_truth")
    assert [picture.image_id for picture in found] == expected
    assert [picture.values["cluster"] for picture in found] == [labels[ids.index(name)] for name in expected]
    assert all(picture.values["label"] is not None for picture in found)


def test_what_has_no_vector_has_no_similar_images(clustered_once):
    run = load_run(clustered_once, "dc")
    sample = clustered_once.first()
    clustered_once._sample_collection.update_one({"_id": sample._id}, {"$unset": {"dc_embedding": ""}})
    with pytest.raises(InputError, match="the images have no vectors in run 'dc'"):
        similar_images(run, [sample.id], [], 5)
    clustered_once.delete_sample_field("dc_embedding")
    with pytest.raises(RunError, match="the field dc_embedding of run 'dc' was deleted"):
        similar_images(run, [sample.id], [], 5)
