"""Every method that can keeps fixed labels through its rounds, and starts from a trained network."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.errors import CheckpointError, InputError, OptionsError
from fiftyone_deepcluster.methods.base import parse_options

SMALL = {
    "backbone": {"name": "small", "width": 8},
    "image_size": 16,
    "batch_size": 32,
    "min_steps": 2,
    "epochs": 1,
}
OPTIONS = {
    "deepcluster": SMALL,
    "deepcluster-manifold": {**SMALL, "stop_nmi": None},
    "deepcluster-v2": {**SMALL, "small_crops": 0},
    "ldpo": {**SMALL, "stop_nmi": None, "confident_share": 0.5},
    "cardiac-mr": {**SMALL, "classes": 2},
    "frozen": {},
}
KEEPERS = [name for name, options in fdc.list_methods().items() if options.keeps_labels]


@pytest.fixture(scope="module")
def images():
    return (load_digits().images[:120] * 15.9375).astype(np.uint8)


@pytest.fixture
def known():
    """Labels of 120 images: 40 are fixed, 4 of them in no cluster."""
    draw = np.random.default_rng(0)
    labels = [f"class {number}" for number in draw.integers(0, 4, 120)]
    return fdc.Known(initial=[None] * 4 + labels[4:], fixed=[row < 40 for row in range(120)])


def resolved_for(name, **more):
    options = parse_options(name, {"n_clusters": 4, "rounds": 1, "baselines": False, **OPTIONS[name], **more})
    return options.going_on(4)


def test_the_methods_are_all_here():
    assert sorted(KEEPERS) == sorted(OPTIONS)


@pytest.mark.parametrize("name", KEEPERS)
def test_fixed_labels_stay_in_every_round(name, images, known):
    rounds = {} if name == "frozen" else {"rounds": 3}
    found = fdc.fit(images, resolved_for(name).model_copy(update=rounds), known=known)
    numbers = sorted({label for label in known.initial if label is not None})
    expected = [-1 if label is None else numbers.index(label) for label in known.initial[:40]]
    assert found.labels[:40].tolist() == expected
    assert (found.round_labels[:40] == np.array(expected)[:, None]).all()
    assert (found.labels[40:] >= 0).all()
    assert (found.confidence[4:40] == 1).all()


@pytest.mark.parametrize("name", [name for name in KEEPERS if name != "frozen"])
def test_a_larger_weight_of_fixed_labels_lowers_their_loss(name, images, known):
    """In training only: the mean loss of the fixed images falls, relative to that of the others.

    After 60 steps it falls by 13 % to 53 % (three seeds); after a few, by less than the seed changes it.
    """
    options = resolved_for(name, min_steps=20).model_copy(update={"rounds": 3})

    def ratio(weight):
        found = fdc.fit(images, options, known=replace(known, fixed_weight=weight))
        last = found.round_losses[:, -1]
        return np.nanmean(last[4:40]) / np.nanmean(last[40:])

    assert ratio(20.0) < 0.95 * ratio(1.0)


def test_images_in_no_cluster_do_not_lower_the_weight_of_others(images, known):
    rejected = replace(known, initial=[None] * 40 + known.initial[40:])
    options = resolved_for("deepcluster-v2")
    heavy = fdc.fit(images, options, known=replace(rejected, fixed_weight=20.0))
    assert heavy.round_losses.tolist() == fdc.fit(images, options, known=rejected).round_losses.tolist()


def test_weights_of_fixed_labels_are_checked_and_part_of_the_run(images, known, tmp_path):
    for wrong in (0, -1.0, float("nan"), float("inf"), 1e39, "2", True):
        with pytest.raises(InputError, match=r"fixed_weight=.*: give a number above 0 and at most 1,000,000"):
            fdc.fit(images, resolved_for("frozen"), known=replace(known, fixed_weight=wrong))
    options = resolved_for("deepcluster")
    fdc.fit(images, options, known=known, run_dir=tmp_path)
    with pytest.raises(CheckpointError, match="other images"):
        fdc.fit(images, options, known=replace(known, fixed_weight=2.0), run_dir=tmp_path)


def test_interrupted_rounds_go_on_with_the_same_labels(images, known, tmp_path):
    options = resolved_for("deepcluster").model_copy(update={"rounds": 3})
    whole = fdc.fit(images, options, known=known)
    fdc.fit(images, options.model_copy(update={"rounds": 1}), known=known, run_dir=tmp_path)
    resumed = fdc.fit(images, options, known=known, run_dir=tmp_path)
    assert resumed.labels.tolist() == whole.labels.tolist()
    with pytest.raises(CheckpointError, match="other images"):
        fdc.fit(images, options, known=fdc.Known(initial=known.initial, fixed=[True] * 120), run_dir=tmp_path)


def test_training_starts_from_the_network_of_another_run(images, known, tmp_path):
    first = parse_options("deepcluster", {"n_clusters": 4, "rounds": 1, "baselines": False, **SMALL})
    fdc.fit(images, first, run_dir=tmp_path / "one")
    trained = checkpoints.load(tmp_path / "one" / checkpoints.MODEL)["network"]
    goes_on = fdc.Known(known.groups, known.initial, known.fixed, network=tmp_path / "one")
    options = resolved_for("deepcluster", learning_rate=1e-12)
    fdc.fit(images, options, known=goes_on, run_dir=tmp_path / "two")
    after = checkpoints.load(tmp_path / "two" / checkpoints.MODEL)["network"]
    weights = [name for name in trained if name.startswith("backbone") and name.endswith("weight")]
    assert weights
    assert all(np.allclose(trained[name], after[name], atol=1e-6) for name in weights)
    other = resolved_for("deepcluster", backbone={"name": "small", "width": 16})
    with pytest.raises(CheckpointError, match=r"another network, .* leave backbone, input_norm"):
        fdc.fit(images, other, known=goes_on)


def test_labels_that_cannot_be_kept_are_refused(images, known):
    with pytest.raises(OptionsError, match="needs the labels to keep; give known=Known"):
        fdc.fit(images, resolved_for("frozen"), known=fdc.Known(fixed=known.fixed))
    with pytest.raises(OptionsError, match="list of 120 booleans"):
        fdc.fit(images, resolved_for("frozen"), known=fdc.Known(initial=known.initial, fixed=[True]))
    with pytest.raises(OptionsError, match=r"initial has 4 labels, 4 of them .* n_clusters is 5"):
        fdc.fit(images, fdc.Frozen(n_clusters=5, baselines=False), known=known)
    with pytest.raises(
        OptionsError, match="clusterer 'hdbscan' cannot keep reviewed labels; give clusterer='gmm'"
    ):
        fdc.fit(images, fdc.Frozen(n_clusters=4, clusterer="hdbscan", baselines=False), known=known)
    with pytest.raises(OptionsError, match="method 'dac' has no clusterer that could keep"):
        fdc.fit(images, fdc.DAC(n_clusters=4, baselines=False), known=known)


def test_ldpo_takes_kmeans_in_place_of_rim():
    assert fdc.LDPO(clusterer="rim").going_on(7).clusterer.name == "kmeans"
    assert fdc.LDPO(clusterer="gmm").going_on(7).clusterer.name == "gmm"
