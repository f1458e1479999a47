"""Networks, fronts, sampling, reduction, stopping: each against a reference worked by hand or in a slow loop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_deepcluster.backbones.base import TRUNKS
from fiftyone_deepcluster.backbones.input_norms import make_front
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.core.record import Agreement as Figures
from fiftyone_deepcluster.core.record import Round, StopReason
from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.core.types import ClassTargets, Outputs, PairTargets
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.features.pooled import Pooled
from fiftyone_deepcluster.features.reduce import Reduction, fit_pca
from fiftyone_deepcluster.pseudo_labels.samplers import Shuffled, UniformOverClusters
from fiftyone_deepcluster.training.losses import CrossEntropy
from fiftyone_deepcluster.training.stopping import Agreement, collapsed

SIZES = {"alexnet": 64, "vgg16": 32}


@pytest.mark.parametrize("name", TRUNKS.names())
@pytest.mark.parametrize("channels", [1, 3])
def test_every_trunk_gives_the_features_it_promises(name, channels):
    trunk, size = TRUNKS.parse(name), SIZES.get(name, 28)
    front = make_front(trunk.front, channels)
    network = Network(front, trunk.build(front.out_channels, size, None)).eval()
    outputs = network(torch.rand(2, channels, size, size))
    assert outputs.features.shape == (2, network.dim)
    assert outputs.logits.shape == (2, 0)
    network.replace_head(7, seed=1)
    assert network(torch.rand(2, channels, size, size)).logits.shape == (2, 7)


def test_alexnet_is_the_papers():
    network = TRUNKS.parse("alexnet").build(2, 224, None)
    convolutions = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [96, 256, 384, 384, 256]
    linear = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(9216, 4096), (4096, 4096)]
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules()) == 5
    assert network.relu_before_head
    features = network.eval()(torch.randn(4, 2, 224, 224))
    assert (features < 0).any(), "features come before the ReLU"


def test_head_sees_features_after_the_relu_where_the_trunk_ends_in_one():
    body = TRUNKS.parse("pixels").build(1, 4, None)
    network = Network(make_front("zscore", 1), body, relu_before_head=True)
    network.replace_head(3, seed=0)
    outputs = network(torch.rand(5, 1, 4, 4))
    torch.testing.assert_close(outputs.logits, network.head(outputs.features.clamp_min(0)))


def test_new_head_has_small_weights_and_no_bias_and_its_own_seed():
    network = Network(make_front("plain", 1), TRUNKS.parse("pixels").build(1, 28, None))
    network.replace_head(50, seed=1)
    first = network.head.weight.detach().clone()
    assert abs(float(first.std()) - 0.01) < 0.0005
    assert not network.head.bias.any()
    network.replace_head(50, seed=1)
    assert torch.equal(first, network.head.weight)
    network.replace_head(50, seed=2)
    assert not torch.equal(first, network.head.weight)


def test_sobel_of_a_constant_is_zero_inside_and_of_a_step_is_four_times_it():
    front = make_front("sobel", 1)
    assert torch.allclose(front(torch.full((1, 1, 8, 8), 0.3))[:, :, 1:-1, 1:-1], torch.zeros(1), atol=1e-5)
    step = torch.zeros(1, 1, 8, 8)
    step[..., 4:] = 1.0
    scale = float(np.mean(1 / np.array([0.229, 0.224, 0.225])))  # mean of the normalised colours
    inside = front(step)[0, :, 2:-2, 3]
    torch.testing.assert_close(inside[0], torch.full_like(inside[0], -4 * scale))
    torch.testing.assert_close(inside[1], torch.zeros_like(inside[1]))


def test_zscore_by_image():
    images = torch.rand(3, 1, 9, 9) * torch.tensor([1.0, 0.1, 5.0]).view(3, 1, 1, 1)
    found = make_front("zscore", 1)(images)
    torch.testing.assert_close(found.mean(dim=(1, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(dim=(1, 2, 3), unbiased=False), torch.ones(3), atol=1e-4, rtol=0)
    assert not make_front("zscore", 1)(torch.full((1, 1, 4, 4), 0.7)).abs().max() > 1e-3


def test_grey_becomes_three_channels_for_imagenet_weights():
    found = make_front("imagenet", 1)(torch.full((1, 1, 2, 2), 0.485))
    assert found.shape == (1, 3, 2, 2)
    assert abs(float(found[0, 0, 0, 0])) < 1e-6


def test_weights_from_a_local_file_and_clear_errors(tmp_path):
    trunk = TRUNKS.parse("small")
    torch.manual_seed(3)
    made = trunk.build(1, 28, None)
    path = tmp_path / "small.pt"
    torch.save({"state_dict": made.state_dict()}, path)
    loaded = trunk.build(1, 28, str(path))
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), loaded.parameters(), strict=True))
    with pytest.raises(OptionsError, match="does not fit the trunk 'small'"):
        TRUNKS.parse({"name": "small", "width": 8}).build(1, 28, str(path))
    with pytest.raises(OptionsError, match="neither a file nor"):
        trunk.build(1, 28, "IMAGENET1K_V1")
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"no weights at all")
    with pytest.raises(
        OptionsError,
        match=r"cannot be read as a state dict \(\w+\); torch.save\(model.state_dict\(\), path\) writes",
    ):
        trunk.build(1, 28, str(broken))
    with pytest.raises(OptionsError, match="has none"):
        TRUNKS.parse("pixels").build(1, 28, "DEFAULT")
    with pytest.raises(OptionsError, match="too small for the trunk 'alexnet'"):
        TRUNKS.parse("alexnet").build(2, 32, None)
    with pytest.raises(OptionsError, match="no classifier of images in torchvision; did you mean 'resnet1"):
        TRUNKS.parse({"name": "torchvision", "model": "resnet19"}).build(3, 32, None)


@pytest.mark.parametrize("model", ["fasterrcnn_resnet50_fpn", "deeplabv3_resnet50", "r3d_18", "raft_small"])
def test_models_that_classify_no_images_are_refused_before_they_are_built(model):
    with pytest.raises(OptionsError, match=f"model='{model}' is no classifier of images"):
        TRUNKS.parse({"name": "torchvision", "model": model}).build(3, 64, None)


@pytest.mark.parametrize("model", ["vit_b_16", "inception_v3"])
def test_models_made_for_larger_images_say_so(model):
    with pytest.raises(OptionsError, match=rf"model='{model}' takes no images of 64 pixels .*image_size=224"):
        TRUNKS.parse({"name": "torchvision", "model": model}).build(3, 64, None)


def test_torchvision_weights_from_a_file_are_those_of_the_model(tmp_path):
    from torchvision.models import resnet18

    torch.manual_seed(5)
    model = resnet18(weights=None)
    path = tmp_path / "resnet18.pth"
    torch.save(model.state_dict(), path)
    trunk = TRUNKS.parse("resnet18").build(3, 64, str(path)).eval()
    images = torch.rand(2, 3, 64, 64)
    pooled = {}
    model.eval().avgpool.register_forward_hook(lambda _m, _i, out: pooled.update(out=out.flatten(1)))
    with torch.no_grad():
        model(images)
        torch.testing.assert_close(trunk(images), pooled["out"])


def test_uniform_sampler_draws_equally_and_as_many_as_images():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, 5], [700, 200, 90, 10])
    drawn = UniformOverClusters().draw(labels, rng)
    assert len(drawn) == 1000
    counts = np.bincount(labels[drawn], minlength=6)
    assert set(np.flatnonzero(counts)) == {0, 1, 2, 5}
    assert counts[counts > 0].max() - counts[counts > 0].min() <= 4  # the cut to N takes a few
    assert len(np.unique(drawn[labels[drawn] == 0])) == counts[0], "large clusters are drawn without repeats"
    assert len(np.unique(drawn[labels[drawn] == 5])) == 10, "no image of a small cluster is left out"


def test_sampler_caps_repeats_and_skips_unlabelled():
    labels = np.repeat([0, 1, -1], [98, 2, 5])
    drawn = UniformOverClusters(most_repeats=3).draw(labels, np.random.default_rng(0))
    assert np.bincount(drawn).max() <= 3
    assert (labels[drawn] >= 0).all()
    assert sorted(Shuffled().draw(labels, np.random.default_rng(0))) == list(range(100))
    assert len(UniformOverClusters().draw(np.full(4, -1), np.random.default_rng(0))) == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=200), st.integers(0, 2**31 - 1))
def test_sampler_is_uniform_whatever_the_sizes(labels, seed):
    labels = np.array(labels)
    drawn = UniformOverClusters().draw(labels, np.random.default_rng(seed))
    assert len(drawn) == len(labels)
    each = len(labels) // len(np.unique(labels)) + 1
    assert np.bincount(labels[drawn]).max() <= each


def test_pca_whitens_and_matches_scikit_learn():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    features = (rng.normal(size=(500, 12)) @ rng.normal(size=(12, 12)) + 3).astype(np.float32)
    ours = fit_pca(torch.from_numpy(features), 5, whiten=True, unit=False).apply(torch.from_numpy(features))
    theirs = PCA(5, whiten=True, svd_solver="full").fit_transform(features)
    np.testing.assert_allclose(np.abs(ours.numpy()), np.abs(theirs), atol=2e-4)
    np.testing.assert_allclose(np.cov(ours.numpy().T), np.eye(5), atol=1e-4)
    unit = fit_pca(torch.from_numpy(features), 5, whiten=False, unit=True).apply(torch.from_numpy(features))
    np.testing.assert_allclose(unit.norm(dim=1).numpy(), 1, atol=1e-5)


def test_pca_is_cut_to_the_data_and_comes_back_from_a_checkpoint():
    features = torch.randn(6, 40)
    reduction = fit_pca(features, 256, whiten=False, unit=True)
    assert reduction.apply(features).shape == (6, 5)
    again = Reduction.from_state(reduction.state_dict())
    assert torch.equal(again.apply(features), reduction.apply(features))


@pytest.mark.parametrize(
    ("n", "d", "expected"),
    [
        (10_000, 128, (0, False)),
        (10_000, 4096, (64, False)),
        (200_000, 4096, (256, True)),
        (200_000, 128, (0, False)),
    ],
)
def test_pca_sizes_itself(n, d, expected):
    assert Pooled().settle(n, d) == expected


def test_pca_as_wished():
    assert Pooled(pca=256, whiten=True).settle(100, 4096) == (256, True)
    assert Pooled(pca=0).settle(200_000, 4096) == (0, False)


def test_cross_entropy_of_each_image_and_nothing_for_unlabelled():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    losses = CrossEntropy().losses(Outputs(logits, logits), ClassTargets(torch.tensor([0, 0, -1])))
    expected = [np.log(1 + np.exp(-2.0)), np.log(1 + np.exp(1.0)), 0.0]
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-6)
    with pytest.raises(TypeError, match="gives pairs"):
        CrossEntropy().losses(Outputs(logits, logits), PairTargets(torch.eye(3), torch.eye(3)))


def _round(nmi, share=0.2, in_use=10):
    change = None if nmi is None else Figures(nmi=nmi, ari=0, purity=0, acc=0)
    return Round(index=0, change=change, clusters_in_use=in_use, largest_share=share)


def test_agreement_needs_patience_and_a_round_before():
    rule = Agreement(0.9, patience=2)
    assert rule.check([_round(None)]) is None
    assert rule.check([_round(0.95), _round(0.8), _round(0.95)]) is None
    assert rule.check([_round(0.8), _round(0.95), _round(0.9)]) is StopReason.CONVERGED


def test_one_cluster_is_collapse_although_it_agrees_perfectly():
    assert collapsed(_round(1.0, share=1.0, in_use=1), share_before=0.2)
    assert collapsed(_round(1.0, share=1.0, in_use=1), share_before=1.0)
    assert collapsed(_round(0.99, share=0.995), share_before=0.2)
    assert not collapsed(_round(0.99, share=0.995), share_before=0.995), "the data were like that"
    assert not collapsed(_round(0.9, share=0.97, in_use=3), share_before=0.2)


def test_seeds_differ_by_purpose_and_stay_the_same():
    assert derive(51, "augment", 3) == derive(51, "augment", 3)
    purposes = [(51, "augment", 3), (51, "augment", 4), (51, "head", 3), (52, "augment", 3)]
    assert len({derive(*purpose) for purpose in purposes}) == 4
