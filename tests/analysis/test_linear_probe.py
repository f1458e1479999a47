"""Linear probes of layers against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fiftyone_deepcluster.analysis import linear_probe
from fiftyone_deepcluster.errors import CancelledError, InputError
from tests.observers import Watcher


@pytest.mark.usefixtures("seeded")
def test_pooling_gives_the_papers_dimensions():
    """AlexNet's five convolutions at 224 pixels: algorithm and figures of the released code."""
    maps = [(96, 55), (256, 27), (384, 13), (384, 13), (256, 13)]
    sizes = [linear_probe.pool(torch.zeros(1, channels, side, side)).shape[1] for channels, side in maps]
    assert sizes == [9600, 9216, 9600, 9600, 9216]
    small = torch.rand(2, 3, 4, 4)
    assert torch.equal(linear_probe.pool(small), small.flatten(1)), (
        "maps that are small enough stay as they are"
    )
    assert torch.allclose(linear_probe.pool(torch.ones(2, 5, 7)), torch.ones(2, 7))


def test_separable_classes_have_accuracy_1_and_shuffled_ones_chance():
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(4), 60)
    centers = rng.normal(size=(4, 20)) * 20
    vectors = torch.from_numpy((centers[classes] + rng.normal(size=(240, 20))).astype(np.float32))
    found = linear_probe.accuracies(vectors, classes, 3, 51)
    assert found == {"logistic": [1.0] * 3, "svm": [1.0] * 3}
    shuffled = linear_probe.accuracies(vectors, rng.permutation(classes), 3, 51)
    for scores in shuffled.values():
        assert abs(np.mean(scores) - 0.25) < 0.09  # three deviations of 240 draws


@pytest.mark.parametrize("dims", [30, 400])
def test_accuracies_from_inner_products_equal_scikit_learns(digits, dims):
    """The same accuracies as scikit-learn gives on the vectors themselves, wide ones too."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import SVC

    rng = np.random.default_rng(1)
    spread = rng.normal(size=(64, dims)).astype(np.float32)
    vectors = digits[0][:150].reshape(150, -1).astype(np.float32) @ spread
    classes = digits[1][:150] % 3
    ours = linear_probe.accuracies(torch.from_numpy(vectors), classes, 3, 51)
    centered = vectors.astype(np.float64) - vectors.mean(0)
    centered /= np.sqrt(np.square(centered).sum(1).mean())
    folds = StratifiedKFold(3, shuffle=True, random_state=linear_probe.derive(51, "folds")).split(
        centered, classes
    )
    for fold, (train, test) in enumerate(folds):
        slow = SVC(C=linear_probe._SVM_C, kernel="linear", random_state=0).fit(
            centered[train], classes[train]
        )
        assert ours["svm"][fold] == pytest.approx(slow.score(centered[test], classes[test]), abs=0.021)
        logistic = LogisticRegression(C=linear_probe._LOGISTIC_C, max_iter=2000).fit(
            centered[train], classes[train]
        )
        assert ours["logistic"][fold] == pytest.approx(
            logistic.score(centered[test], classes[test]), abs=0.021
        )


def test_every_layer_is_probed_before_and_after_training(trained_run, layers, digits):
    observer = Watcher()
    trained_run.trained.observer = observer
    request = linear_probe.ProbeRequest(layers=["conv1", "conv5", "fc6"], folds=2, max_images=200)
    found = linear_probe.probe_networks(trained_run.trained, trained_run.initial, digits[1], request)
    assert trained_run.trained.observer is observer
    table = found.to_dataframe()
    assert list(table.layer) == ["conv1", "conv5", "fc6"]
    assert list(table.n_features) == [8 * 16 * 16, 32 * 4 * 4, 128]
    assert (found.n_images, found.n_classes, found.folds) == (200, 10, 2)
    scores = [score for score in found.scores if score.network == "trained"]
    assert all(score.logistic > 0.75 and score.svm > 0.75 for score in scores)
    assert table.logistic_gain.tolist() == pytest.approx((table.logistic - table.logistic_initial).tolist())
    assert table.logistic_gain.abs().max() > 0, "two different networks"
    assert observer.phases == [("probe", 2 * 3 * 5)]
    assert observer.steps == 2 * 3 * 5
    assert linear_probe.ProbeResult.model_validate_json(found.model_dump_json()) == found


def test_the_embedding_is_probed_like_a_layer(trained_run, digits):
    vectors = (trained_run.vectors, trained_run.initial_vectors)
    request = linear_probe.ProbeRequest(layers=["embedding"], folds=2, max_images=200)
    found = linear_probe.probe_networks(trained_run.trained, trained_run.initial, digits[1], request, vectors)
    assert [(score.layer, score.network) for score in found.scores] == [
        ("embedding", "trained"),
        ("embedding", "initial"),
    ]
    rows = linear_probe.choose_rows(digits[1], request)
    for score, given in zip(found.scores, vectors, strict=True):
        folds = linear_probe.accuracies(given()[rows], digits[1][rows], 2, request.seed)
        assert (score.n_features, score.svm) == (given().shape[1], np.mean(folds["svm"]))
    assert found.scores[0] != found.scores[1].model_copy(update={"network": "trained"})
    every = linear_probe.probe_networks(
        trained_run.trained, trained_run.initial, digits[1], linear_probe.ProbeRequest(folds=2), vectors
    )
    assert [score.layer for score in every.scores].count("embedding") == 2
    with pytest.raises(InputError, match="layer='embedding' is not a layer of this network"):
        linear_probe.probe_networks(trained_run.trained, trained_run.initial, digits[1], request)


def test_probes_of_the_same_layer_in_one_pass_or_several_are_equal(trained_run, digits, monkeypatch):
    request = linear_probe.ProbeRequest(layers=["conv4", "conv5"], folds=2, max_images=60)
    together = linear_probe.probe_networks(trained_run.trained, trained_run.initial, digits[1], request)
    monkeypatch.setattr(linear_probe, "_MAX_BYTES", 1)
    assert (
        linear_probe.probe_networks(trained_run.trained, trained_run.initial, digits[1], request) == together
    )


def test_rare_and_unknown_classes_are_left_out():
    classes = np.array([0] * 10 + [1] * 10 + [2] * 2 + [-1] * 30)
    rows = linear_probe.choose_rows(classes, linear_probe.ProbeRequest(folds=3))
    assert rows.tolist() == list(range(20))
    assert linear_probe.choose_rows(classes, linear_probe.ProbeRequest(folds=2)).tolist() == list(range(22))
    few = linear_probe.choose_rows(classes, linear_probe.ProbeRequest(folds=2, max_images=12))
    assert len(few) <= 12
    with pytest.raises(InputError, match=r"2 images have a known class, in 2 classes, of which 0 have the 3"):
        linear_probe.choose_rows(np.array([0, 1, -1]), linear_probe.ProbeRequest(folds=3))


def test_a_probe_can_be_cancelled(trained_run, digits):
    trained_run.trained.observer = Watcher(after_steps=3)
    with pytest.raises(CancelledError):
        linear_probe.probe_networks(
            trained_run.trained, trained_run.initial, digits[1], linear_probe.ProbeRequest(folds=2)
        )


def test_all_images_of_a_large_set_are_probed_without_their_inner_products(digits, monkeypatch):
    images, classes = digits
    vectors = torch.from_numpy(images[:200].reshape(200, -1).astype(np.float32))
    exact = linear_probe.accuracies(vectors, classes[:200], 3, 1)
    monkeypatch.setattr(linear_probe, "LARGEST_GRAM", 100)
    assert linear_probe._inner_products(vectors)[0] is None
    found = linear_probe.accuracies(vectors, classes[:200], 3, 1)
    assert found["logistic"] == pytest.approx(exact["logistic"], abs=0.02)
    assert found["svm"] == pytest.approx(exact["svm"], abs=0.1)
    everything = linear_probe.ProbeRequest(folds=3, max_images=None)
    assert len(linear_probe.choose_rows(np.repeat([0, 1], 3000), everything)) == 6000
