"""UCNN's network: the paper's sizes, the maximum over positions, weights, default sizes."""

import pytest
import torch

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.ucnn import Layout, module_class
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.methods.base import parse_options
from tests.methods.test_ucnn import TINY


def test_the_papers_sizes():
    with torch.device("meta"):
        network = module_class()(3, 224, Layout(maps=365, dim=365))
        features = network(torch.zeros(2, 3, 224, 224))
    convolutions = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64, 192, 384, 256, 256, 6144, 2048, 365]
    assert [layer.kernel_size for layer in convolutions[5:]] == [(3, 3)] * 3
    assert (network.full.in_features, network.full.out_features) == (365, 365)
    assert features.shape == (2, 365)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules())


@pytest.mark.usefixtures("seeded")
def test_the_maximum_is_over_all_positions():
    network = BACKBONES.parse({**TINY, "norm": "none"}).build(1, 16, None).eval()
    outputs = {}
    network.adaptation.register_forward_hook(lambda _m, _i, out: outputs.update(maps=out))
    network.full.register_forward_hook(lambda _m, inputs, _o: outputs.update(pooled=inputs[0]))
    network(torch.rand(2, 1, 16, 16))
    assert outputs["maps"].shape == (2, 16, 4, 4)
    assert torch.equal(outputs["pooled"], outputs["maps"].flatten(2).max(dim=2).values)


@pytest.mark.usefixtures("seeded")
def test_weights_of_torchvisions_alexnet_fill_the_first_layers(tmp_path):
    from torchvision.models import alexnet

    theirs = alexnet(weights=None).eval()
    path = str(tmp_path / "alexnet.pth")
    torch.save(theirs.state_dict(), path)
    part = {**TINY, "width": 1, "norm": "none"}
    ours = BACKBONES.parse(part).build(3, 96, path).eval()
    images = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours.convolutions(images), theirs.features(images))
    with pytest.raises(OptionsError, match="does not fit conv1-5"):
        BACKBONES.parse({**part, "width": 0.5}).build(3, 96, path)
    with pytest.raises(OptionsError, match="does not fit conv1-5"):
        BACKBONES.parse(part).build(3, 28, path)
    saved = str(tmp_path / "ucnn.pth")
    torch.save(ours.state_dict(), saved)
    again = BACKBONES.parse(part).build(3, 96, saved)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True))


def test_the_number_of_centers_is_needed():
    with pytest.raises(OptionsError, match="n_clusters=None"):
        parse_options("ucnn", {"n_clusters": None})


def test_default_sizes_depend_on_the_images_and_the_weights():
    from fiftyone_deepcluster.images.inspect import ImageFacts

    small = fdc.UCNN(n_clusters=7).resolve(ImageFacts(n=10_000, side=28, gray=True, height=28, width=28))
    assert (small.backbone.width, small.backbone.norm, small.input_norm, small.learning_rate) == (
        0.25,
        "batch",
        "zscore",
        0.02,
    )
    assert (small.pixel_clusters, small.pixel_epochs) == (56, 4)
    large = fdc.UCNN(n_clusters=7, weights="IMAGENET1K_V1")
    large = large.resolve(ImageFacts(n=10_000, side=300, gray=False, height=300, width=300))
    backbone = large.backbone
    assert (backbone.maps, backbone.dim, backbone.width, backbone.adapted, backbone.norm) == (
        7,
        7,
        1,
        1,
        "none",
    )
    assert (large.input_norm, large.learning_rate, large.head_learning_rate) == ("imagenet", 0.001, 0.01)
    assert large.pixel_epochs == 0
