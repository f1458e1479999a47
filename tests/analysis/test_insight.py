"""What a run learned: layers by name, linear probes and filters, against slow loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.analysis import linear_probe, montage, unit_images
from fiftyone_deepcluster.api.assembly import build_parts
from fiftyone_deepcluster.api.trained_run import reopen
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.input_norms import make_input_norm
from fiftyone_deepcluster.backbones.layers import (
    FEATURES_LAYER,
    as_maps,
    capture_outputs,
    choose_layers,
    layers_of,
)
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.errors import CancelledError, CheckpointError, InputError

N = 300
SQUEEZENET = ["conv1", *(f"features.{i}" for i in (3, 4, 6, 7, 9, 10, 11, 12)), FEATURES_LAYER]


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    return (found.images[:N] * 15.9375).astype(np.uint8), found.target[:N].astype(np.int64)


@pytest.fixture(scope="module")
def run_dir(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    options = fdc.DeepCluster(
        n_clusters=10, rounds=2, min_steps=10, backbone={"name": "small", "width": 8}, baselines=False
    )
    fdc.fit(digits[0], options, run_dir=folder)
    return folder


@pytest.fixture
def trained_run(run_dir, digits):
    with reopen(run_dir, digits[0]) as run:
        yield run


@pytest.fixture
def layers(trained_run):
    return layers_of(trained_run.trained.network, batch(trained_run.trained, [0]))


def excitement(trained_run, layer, images, unit, raw=False):
    """Mean activation of one unit for every image, as numbers."""
    units = torch.full((len(images),), int(unit))
    with torch.no_grad():
        return unit_images.activations(trained_run.trained.network, layer, images, units, raw=raw).tolist()


def batch(corpus, rows):
    """Images of some rows, as the network sees them."""
    return next(corpus.plain_batches(np.asarray(rows))).images


# ---------------------------------------------------------------- a finished run, and its layers


def test_a_reopened_run_has_its_trained_and_its_initial_network(trained_run, run_dir, digits):
    again = fdc.predict(run_dir, digits[0])
    np.testing.assert_allclose(trained_run.vectors().numpy(), again.embeddings, atol=1e-6)
    with torch.random.fork_rng():
        torch.manual_seed(7)  # whatever state torch is in
        first = trained_run.initial.network.state_dict()
    trained = trained_run.trained.network.state_dict()
    same = [name for name in first if torch.equal(first[name], trained[name])]
    assert not [name for name in same if name.endswith("layers.0.weight")], "training changed the filters"
    with reopen(run_dir, digits[0]) as other:
        assert all(
            torch.equal(value, first[name]) for name, value in other.initial.network.state_dict().items()
        )
    assert trained_run.initial_vectors().shape == trained_run.vectors().shape


def test_a_folder_without_a_run_is_an_error(tmp_path, digits):
    with pytest.raises(CheckpointError, match=r"model\.pt cannot be read"), reopen(tmp_path, digits[0]):
        pass


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(
    ("backbone", "size", "names", "last"),
    [
        ("small", 16, ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6"], 128),
        (
            {"name": "small", "grid": 1},
            16,
            ["conv1", "conv2", "conv3", "conv4", "conv5", FEATURES_LAYER],
            128,
        ),
        ("alexnet", 67, ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"], 4096),
        ("vgg16", 32, [f"conv{i}" for i in range(1, 14)] + ["fc14", "fc15"], 4096),
        (
            "resnet18",
            32,
            ["conv1", *(f"layer{i}.{j}" for i in range(1, 5) for j in (0, 1)), FEATURES_LAYER],
            512,
        ),
        ({"name": "torchvision", "model": "squeezenet1_1"}, 64, SQUEEZENET, 512),
        ({"name": "torchvision", "model": "mobilenet_v3_small"}, 64, None, 1024),
        ("pixels", 16, [FEATURES_LAYER], 256),
    ],
)
def test_layers_have_the_papers_names_and_their_true_shapes(backbone, size, names, last):
    part = BACKBONES.parse(backbone)
    input_norm = make_input_norm("plain" if part.name == "pixels" else part.input_norm, 1)
    network = Network(input_norm, part.build(input_norm.out_channels, size, None))
    images = torch.rand(2, 1, size, size)
    found = layers_of(network, images)
    if names is not None:
        assert [layer.name for layer in found] == names
    assert found[-1].units == last
    assert len({layer.name for layer in found}) == len(found) > 0
    outputs = capture_outputs(network, images, found, torch.clone)
    assert [tuple(output.shape[1:]) for output in outputs] == [layer.shape for layer in found]
    assert [as_maps(output).shape[1] for output in outputs] == [layer.units for layer in found]
    with torch.inference_mode():
        assert torch.allclose(outputs[-1].flatten(1), network.features(images), atol=1e-5) or (
            found[-1].name != FEATURES_LAYER
        )


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("name", sorted(fdc.list_methods()))
def test_every_method_has_a_network_with_layers(name, digits):
    from fiftyone_deepcluster.images.inspect import image_facts

    options = fdc.list_methods()[name]().resolve(image_facts(digits[0]))
    network = build_parts(options).network
    images = torch.rand(2, 1, options.image_size, options.image_size)
    found = layers_of(network, images)
    assert [layer.name for layer in found[:2]] == (
        ["conv1", "conv2"] if name != "frozen" else [FEATURES_LAYER]
    )
    assert len({layer.name for layer in found}) == len(found)
    assert found[-1].units == network.dim
    assert [len(output) for output in capture_outputs(network, images, found, linear_probe.pool)] == [
        2
    ] * len(found)


def test_layers_are_captured_after_the_activation_and_raw_before_it(trained_run, layers):
    network, images = trained_run.trained.network, batch(trained_run.trained, range(8))
    chosen = choose_layers(layers, ["conv2"])
    (after,) = capture_outputs(network, images, chosen, torch.clone)
    (before,) = capture_outputs(network, images, chosen, torch.clone, raw=True)
    assert (before < 0).any(), "else the comparison says nothing"
    assert torch.equal(after, before.relu())


def test_the_forward_pass_ends_at_the_last_captured_layer(trained_run, layers):
    network = trained_run.trained.network
    called = []
    handle = network.backbone.get_submodule(layers[-1].path).register_forward_hook(
        lambda *_: called.append("norm")
    )
    capture_outputs(network, batch(trained_run.trained, [0]), layers[:1], torch.clone)
    assert called == []
    capture_outputs(network, batch(trained_run.trained, [0]), layers, torch.clone)
    handle.remove()
    assert called == ["norm"]
    assert not [module for module in network.backbone.modules() if module._forward_hooks]


def test_an_unknown_layer_is_refused_with_the_known_names(layers):
    with pytest.raises(InputError, match=r"layer='conv9'.*conv1, conv2, conv3, conv4, conv5, fc6"):
        choose_layers(layers, ["conv9"])


# ---------------------------------------------------------------- probes


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
    observer = Steps()
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
    assert observer.phases == {"probe": 2 * 3 * 5}
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
    trained_run.trained.observer = Steps(cancel_after=3)
    with pytest.raises(CancelledError):
        linear_probe.probe_networks(
            trained_run.trained, trained_run.initial, digits[1], linear_probe.ProbeRequest(folds=2)
        )


class Steps(Silent):
    """Counts, and cancels after some steps."""

    def __init__(self, cancel_after=None):
        self.phases, self.steps, self.cancel_after = {}, 0, cancel_after

    def phase(self, name, total):
        self.phases[name] = total

    def advance(self, steps):
        self.steps += steps

    def cancelled(self):
        return self.cancel_after is not None and self.steps >= self.cancel_after


# ---------------------------------------------------------------- filters


QUICK = unit_images.Ascent(steps=25)


@pytest.mark.parametrize("name", ["conv1", "conv3", "fc6"])
def test_gradient_ascent_exceeds_the_activation_of_every_start_image(trained_run, layers, name):
    (layer,) = choose_layers(layers, [name])
    units = unit_images.spread_units(layer, 6)
    made = unit_images.maximize(trained_run.trained, layer, units, QUICK)
    assert made.images.shape == (6, 16, 16, 1)
    assert made.images.dtype == np.float32
    noise = unit_images._noise(trained_run.trained, 6, QUICK.seed)
    for at, unit in enumerate(units.tolist()):
        raw = bool(made.silent[at])
        start = excitement(trained_run, layer, noise, unit, raw)
        assert made.start[at] == pytest.approx(start[at], abs=1e-4)
        image = torch.from_numpy(made.images[at : at + 1]).permute(0, 3, 1, 2)
        (reached,) = excitement(trained_run, layer, image, unit, raw)
        assert reached > max(start), f"unit {unit} of {name}"
        assert made.activations[at] == pytest.approx(reached, abs=1e-4)


def test_a_unit_with_zero_output_is_maximized_before_its_activation(trained_run, layers):
    (layer,) = choose_layers(layers, ["conv3"])
    norm = trained_run.trained.network.backbone.get_submodule(layer.raw_path)
    with torch.no_grad():
        norm.bias[5] = -50.0
    made = unit_images.maximize(trained_run.trained, layer, np.array([4, 5]), QUICK)
    assert made.silent.tolist() == [False, True]
    assert made.start[1] < -40
    assert made.activations[1] > made.start[1]


def test_blur_and_decay_regularize(trained_run, layers):
    (layer,) = choose_layers(layers, ["conv1"])
    units = unit_images.spread_units(layer, 4)

    def roughness(**changes):
        images = unit_images.maximize(
            trained_run.trained, layer, units, QUICK.model_copy(update=changes)
        ).images
        return np.abs(np.diff(images, axis=1)).mean(), np.square(images - 0.5).mean()

    plain = roughness(blur=0.0, decay=0.0)
    assert roughness(blur=1.0, decay=0.0)[0] < plain[0]
    assert roughness(blur=0.0, decay=3.0)[1] < plain[1]


def test_blurring_keeps_the_mean_of_a_flat_image():
    flat = torch.full((1, 2, 9, 9), 0.3)
    assert torch.allclose(unit_images._blurred(flat, 0.7), flat, atol=1e-6)


@pytest.mark.parametrize("name", ["conv2", "fc6"])
def test_top_images_equal_a_slow_loop(trained_run, layers, name):
    (layer,) = choose_layers(layers, [name])
    units = np.array([1, 3])
    found = unit_images.top_images(trained_run.trained, layer, units)
    everything = []
    for row in range(N):
        image = batch(trained_run.trained, [row])
        everything.append([excitement(trained_run, layer, image, unit)[0] for unit in units])
    scores = np.array(everything)
    for at in range(2):
        best = np.sort(scores[:, at])[::-1][:9]
        np.testing.assert_allclose(found.activations[at], best, atol=1e-4)
        np.testing.assert_allclose(scores[found.rows[at], at], best, atol=1e-4)
        assert len(set(found.rows[at])) == 9


def test_filters_can_be_cancelled_and_units_are_checked(trained_run, layers):
    trained_run.trained.observer = Steps(cancel_after=1)
    with pytest.raises(CancelledError):
        unit_images.maximize(trained_run.trained, layers[0], np.array([0]), QUICK)
    with pytest.raises(InputError, match=r"units has 8; the layer 'conv1' has the units 0 to 7"):
        unit_images.check_units(layers[0], [0, 8])
    with pytest.raises(InputError, match="empty"):
        unit_images.check_units(layers[0], [])
    assert unit_images.spread_units(layers[0], 16).tolist() == list(range(8))


@pytest.mark.parametrize("side", [8, 28, 224])
def test_montage_contains_every_image(side):
    made = np.full((side, side, 1), 0.5, np.float32)
    made[0, 0], made[:, side // 2 :] = 0.0, 1.0
    top = np.stack([np.full((side, side, 3), 20 * number, np.uint8) for number in range(9)])
    tile = montage.tile(made, top)
    small = (tile.height - 4) // 3
    assert tile.getpixel((tile.height - 2, tile.height // 2)) == (255, 255, 255)
    assert tile.getpixel((0, 0)) == (0, 0, 0)
    for number in range(9):
        row, column = divmod(number, 3)
        x = tile.height + 6 + column * (small + 2) + small // 2
        assert tile.getpixel((x, row * (small + 2) + small // 2)) == (20 * number,) * 3
    sheet = montage.sheet([tile] * 6)
    assert sheet.width > 4 * tile.width
    assert 2 * tile.height < sheet.height < 3 * tile.height
