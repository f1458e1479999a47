"""Fits with models of timm and transformers: frozen features, and self-training of their upper blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.trained_run import reopen
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.errors import InputError
from tests.fits import same

timm = pytest.importorskip("timm")
pytest.importorskip("transformers")

pytestmark = pytest.mark.usefixtures("seeded")

VIT = {"name": "timm", "model": "vit_tiny_patch16_224"}


@pytest.fixture(scope="module")
def digits():
    """(80, 8, 8) uint8 of four classes."""
    return (load_digits(n_class=4).images[:80] * 15.9375).astype(np.uint8)


@pytest.fixture(scope="module")
def vit_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vit.pth"
    with seeded_torch(8):
        torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), path)
    return str(path)


@pytest.mark.parametrize("layer", [None, "auto", "features,blocks.10,blocks.6"])
def test_view_whitened_features_of_a_frozen_model(digits, vit_weights, tmp_path, layer):
    encoder = {"name": "view-whitened", "views": 3, "layer": layer}
    options = fdc.Frozen(
        n_clusters=4, backbone=VIT, weights=vit_weights, encoder=encoder, image_size=32, baselines=False
    )
    result = fdc.fit(digits, options, run_dir=tmp_path / "run")
    with reopen(tmp_path / "run", digits) as reopened:
        assert reopened.options.input_norm == "model"
    width = 192 * (3 if layer and "," in layer else 1)
    assert result.embeddings.shape == (80, width)
    assert result.record.environment["timm"] == timm.__version__
    again = fdc.predict(tmp_path / "run", digits)
    assert np.array_equal(again.labels, result.labels)


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_self_training_trains_the_upper_blocks_and_is_resumed_and_applied(
    digits, vit_weights, dinov2, tmp_path, library
):
    backbone = VIT if library == "timm" else {"name": library, "model": dinov2}
    options = fdc.SelfTraining(
        n_clusters=4, rounds=2, backbone=backbone, weights=vit_weights if library == "timm" else None, image_size=32,
        baselines=False, min_steps=30, epochs=1, batch_size=32, encoder={"name": "view-whitened", "views": 2},
        clusterer={"name": "consensus", "reducer": "identity", "runs": 2, "direct_runs": 2}, stop_nmi=None,
        precision="float32", device="cpu", plain_start=False, keep_first=False, trained_stages=1,
    )  # fmt: skip
    whole = fdc.fit(digits, options, run_dir=tmp_path / "whole")
    assert [one.scores["cached_maps"] for one in whole.record.rounds] == [1.0, 1.0]
    with reopen(tmp_path / "whole", digits) as reopened:
        after, before = reopened.trained.network.backbone, reopened.initial.network.backbone
    first = before.state_dict()
    changed = {key for key, value in after.state_dict().items() if not torch.equal(value, first[key])}
    blocks = ("model.blocks.9.", "model.blocks.1", "model.norm.")  # 9, 10 and 11 of 12
    upper = blocks if library == "timm" else ("model.encoder.layer.3.", "model.layernorm.")
    assert changed
    assert all(key.startswith(upper) and not key.startswith("model.blocks.1.") for key in changed)
    applied = fdc.predict(tmp_path / "whole", digits)
    np.testing.assert_allclose(applied.embeddings, whole.embeddings, atol=1e-5)
    part = options.model_copy(update={"rounds": 1})
    fdc.fit(digits, part, run_dir=tmp_path / "parts")
    resumed = fdc.fit(digits, options, run_dir=tmp_path / "parts")
    assert same(resumed, whole)


def test_the_output_of_a_model_is_no_layer_to_cut_at(digits):
    options = fdc.SelfTraining(n_clusters=4, backbone=VIT, image_size=32, layer="features", device="cpu")
    with pytest.raises(
        InputError, match=r"'features' is the output of the backbone.*choose an earlier layer"
    ):
        fdc.fit(digits, options)
