"""Networks and input norms against references by hand or by slow loops."""

import numpy as np
import pytest
import torch

from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.input_norms import make_input_norm
from fiftyone_deepcluster.backbones.network import Network, build_network
from fiftyone_deepcluster.errors import OptionsError

SIZES = {"alexnet": 64, "vgg16": 32}


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("name", BACKBONES.names())
@pytest.mark.parametrize("channels", [1, 3])
def test_every_backbone_gives_features_of_its_dim(name, channels, parse_backbone):
    backbone, size = parse_backbone(name), SIZES.get(name, 28)
    network = build_network(backbone, backbone.input_norm, (channels, size)).eval()
    outputs = network(torch.rand(2, channels, size, size))
    assert outputs.features.shape == (2, network.dim)
    assert outputs.logits.shape == (2, 0)
    network.replace_head(7, seed=1)
    assert network(torch.rand(2, channels, size, size)).logits.shape == (2, 7)


@pytest.mark.usefixtures("seeded")
def test_alexnet_has_the_papers_layers():
    network = BACKBONES.parse("alexnet").build(2, 224, None)
    convolutions = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [96, 256, 384, 384, 256]
    linear = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(9216, 4096), (4096, 4096)]
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules()) == 5
    assert network.relu_before_head
    features = network.eval()(torch.randn(4, 2, 224, 224))
    assert (features < 0).any(), "features come before the ReLU"


@pytest.mark.usefixtures("seeded")
def test_the_head_gets_features_after_relu_if_relu_before_head():
    body = BACKBONES.parse("pixels").build(1, 4, None)
    network = Network(make_input_norm("zscore", 1), body, relu_before_head=True)
    network.replace_head(3, seed=0)
    outputs = network(torch.rand(5, 1, 4, 4))
    torch.testing.assert_close(outputs.logits, network.head(outputs.features.clamp_min(0)))


@pytest.mark.usefixtures("seeded")
def test_new_head_has_small_weights_and_no_bias_and_its_own_seed():
    network = Network(make_input_norm("plain", 1), BACKBONES.parse("pixels").build(1, 28, None))
    network.replace_head(50, seed=1)
    first = network.head.weight.detach().clone()
    assert abs(float(first.std()) - 0.01) < 0.0005
    assert not network.head.bias.any()
    network.replace_head(50, seed=1)
    assert torch.equal(first, network.head.weight)
    network.replace_head(50, seed=2)
    assert not torch.equal(first, network.head.weight)


def test_sobel_of_a_constant_is_zero_inside_and_of_a_step_is_four_times_it():
    input_norm = make_input_norm("sobel", 1)
    assert torch.allclose(
        input_norm(torch.full((1, 1, 8, 8), 0.3))[:, :, 1:-1, 1:-1], torch.zeros(1), atol=1e-5
    )
    step = torch.zeros(1, 1, 8, 8)
    step[..., 4:] = 1.0
    scale = float(np.mean(1 / np.array([0.229, 0.224, 0.225])))  # mean of the normalized colors
    inside = input_norm(step)[0, :, 2:-2, 3]
    torch.testing.assert_close(inside[0], torch.full_like(inside[0], -4 * scale))
    torch.testing.assert_close(inside[1], torch.zeros_like(inside[1]))


@pytest.mark.usefixtures("seeded")
def test_zscore_by_image():
    images = torch.rand(3, 1, 9, 9) * torch.tensor([1.0, 0.1, 5.0]).view(3, 1, 1, 1)
    found = make_input_norm("zscore", 1)(images)
    torch.testing.assert_close(found.mean(dim=(1, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(dim=(1, 2, 3), unbiased=False), torch.ones(3), atol=1e-4, rtol=0)
    assert not make_input_norm("zscore", 1)(torch.full((1, 1, 4, 4), 0.7)).abs().max() > 1e-3


def test_gray_becomes_three_channels_for_imagenet_weights():
    found = make_input_norm("imagenet", 1)(torch.full((1, 1, 2, 2), 0.485))
    assert found.shape == (1, 3, 2, 2)
    assert abs(float(found[0, 0, 0, 0])) < 1e-6


@pytest.mark.usefixtures("seeded")
def test_weights_from_a_local_file_and_clear_errors(tmp_path):
    backbone = BACKBONES.parse("small")
    made = backbone.build(1, 28, None)
    path = tmp_path / "small.pt"
    torch.save({"state_dict": made.state_dict()}, path)
    loaded = backbone.build(1, 28, str(path))
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), loaded.parameters(), strict=True))
    with pytest.raises(OptionsError, match="does not fit the backbone 'small'"):
        BACKBONES.parse({"name": "small", "width": 8}).build(1, 28, str(path))
    with pytest.raises(OptionsError, match="neither a file nor"):
        backbone.build(1, 28, "IMAGENET1K_V1")
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"no weights at all")
    with pytest.raises(
        OptionsError,
        match=r"cannot be read as a state dict \(\w+\); save one with torch.save\(model.state_dict\(\), path\)",
    ):
        backbone.build(1, 28, str(broken))
    with pytest.raises(OptionsError, match="has no weights"):
        BACKBONES.parse("pixels").build(1, 28, "DEFAULT")
    with pytest.raises(OptionsError, match="too small for the backbone 'alexnet'"):
        BACKBONES.parse("alexnet").build(2, 32, None)
    with pytest.raises(OptionsError, match="not an image classifier of torchvision; did you mean 'resnet1"):
        BACKBONES.parse({"name": "torchvision", "model": "resnet19"}).build(3, 32, None)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(
    ("name", "size", "problem"),
    [
        (
            "resnet18",
            64,
            r"\(missing: conv1\.weight, bn1\.weight, bn1\.bias and 99 more; unexpected: features",
        ),
        (
            "alexnet",
            224,
            r"\(missing: layers\.0\.weight, .* and 31 more; unexpected: features\.0\.0\.weight, ",
        ),
        ("small", 28, r"\(missing: layers\.0\.weight, .* and 27 more; unexpected: features\.0\.0\.weight, "),
        ("slim-vgg", 64, r"\(missing: .* more; unexpected: features\.0\.0\.weight, "),
    ],
)
def test_the_message_about_weights_of_another_model_is_short(tmp_path, name, size, problem):
    from torchvision.models import mobilenet_v2

    path = tmp_path / "other.pth"
    torch.save(mobilenet_v2(weights=None).state_dict(), path)
    with pytest.raises(OptionsError, match=rf"does not fit .*{problem}") as caught:
        BACKBONES.parse(name).build(3, size, str(path))
    message = str(caught.value)
    assert len(message) < 400 + len(str(path))
    assert "\n" not in message
    assert message.endswith("or set the backbone to the model of the file")


@pytest.mark.usefixtures("seeded")
def test_weights_of_other_sizes_are_named_with_both_sizes(tmp_path):
    from torchvision.models import resnet18

    path = tmp_path / "other.pth"
    torch.save(resnet18(num_classes=10).state_dict(), path)
    with pytest.raises(
        OptionsError,
        match=r"resnet18 \(of another size: fc\.weight of \(10, 512\) instead of \(1000, 512\), fc\.bias of \(10,\)",
    ):
        BACKBONES.parse("resnet18").build(3, 64, str(path))


@pytest.mark.usefixtures("seeded")
def test_weights_without_the_counters_of_batch_norm_are_complete(tmp_path):
    """As files of torch before 0.4.1, and of libraries that leave them out."""
    made = BACKBONES.parse("small").build(1, 28, None)
    path = tmp_path / "small.pt"
    state = {name: value for name, value in made.state_dict().items() if "num_batches" not in name}
    torch.save(state, path)
    BACKBONES.parse("small").build(1, 28, str(path))
    del state["full.weight"]
    torch.save(state, path)
    with pytest.raises(OptionsError, match=r"\(missing: full\.weight\); give"):
        BACKBONES.parse("small").build(1, 28, str(path))


@pytest.mark.usefixtures("seeded")
def test_of_many_models_the_message_names_the_first():
    with pytest.raises(OptionsError, match=r"choose one of: alexnet, convnext_base, .* more$") as caught:
        BACKBONES.parse({"name": "torchvision", "model": "zzzz"}).build(3, 32, None)
    assert len(str(caught.value)) < 700


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("model", ["fasterrcnn_resnet50_fpn", "deeplabv3_resnet50", "r3d_18", "raft_small"])
def test_models_that_classify_no_images_are_refused_before_they_are_built(model):
    with pytest.raises(OptionsError, match=f"model='{model}' is not an image classifier"):
        BACKBONES.parse({"name": "torchvision", "model": model}).build(3, 64, None)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("model", ["vit_b_16", "inception_v3"])
def test_models_for_larger_images_are_refused_with_the_size_they_need(model):
    with pytest.raises(
        OptionsError, match=rf"model='{model}' does not accept images of 64 pixels .*image_size=224"
    ):
        BACKBONES.parse({"name": "torchvision", "model": model}).build(3, 64, None)


@pytest.mark.usefixtures("seeded")
def test_torchvision_weights_from_a_file_are_those_of_the_model(tmp_path):
    from torchvision.models import resnet18

    model = resnet18(weights=None)
    path = tmp_path / "resnet18.pth"
    torch.save(model.state_dict(), path)
    backbone = BACKBONES.parse("resnet18").build(3, 64, str(path)).eval()
    images = torch.rand(2, 3, 64, 64)
    pooled = {}
    model.eval().avgpool.register_forward_hook(lambda _m, _i, out: pooled.update(out=out.flatten(1)))
    with torch.no_grad():
        model(images)
        torch.testing.assert_close(backbone(images), pooled["out"])
