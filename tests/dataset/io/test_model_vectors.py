"""Vectors that a FiftyOne model computes: its progress bars are off only meanwhile, and what fails is named."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
import torch

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.io.vectors import _NO_BARS
from fiftyone_deepcluster.errors import InputError, OptionsError


@pytest.mark.parametrize("found", [True, False])
def test_bars_are_restored_when_the_last_of_overlapping_calls_ends(found, monkeypatch):
    monkeypatch.setattr(fo.config, "show_progress_bars", found)
    _NO_BARS.__enter__()
    _NO_BARS.__enter__()
    assert not fo.config.show_progress_bars
    _NO_BARS.__exit__()
    assert not fo.config.show_progress_bars
    _NO_BARS.__exit__()
    assert fo.config.show_progress_bars is found


class Fails(fo.core.models.Model):
    """Embeds an image as NaN, or raises an error."""

    media_type = "image"
    has_embeddings = True
    has_logits = False
    ragged_batches = False
    transforms = None
    preprocess = False

    def __init__(self, raises):
        self.raises = raises

    def embed(self, image):
        if self.raises:
            raise ValueError("broken")
        return np.full(4, np.nan, np.float32)

    def embed_all(self, images):
        return np.stack([self.embed(image) for image in images])

    def predict(self, image):
        raise NotImplementedError


@pytest.mark.parametrize("raises", [True, False])
def test_a_model_without_a_finite_vector_is_named(make_digits, raises):
    dataset = make_digits(6)
    need = "model='Fails' gave no vector of finite numbers for any of the 6 images; FiftyOne logs"
    with pytest.raises(InputError, match=need):
        fdc.cluster(dataset, "frozen", "dc", model=Fails(raises), n_clusters=2, progress=False)
    assert fdc.list_runs(dataset) == []
    assert not dataset.has_field("dc")


def test_a_model_of_the_zoo_that_cannot_be_downloaded_says_where_its_files_are(
    make_digits, monkeypatch, tmp_path, caplog
):
    """The connection is refused by a proxy to which nothing listens."""
    monkeypatch.setattr(fo.config, "model_zoo_dir", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    dataset = make_digits(6)
    with pytest.raises(
        OptionsError,
        match=r"model='mobilenet-v2-imagenet-torch' of .* could not be loaded \(\S+ cannot be reached.*\)",
    ) as error:
        fdc.cluster(
            dataset, "frozen", "dc", model="mobilenet-v2-imagenet-torch", n_clusters=2, progress=False
        )
    assert f"into {str(tmp_path)!r}" in str(error.value)
    assert "ConnectionPool" not in str(error.value)
    assert "ConnectionPool" in caplog.text  # the cause
    assert not dataset.has_field("dc")


def test_a_network_of_torch_is_refused_in_one_line_which_says_what_to_give(make_digits):
    network = torch.nn.Sequential(torch.nn.AvgPool2d(2), torch.nn.ReLU())
    for given, need in (
        ({"model": network}, "model=Sequential has no embeddings; .* as backbone"),
        ({"backbone": network}, r"\(a Sequential\) is not one of the backbones; give one of"),
    ):
        with pytest.raises(OptionsError, match=need) as error:
            fdc.cluster(make_digits(6), "frozen", "dc", n_clusters=2, progress=False, **given)
        assert "\n" not in str(error.value)
