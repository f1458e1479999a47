"""Notes and warnings of a run's record."""

import re

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api import notes
from fiftyone_deepcluster.core.record import RunRecord, StopReason
from fiftyone_deepcluster.core.types import Known
from fiftyone_deepcluster.errors import CheckpointError
from fiftyone_deepcluster.images.inspect import ImageFacts
from fiftyone_deepcluster.methods.base import METHODS

LDPO = {"n_clusters": 4, "rounds": 1, "min_steps": 4, "image_size": 16, "baselines": False}


@pytest.fixture(scope="module")
def digits():
    return (load_digits().images[:60] * 15.9375).astype(np.uint8)


def test_groups_that_leave_no_test_images_give_a_note(digits):
    two = fdc.fit(digits, fdc.LDPO(**LDPO), known=Known(groups=["a"] * 55 + ["b"] * 5))
    assert "test_top1" not in two.record.rounds[0].scores
    assert any(
        "in 1 of 1 round no images were held out" in note and "2 groups" in note for note in two.record.notes
    )
    elsewhere = fdc.fit(
        digits, fdc.Frozen(n_clusters=4, baselines=False), known=Known(groups=["a", "b"] * 30)
    )
    assert elsewhere.record.notes == [], "a method that holds nothing out"
    many = fdc.fit(digits, fdc.LDPO(**LDPO), known=Known(groups=[str(i // 3) for i in range(60)]))
    assert "test_top1" in many.record.rounds[0].scores
    assert not any("held out" in note for note in many.record.notes)


def test_unreadable_images_give_a_note(digits, tmp_path):
    paths = []
    for number, pixels in enumerate(digits[:30]):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    options, kept = fdc.LDPO(**LDPO), tmp_path / "run"
    whole = fdc.fit([str(path) for path in paths], options, run_dir=kept)
    assert not any("could not be read" in note for note in whole.record.notes)
    paths[3].write_bytes(b"no image")
    paths[5].unlink()
    images = [str(path) for path in paths]
    found = fdc.fit(images, options)
    assert any("2 of 30 images could not be read and have no cluster, such as number 3 ('3.png'): " in note
               for note in found.record.notes)  # fmt: skip
    with pytest.raises(
        CheckpointError, match=r"with other images; 2 of 30 images could not be read .* Restore these files"
    ):
        fdc.fit(images, options, run_dir=kept)


def test_much_noise_gives_a_note(digits):
    vectors = np.random.default_rng(0).random((40, 6)).astype(np.float32)
    options = fdc.Frozen(clusterer="hdbscan", n_clusters=4)
    record = fdc.fit(None, options, features=vectors).record
    assert record.n_clusters == 0
    assert any("all images are noise and in no cluster; lower the clusterer's min_cluster_size" in note
               for note in record.notes)  # fmt: skip
    clear = notes.in_no_cluster(np.array([-1, 0, 0]), {})
    assert clear == []
    half = np.array([-1, -1, 0])
    assert notes.in_no_cluster(half, {}) == ["2 of 3 images are noise and in no cluster"]
    frozen = fdc.Frozen(clusterer="hdbscan").model_dump(mode="json")
    assert notes.in_no_cluster(half, frozen)[0].endswith(
        "cluster; lower the clusterer's min_cluster_size, or use reducer='umap', or use a clusterer that assigns every "
        "image, such as 'kmeans'"
    )
    reduced = fdc.Frozen(clusterer="kmeans", reducer="umap").model_dump(mode="json")
    assert notes.in_no_cluster(half, reduced)[0].endswith(
        "in no cluster; use a clusterer that assigns every image, such as 'kmeans'"
    )


@pytest.mark.parametrize("reason", [StopReason.COLLAPSED, StopReason.DIVERGED])
def test_after_failed_training_the_advice_has_options_of_the_method_only(reason):
    for name in METHODS.names():
        options = METHODS.get(name)().model_dump(mode="json")
        record = RunRecord(method=name, resolved=options, stop_reason=reason)
        advised = [word for word in re.findall(r"\w+", record.outcome) if "_" in word]
        assert set(advised) <= options.keys(), record.outcome
        assert ("learning_rate" in advised) == ("learning_rate" in options)
        assert ("pseudo_clusters" in advised) == (
            "pseudo_clusters" in options and reason is StopReason.COLLAPSED
        )
    ends = {
        "lower learning_rate or head_learning_rate, or raise n_clusters.",
        "lower learning_rate or head_learning_rate.",
    }
    own = RunRecord(
        method="self-training", resolved=fdc.SelfTraining().model_dump(mode="json"), stop_reason=reason
    )
    assert own.outcome.partition("kept. ")[2].lower() in ends
    assert reason.message.endswith("was kept.")


def test_fewer_clusters_because_of_few_images_give_a_note():
    few, many = (ImageFacts(n=n, side=64, gray=True, height=64, width=64) for n in (100, 3000))
    balanced = fdc.CardiacMR(setting="balanced")
    (note,) = balanced.remarks(few)
    assert note.startswith("100 images are clustered into 10 and not into 24, 8 per class")
    assert balanced.resolve(few).pseudo_clusters == 10
    assert balanced.remarks(many) == []
    for given in ({"n_clusters": 24}, {"pseudo_clusters": 24}):
        settled = fdc.CardiacMR(setting="balanced", **given)
        assert settled.remarks(few) == []
        assert settled.resolve(few).pseudo_clusters == 24


def test_one_cluster_is_said_with_a_cause_only_where_a_number_was_asked_for():
    labels = np.zeros(5, np.int64)
    assert "their vectors are the same" in notes.in_one_cluster(labels, 3)[0]
    assert notes.in_one_cluster(labels, None) == [
        "all 5 images are in one cluster, which the clusterer found; give n_clusters, or other options of the clusterer"
    ]
    assert notes.in_one_cluster(labels, 1) == notes.in_one_cluster(np.arange(5), 3) == []
