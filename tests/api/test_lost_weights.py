"""Runs whose file of weights, or folder of a model, is gone: the stored network has all values that are needed."""

from __future__ import annotations

import re
import shutil
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.models import resnet18

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.given_weights import (
    StoredNetwork,
    configuration_of,
    lost_files,
    options_to_build,
)
from fiftyone_deepcluster.api.trained_run import reopen
from fiftyone_deepcluster.app.typed_names import name_problems
from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone
from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.errors import CheckpointError, OptionsError
from tests.backbones.conftest import TINY
from tests.fits import same, small_weights

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture(scope="module")
def digits():
    """(60, 8, 8) uint8 of four classes."""
    return (load_digits(n_class=4).images[:60] * 15.9375).astype(np.uint8)


@pytest.fixture
def weights(tmp_path):
    return small_weights(tmp_path)


def trained(weights, **changes):
    options = {
        "n_clusters": 4,
        "rounds": 1,
        "backbone": "small",
        "image_size": 16,
        "batch_size": 32,
        "min_steps": 5,
    }
    return fdc.DeepCluster(
        **options | {"baselines": False, "device": "cpu", "weights": str(weights)} | changes
    )


def self_trained(weights, **changes):
    return fdc.SelfTraining(
        **{
            "n_clusters": 4, "rounds": 1, "backbone": "small", "weights": str(weights), "image_size": 16,
            "min_steps": 40, "epochs": 1, "batch_size": 32, "encoder": {"name": "view-whitened", "views": 2},
            "clusterer": {"name": "consensus", "reducer": "identity", "runs": 2, "direct_runs": 2}, "stop_nmi": None,
            "precision": "float32", "device": "cpu", "baselines": False, **changes,
        }
    )  # fmt: skip


def gone(path, name="weights"):
    return rf"was made with {name}='{re.escape(str(path))}', which is gone, .*put it back there.*fit again"


@pytest.mark.parametrize("method", ["deepcluster", "self-training"])
def test_a_trained_run_is_applied_and_resumed_without_its_file(digits, weights, tmp_path, method):
    make = trained if method == "deepcluster" else self_trained
    fdc.fit(digits, make(weights), run_dir=tmp_path / "run")
    before = fdc.predict(tmp_path / "run", digits)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    more = make(weights, rounds=2)
    expected = fdc.fit(digits, more, run_dir=tmp_path / "copy")

    weights.unlink()
    found = fdc.predict(tmp_path / "run", digits)
    assert np.array_equal(found.labels, before.labels)
    assert np.array_equal(found.embeddings, before.embeddings)
    resumed = fdc.fit(digits, more, run_dir=tmp_path / "run")
    assert len(resumed.record.rounds) == 2
    assert same(resumed, expected)
    with (
        reopen(tmp_path / "run", digits) as run,
        pytest.raises(
            CheckpointError, match=rf"the run in {re.escape(str(tmp_path / 'run'))} {gone(weights)}"
        ),
    ):
        run.initial_vectors()
    with pytest.raises(OptionsError, match=r"small\.pth': there is no such file or folder"):
        fdc.fit(digits, more, run_dir=tmp_path / "other")


def test_a_frozen_network_is_also_the_one_before_training(digits, weights, tmp_path):
    """Of a backbone whose stem, with given weights, is not that of random ones at this size."""
    torch.save(resnet18(weights=None).state_dict(), weights)
    options = fdc.Frozen(n_clusters=4, backbone="resnet18", weights=str(weights), image_size=32, device="cpu")
    first = fdc.fit(digits, options, run_dir=tmp_path / "run")
    with reopen(tmp_path / "run", digits) as run:
        expected = run.initial_vectors()
    weights.unlink()
    assert np.array_equal(fdc.predict(tmp_path / "run", digits).labels, first.labels)
    with reopen(tmp_path / "run", digits) as run:
        assert run.lost_initial == ""
        assert torch.equal(run.initial_vectors(), expected)
    assert same(fdc.fit(digits, options, run_dir=tmp_path / "run"), first)


def test_baselines_on_the_given_weights_are_left_out_with_a_note(digits, weights, tmp_path):
    options = trained(weights, baselines=True)
    first = fdc.fit(digits, options, run_dir=tmp_path / "run")
    assert first.record.baselines
    weights.unlink()
    again = fdc.fit(digits, options.model_copy(update={"rounds": 2}), run_dir=tmp_path / "run")
    assert not again.record.baselines
    note = rf"the baselines on .* were left out: the run was made with weights='{re.escape(str(weights))}'"
    assert any(re.match(note, one) for one in again.record.notes)


def test_a_network_to_start_from_replaces_the_file(digits, weights, tmp_path):
    options = trained(weights)
    fdc.fit(digits, options, run_dir=tmp_path / "run")
    known = fdc.Known(network=tmp_path / "run")
    expected = fdc.fit(digits, options, known=known)
    weights.unlink()
    assert same(fdc.fit(digits, options, known=known), expected)


@pytest.fixture
def vit_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    with seeded_torch(5):
        model = transformers.ViTModel(transformers.ViTConfig(**TINY, initializer_range=0.5))
    model.save_pretrained(tmp_path / "models/vit")
    processor = transformers.ViTImageProcessor(image_mean=[0.3, 0.4, 0.5], image_std=[0.2, 0.3, 0.4])
    processor.save_pretrained(tmp_path / "models/vit")
    return tmp_path / "models/vit"


def test_the_configuration_of_a_folder_is_stored_with_the_network(digits, vit_folder, tmp_path, monkeypatch):
    """Also where its relative path could be a name on the hub, which must not be asked."""
    monkeypatch.chdir(tmp_path)
    backbone = {"name": "transformers", "model": "models/vit"}
    options = trained("pretrained", backbone=backbone, image_size=32, color="rgb")
    fdc.fit(digits, options, run_dir=tmp_path / "run")
    before = fdc.predict(tmp_path / "run", digits)
    shutil.rmtree(vit_folder)
    found = fdc.predict(tmp_path / "run", digits)
    assert np.array_equal(found.embeddings, before.embeddings)
    more = options.model_copy(update={"rounds": 2})
    assert len(fdc.fit(digits, more, run_dir=tmp_path / "run").record.rounds) == 2
    fdc.predict(tmp_path / "run", digits)  # the configuration is stored again
    lost = rf"model='models/vit' in the folder '{re.escape(str(tmp_path))}', which is gone, and which has its network"
    with reopen(tmp_path / "run", digits) as run, pytest.raises(CheckpointError, match=lost):
        run.initial_vectors()


def test_a_folder_that_is_there_but_empty_is_not_needed_either(digits, vit_folder, tmp_path):
    """As after its disk was unmounted, or its large files were deleted."""
    backbone = {"name": "transformers", "model": str(vit_folder)}
    options = trained("pretrained", backbone=backbone, image_size=32, color="rgb", baselines=True)
    fdc.fit(digits, options, run_dir=tmp_path / "run")
    before = fdc.predict(tmp_path / "run", digits)
    (vit_folder / "model.safetensors").unlink()
    again = fdc.fit(digits, options, run_dir=tmp_path / "run")
    lost = f"the run was made with the weights in model='{vit_folder}', which is gone"
    assert any(lost in note for note in again.record.notes)
    shutil.rmtree(vit_folder)
    vit_folder.mkdir()
    fdc.fit(digits, options, run_dir=tmp_path / "run")
    found = fdc.predict(tmp_path / "run", digits)
    assert np.array_equal(found.embeddings, before.embeddings)
    with (
        reopen(tmp_path / "run", digits) as run,
        pytest.raises(CheckpointError, match="the weights in model="),
    ):
        run.initial_vectors()


class Deletes(Silent):
    """Deletes a file or folder at the first event of a kind."""

    def __init__(self, path, event):
        self.path, self.event = path, event

    def phase(self, name, total):
        self.delete("phase")

    def round_done(self, entry, rounds):
        self.delete("round")

    def delete(self, event):
        if event == self.event and self.path.exists():
            shutil.rmtree(self.path) if self.path.is_dir() else self.path.unlink()


def test_a_folder_that_is_deleted_during_the_run_is_not_needed_afterwards(digits, vit_folder, tmp_path):
    backbone = {"name": "transformers", "model": str(vit_folder)}
    options = trained("pretrained", backbone=backbone, image_size=32, color="rgb")
    fdc.fit(digits, options, run_dir=tmp_path / "run", observer=Deletes(vit_folder, "round"))
    assert not vit_folder.exists()
    assert fdc.predict(tmp_path / "run", digits).labels.shape == (60,)


def test_a_checkpoint_that_is_deleted_meanwhile_leaves_no_random_network(digits, weights, tmp_path):
    paths = []
    for i, image in enumerate(digits):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(image).save(paths[-1])
    options = trained(weights)
    fdc.fit(paths[:30], options, run_dir=tmp_path / "run")
    observer = Deletes(tmp_path / "run" / checkpoints.CHECKPOINT, "phase")
    with pytest.raises(CheckpointError, match=r"lost its checkpoint while the images were read.*fit again"):
        fdc.fit(paths, options, run_dir=tmp_path / "run", observer=observer)


def test_a_stored_configuration_is_of_its_own_model_only():
    """``refine`` may change the backbone."""
    own = {"name": "transformers", "model": "models/vit"}
    state = {"network": {}, "configuration": {"config.json": "{}"}}
    other = fdc.Frozen(backbone={"name": "timm", "model": "resnet10t"}, weights="pretrained")
    for key in ("options", "resolved"):
        stored = StoredNetwork.of({**state, key: {"backbone": own}})
        assert lost_files(fdc.Frozen(backbone=own, weights="pretrained"), stored).startswith(
            "model='models/vit'"
        )
        assert lost_files(other, stored) == ""
        assert configuration_of(other, stored) == {}
        with options_to_build(other, stored) as built_with:
            assert built_with.backbone == other.backbone


def test_a_run_of_an_older_version_needs_the_folder(digits, vit_folder, tmp_path):
    backbone = {"name": "transformers", "model": str(vit_folder)}
    options = fdc.Frozen(n_clusters=4, backbone=backbone, weights="pretrained", image_size=32)
    fdc.fit(digits, options, run_dir=tmp_path / "run")
    for name in (checkpoints.MODEL, checkpoints.CHECKPOINT):
        state = checkpoints.load(tmp_path / "run" / name)
        del state["configuration"], state["format"]
        checkpoints.save(tmp_path / "run" / name, state)
    shutil.rmtree(vit_folder)
    with pytest.raises(CheckpointError, match=gone(vit_folder, "model")):
        fdc.predict(tmp_path / "run", ["no such image.png"])
    with pytest.raises(
        CheckpointError, match=r"the run to continue was made with model=.*choose another run_dir"
    ):
        fdc.fit(digits, options, run_dir=tmp_path / "run")


def test_a_folder_of_timm(digits, tmp_path):
    timm = pytest.importorskip("timm")
    from timm.models import save_for_hf

    save_for_hf(timm.create_model("resnet10t"), tmp_path / "model")
    backbone = {"name": "timm", "model": f"local-dir:{tmp_path / 'model'}"}
    options = fdc.Frozen(n_clusters=4, backbone=backbone, weights="pretrained", image_size=32, color="rgb")
    first = fdc.fit(digits, options, run_dir=tmp_path / "run")
    shutil.rmtree(tmp_path / "model")
    assert np.array_equal(fdc.predict(tmp_path / "run", digits).labels, first.labels)


class ReadsItself(Backbone):
    """Linear features; reads its file without ``load_file``."""

    name: Literal["reads-itself"] = "reads-itself"

    def make_module(self, channels, size, weights):
        from torch import nn

        module = nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, 8))
        if weights is not None:
            module.load_state_dict(torch.load(weights, weights_only=True))
        return module


def test_a_custom_backbone_that_reads_the_file_itself(digits, tmp_path, monkeypatch):
    BACKBONES.names()
    monkeypatch.setattr(BACKBONES, "_parts", dict(BACKBONES._parts))
    BACKBONES.register(ReadsItself)
    path = tmp_path / "linear.pth"
    torch.save(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 8)).state_dict(), path)
    options = fdc.Frozen(n_clusters=4, backbone="reads-itself", weights=str(path), image_size=16)
    first = fdc.fit(digits, options, run_dir=tmp_path / "run")
    assert np.array_equal(fdc.predict(tmp_path / "run", digits).labels, first.labels)
    path.unlink()
    with pytest.raises(CheckpointError, match=gone(path)):
        fdc.predict(tmp_path / "run", digits)
    with pytest.raises(CheckpointError, match=r"the run to continue was made with .*choose another run_dir"):
        fdc.fit(digits, options, run_dir=tmp_path / "run")


def test_a_custom_backbone_may_have_names_of_weights(monkeypatch):
    BACKBONES.names()
    monkeypatch.setattr(BACKBONES, "_parts", dict(BACKBONES._parts))
    BACKBONES.register(ReadsItself)
    for name in ("someone/model", "tiny.v2"):
        assert lost_files(fdc.Frozen(n_clusters=2, backbone="reads-itself", weights=name)) == ""
        form = {"name": "frozen", "backbone": {"name": "reads-itself"}, "weights": name}
        assert name_problems(form) == {}
    path = "away/tiny.pth"
    assert lost_files(fdc.Frozen(n_clusters=2, backbone="reads-itself", weights=path)).startswith("weights=")
    assert list(name_problems({**form, "weights": path})) == [("method", "frozen", "weights")]


def test_a_device_that_this_machine_lacks(digits, weights, tmp_path):
    options = trained(weights)
    first = fdc.fit(digits, options, run_dir=tmp_path / "run")
    state = checkpoints.load(tmp_path / "run" / checkpoints.MODEL)
    state["options"]["device"] = "cuda:99"
    del state["format"]
    checkpoints.save(tmp_path / "run" / checkpoints.MODEL, state)
    with pytest.raises(CheckpointError) as raised:
        fdc.predict(tmp_path / "run", ["no such image.png"])
    message = str(raised.value)
    assert f"the run in {tmp_path / 'run'} cannot be opened with its device='cuda:99'" in message
    assert f"torch finds {torch.cuda.device_count()} GPUs" in message
    assert "Resume it with device='cpu'" in message
    resumed = fdc.fit(digits, options, run_dir=tmp_path / "run")
    assert len(resumed.record.rounds) == 1
    assert np.array_equal(resumed.labels, first.labels)
    assert fdc.predict(tmp_path / "run", digits).labels.shape == (60,)
