"""View whitening against a slow loop, views that are the same everywhere, and maps that are cached."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.cut import cut_layer, freeze_until, upper_part
from fiftyone_deepcluster.backbones.input_norms import make_input_norm
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.features.base import EncodeRequest
from fiftyone_deepcluster.features.view_outputs import FEATURES, cache_maps, view_outputs
from fiftyone_deepcluster.features.view_whitening import ViewWhitened
from fiftyone_deepcluster.features.views import Views, draws_of, pixel_hashes


def whitened(views, strength):
    """The formula, image by image: (V, N, D) features -> (N, D)."""
    views = views / views.norm(dim=2, keepdim=True)
    middle = views.mean(0)
    within = torch.zeros(views.shape[2], views.shape[2], dtype=torch.float64)
    for image in range(views.shape[1]):
        for view in range(len(views)):
            apart = (views[view, image] - middle[image]).double()
            within += torch.outer(apart, apart)
    within /= views.shape[1] * (len(views) - 1)
    added = strength * within.trace() / len(within) * torch.eye(len(within))
    values, vectors = torch.linalg.eigh(within + added)
    return normalize((middle - middle.mean(0)).double() @ vectors @ torch.diag(values**-0.5)).float()


def test_vectors_equal_those_of_a_loop_over_images_and_views(corpus):
    encoder = ViewWhitened(views=4, strength=0.5)
    rows = np.arange(len(corpus))
    everything = torch.cat([pixels for _, pixels in corpus.pixel_batches(rows)])
    with torch.no_grad():
        views = torch.stack(
            [
                corpus.network.eval().features(view)
                for view in encoder.view_settings.of(everything, corpus.size)
            ]
        )
    found = encoder.encode(corpus, EncodeRequest(0))
    torch.testing.assert_close(found.vectors.abs(), whitened(views, 0.5).abs(), atol=1e-4, rtol=1e-3)
    assert found.widths == (corpus.network.dim,)


def test_given_vectors_of_several_views_are_whitened_like_features(make_corpus):
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(60, 1, 6, generator=generator) + 0.3 * torch.randn(60, 5, 6, generator=generator)
    found = ViewWhitened(strength=2.0).encode(make_corpus(given=given), EncodeRequest(0)).vectors
    torch.testing.assert_close(found.abs(), whitened(given.transpose(0, 1), 2.0).abs(), atol=1e-4, rtol=1e-3)
    with pytest.raises(OptionsError, match="one vector for each image were given"):
        ViewWhitened().encode(make_corpus(given=given[:, 0]), EncodeRequest(0))


def test_layers_have_the_weights_that_are_asked_for(corpus):
    names = [layer.name for layer in corpus.layers()]
    assert names == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6"]
    both = ViewWhitened(views=3, layer="fc6, conv3", layer_weights="2, 1")
    found = both.encode(corpus, EncodeRequest(0))
    last, first = found.vectors.split(found.widths, dim=1)
    torch.testing.assert_close(last.norm(dim=1), 2 * first.norm(dim=1))
    plain = both.model_copy(update={"l2_normalize": False}).encode(corpus, EncodeRequest(0)).vectors
    lengths = [part.norm(dim=1).mean().item() for part in plain.split(found.widths, dim=1)]
    assert lengths == pytest.approx([2.0, 1.0], rel=1e-4), "the mean lengths of the parts are their weights"
    auto = ViewWhitened(views=3, layer="auto").encode(corpus, EncodeRequest(0))
    assert auto.widths == (corpus.network.dim, 16), (
        "the features, and conv4, the last one before the last reduction"
    )
    with pytest.raises(OptionsError, match="has 1 numbers for 2 layers"):
        both.model_copy(update={"layer_weights": "1"}).encode(corpus, EncodeRequest(0))
    with pytest.raises(OptionsError, match="give numbers above 0"):
        ViewWhitened(layer_weights="1, -1")


def test_views_are_the_image_its_mirror_image_and_crops_of_its_own(corpus):
    _, pixels = next(corpus.pixel_batches(np.arange(8)))
    views = Views(5)
    image, mirrored, *crops = views.of(pixels, corpus.size)
    torch.testing.assert_close(image, pixels / 255)
    torch.testing.assert_close(mirrored, image.flip(-1))
    assert len(crops) == 3
    sharp = views.augment.model_copy(update={"interpolation": "bicubic"})
    for view, crop in enumerate(crops, start=2):
        torch.testing.assert_close(
            crop, sharp.change(pixels, corpus.size, draws_of(pixel_hashes(pixels), view))
        )
    _, _, *again = views.of(pixels[[3, 3]], corpus.size)
    for crop, pair in zip(crops, again, strict=True):
        assert not torch.allclose(crop, image)
        torch.testing.assert_close(pair, crop[[3, 3]])
    ramp = torch.linspace(0, 250, 24).round().to(torch.uint8).repeat(1, 24, 1)
    nearly = ramp.clone()
    nearly[0, 0, 0] = 1
    _, _, crop, *_ = views.of(torch.stack([ramp, nearly]), 24)
    assert not torch.allclose(crop[0], crop[1], atol=0.05), "nearly the same image, another crop"


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_cached_maps_give_the_outputs_of_the_images(make_corpus, precision):
    corpus, views = make_corpus(), Views(3)
    corpus.compute = type(corpus.compute)(torch.device("cpu"), precision)
    layers = [FEATURES, corpus.layers()[3]]

    def outputs():
        return [values for _, values in view_outputs(corpus, views, layers)]

    expected = [torch.cat(values, dim=1) for values in zip(*outputs(), strict=True)]
    blank = torch.zeros(1, 1, 24, 24)
    cut = cut_layer(corpus.network, blank)
    assert cut.name == "conv4"
    assert cache_maps(corpus, views, cut)
    assert corpus.cached.maps.shape == (60, 3, 16, 12, 12)
    assert corpus.cached.maps.dtype == precision
    found = [torch.cat(values, dim=1) for values in zip(*outputs(), strict=True)]
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, atol=0.02 if precision == torch.bfloat16 else 1e-5, rtol=0.02)
    freeze_until(corpus.network, cut)
    frozen = [name for name, weights in corpus.network.named_parameters() if not weights.requires_grad]
    assert {name.split(".")[2] for name in frozen} == {"0", "1", "3", "4", "7", "8", "10", "11"}


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(
    ("model", "stages", "cut"),
    [
        ("mobilenet_v2", 1, "features.13"),
        ("mobilenet_v2", 2, "features.6"),
        ("mobilenet_v2", 3, "features.3"),
        ("squeezenet1_1", 1, "features.7"),
        ("resnet18", 1, "layer3.1"),
        ("resnet18", 2, "layer2.1"),
        ("alexnet", 1, "conv2"),
    ],
)
def test_networks_are_cut_where_their_layers_follow_each_other(model, stages, cut):
    body = BACKBONES.parse({"name": "torchvision", "model": model}).build(3, 96, None)
    network = Network(make_input_norm("imagenet", 3), body).eval()
    images = torch.rand(2, 3, 96, 96)
    layer = cut_layer(network, images, stages=stages)
    assert layer.name == cut
    upper = upper_part(network, layer, images)
    assert upper is not None
    own = {id(weights) for weights in upper.parameters()}
    assert own < {id(weights) for weights in network.backbone.parameters()}, "the same weights, not copies"


class Residual(torch.nn.Module):
    """The second convolution is added to the first: the features are no function of the second one's output."""

    dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = self.first(images)
        return (first + self.second(first)).mean((2, 3))


@pytest.mark.usefixtures("seeded")
def test_a_network_with_steps_between_its_layers_is_not_cut():
    network = Network(make_input_norm("plain", 1), Residual()).eval()
    images = torch.rand(2, 1, 8, 8)
    assert upper_part(network, cut_layer(network, images, "conv2"), images) is None
    assert upper_part(network, cut_layer(network, images, "conv1"), images) is not None
