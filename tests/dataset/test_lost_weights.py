"""A run of a dataset whose file of weights is gone: only the network before training needs it, and says so."""

from __future__ import annotations

import logging
import re

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.given_weights import StoredNetwork, lost_files
from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.dataset.job_verbs import _best_layer
from fiftyone_deepcluster.dataset.runs import run_files
from fiftyone_deepcluster.errors import CheckpointError, OptionsError, RunError
from tests.dataset.small_runs import FROZEN, LEARNED
from tests.fits import small_weights

QUIET = {"progress": False, "compute_brain": False}


@pytest.fixture
def weights(tmp_path):
    return small_weights(tmp_path)


def says_what_is_lost(path, why="which has its network before training"):
    return pytest.raises(
        RunError,
        match=rf"run 'dc' was made with weights='{re.escape(str(path))}', which is gone, and {why}; put it back there"
        ".*cluster again under another key, which keeps this run and its review",
    )


def test_calls_that_need_the_trained_network_only(make_digits, weights, tmp_path, caplog):
    dataset = make_digits(60)
    fdc.cluster(dataset.limit(40), key="dc", rounds=1, backbone="small", weights=str(weights), **LEARNED)
    before = fdc.probe(dataset, "dc", "ground_truth")
    weights.unlink()

    assert fdc.assign(dataset, "dc") == 20
    with caplog.at_level(logging.WARNING):
        probe = fdc.probe(dataset.limit(40), "dc", "ground_truth")
    assert "is of its trained network only" in caplog.text
    assert str(weights) in caplog.text
    assert probe.scores == tuple(score for score in before.scores if score.network == "trained")
    assert probe.to_dataframe()["logistic_gain"].isna().all()
    assert _best_layer(probe).endswith("of held-out images")
    assert _best_layer(before).endswith("before training")
    assert list(fdc.list_layers(dataset, "dc"))
    assert (
        len(fdc.draw_filters(dataset, "dc", out_dir=tmp_path / "drawn", units=[0], ascent={"steps": 1}).units)
        == 1
    )
    assert fdc.resume(dataset, "dc", rounds=2, **QUIET).record.rounds[-1].index == 1
    assert fdc.assign(dataset, "dc") == 20


def test_only_features_before_training_need_the_file(make_digits, weights):
    dataset = make_digits(40)
    fdc.cluster(dataset, key="dc", rounds=1, backbone="small", weights=str(weights), **LEARNED)
    content = weights.read_bytes()
    weights.unlink()
    image = dataset.first().id
    with says_what_is_lost(weights):
        fdc.retrieve(dataset, "dc", image, 3, features="initial")
    assert len(fdc.retrieve(dataset, "dc", image, 3)) == 3
    kinds = [score.features for score in fdc.retrieval_score(dataset, "dc", "ground_truth").scores]
    assert kinds == ["learned", "pixels"]
    assert fdc.index_neighbors(dataset, "dc") == 40
    weights.write_bytes(content)
    kinds = [score.features for score in fdc.retrieval_score(dataset, "dc", "ground_truth").scores]
    assert kinds == ["learned", "initial", "pixels"]
    weights.unlink()
    assert len(fdc.retrieve(dataset, "dc", image, 3, features="initial")) == 3  # stored by the score
    kinds = [score.features for score in fdc.retrieval_score(dataset, "dc", "ground_truth").scores]
    assert kinds == ["learned", "initial", "pixels"]


@pytest.mark.parametrize("method", ["deepcluster", "frozen"])
def test_a_reviewed_run_is_refined(make_digits, weights, method):
    dataset = make_digits(40)
    options = LEARNED if method == "deepcluster" else {**FROZEN, "image_size": 16}
    fdc.cluster(
        dataset,
        key="dc",
        **{**options, "method": method, "backbone": "small", "weights": str(weights), "rounds": 1},
    )
    fdc.review(dataset, "dc").mark_reviewed([dataset.first().dc.label])
    fdc.refine(dataset, "dc", new_key="with_file", **QUIET)
    other = weights.parent / "typo.pth"
    weights.unlink()
    with pytest.raises(OptionsError, match=r"typo\.pth': there is no such file"):
        fdc.refine(dataset, "dc", weights=str(other), **QUIET)
    fdc.refine(dataset, "dc", new_key="refined", **QUIET)
    assert dataset.values("refined.label") == dataset.values("with_file.label")
    assert fdc.assign(make_digits(20), "refined", from_dataset=dataset) == 20


def test_a_run_without_a_checkpoint_is_resumed_with_the_file_only(make_digits, weights):
    """As after a process was killed before its first clusters."""
    dataset = make_digits(40)
    fdc.cluster(dataset, key="dc", rounds=1, backbone="small", weights=str(weights), **LEARNED)
    (run_files.run_dir(dataset, "dc") / checkpoints.CHECKPOINT).unlink()
    weights.unlink()
    with says_what_is_lost(weights, "from which its network is built"):
        fdc.resume(dataset, "dc", **QUIET)


@pytest.mark.parametrize("method", ["deepcluster", "frozen"])
def test_a_refined_run_without_a_checkpoint_is_resumed_without_the_file(make_digits, weights, method):
    """As after a process was killed before its first clusters: the network is that of the run that it refines."""
    dataset = make_digits(40)
    options = LEARNED if method == "deepcluster" else {**FROZEN, "image_size": 16}
    given = {"method": method, "backbone": "small", "weights": str(weights), "rounds": 1}
    fdc.cluster(dataset, key="dc", **{**options, **given})
    fdc.review(dataset, "dc").mark_reviewed([dataset.first().dc.label])
    fdc.refine(dataset, "dc", new_key="refined", **QUIET)
    before = dataset.values("refined.label")
    kill_early(dataset, "refined")
    weights.unlink()
    fdc.resume(dataset, "refined", **QUIET)
    assert dataset.values("refined.label") == before

    kill_early(dataset, "refined")
    fdc.delete_run(dataset, "dc")
    lost = (
        "the run that this one refines was deleted"
        if method == "deepcluster"
        else (
            "weights=.* is gone, .*put it back there .*, or leave the run as it is until you can: its files have"
        )
    )
    with pytest.raises(RunError, match=lost):
        fdc.resume(dataset, "refined", **QUIET)
    assert run_files.load_job(run_files.run_dir(dataset, "refined")).decided is not None


def kill_early(dataset, key):
    """Leave of a finished run what one leaves that is killed before its first clusters."""
    for name in (checkpoints.CHECKPOINT, checkpoints.MODEL):
        (run_files.run_dir(dataset, key) / name).unlink(missing_ok=True)


def test_objects_too(make_digits, weights):
    import fiftyone as fo

    dataset = make_digits(40)
    for sample in dataset:
        sample["objects"] = fo.Detections(detections=[fo.Detection(label="digit", bounding_box=[0, 0, 1, 1])])
        sample.save()
    patches = dataset.to_patches("objects")
    fdc.cluster(
        patches[:30], key="dc", **{**FROZEN, "backbone": "small", "weights": str(weights), "image_size": 16}
    )
    weights.unlink()
    assert fdc.assign(dataset.to_patches("objects"), "dc") == 10
    assert len(fdc.retrieve(dataset, "dc", patches.first().id, 3, features="initial")) == 3
    assert fdc.resume(dataset, "dc", **QUIET).record.n_images == 30


def test_a_device_that_this_machine_lacks_is_replaced_by_resume(make_digits):
    dataset = make_digits(40)
    run = fdc.cluster(dataset.limit(30), key="dc", rounds=1, backbone="small", **LEARNED)
    file = run_files.run_dir(dataset, "dc") / checkpoints.MODEL
    state = checkpoints.load(file)
    state["options"]["device"] = "cuda:99"
    del state["format"]
    checkpoints.save(file, state)
    with pytest.raises(CheckpointError, match=r"device='cuda:99'.*torch finds \d+ GPUs.*device='cpu'"):
        fdc.assign(dataset, "dc")
    assert len(fdc.resume(dataset, "dc", device="cpu", **QUIET).rounds) == len(run.rounds)
    assert fdc.assign(dataset, "dc") == 10


def test_a_folder_of_a_model_that_is_gone_is_named_and_where_a_relative_path_is_looked_for(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    here = f" in the folder {str(tmp_path)!r}"

    def frozen(name, model, weights="pretrained"):
        return fdc.Frozen(backbone={"name": name, "model": model}, weights=weights)

    assert lost_files(frozen("transformers", "/no/folder")) == "model='/no/folder'"
    assert lost_files(frozen("transformers", "my/own/vit")) == f"model='my/own/vit'{here}"
    local = frozen("timm", "local-dir:/no/folder", "w.safetensors")
    assert lost_files(local) == f"weights='w.safetensors' and model='local-dir:/no/folder'{here}"
    (tmp_path / "w.safetensors").touch()
    assert lost_files(local) == "model='local-dir:/no/folder'"
    assert lost_files(frozen("timm", "local-dir:vit")) == f"model='local-dir:vit'{here}"
    assert lost_files(fdc.Frozen(backbone="resnet18", weights="IMAGENET1K_V1")) == ""
    assert lost_files(frozen("timm", "resnet18")) == ""

    # a name on the hub, unless the run was made with a folder
    hub = frozen("transformers", "models/vit")
    assert lost_files(hub) == ""
    assert lost_files(hub, StoredNetwork()) == ""
    stored = StoredNetwork(configuration={"config.json": "{}"})
    assert lost_files(hub, stored) == f"model='models/vit'{here}"
    assert lost_files(hub, stored, values=False) == ""
    (tmp_path / "models/vit").mkdir(parents=True)
    assert lost_files(hub, stored) == f"the weights in model='models/vit'{here}"
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "models/vit" / name).touch()
    assert lost_files(hub, stored) == ""


@pytest.mark.parametrize("backbone", [None, "small", "resnet18", "timm", "transformers"])
def test_names_of_weights_are_no_files(backbone):
    for name in ("IMAGENET1K_V1", "DEFAULT", "pretrained"):
        assert lost_files(fdc.DeepCluster(n_clusters=2, backbone=backbone, weights=name)) == ""
    for path in ("./small", "/away/small", "away/small.PTH", "mynet.weights", "ckpt.bin2", "away/net", "net"):
        lost = lost_files(fdc.DeepCluster(n_clusters=2, backbone=backbone, weights=path))
        assert lost.startswith(f"weights={path!r}")


@pytest.mark.parametrize("name", ["mynet.weights", "ckpt.bin2", "net"])
def test_a_relative_path_with_any_ending_is_a_file(make_digits, weights, monkeypatch, name):
    monkeypatch.chdir(weights.parent)
    weights.rename(name)
    dataset = make_digits(40)
    fdc.cluster(dataset, key="dc", rounds=1, backbone="small", weights=name, **LEARNED)
    (weights.parent / name).unlink()
    lost = (
        f"{name}' in the folder '{re.escape(str(weights.parent))}', which is gone, and which has its network"
    )
    with pytest.raises(RunError, match=lost):
        fdc.retrieve(dataset, "dc", dataset.first().id, 3, features="initial")
    kinds = [score.features for score in fdc.retrieval_score(dataset, "dc", "ground_truth").scores]
    assert kinds == ["learned", "pixels"]
    with pytest.raises(OptionsError, match=f"{name}' in the folder .*: there is no such file or folder"):
        fdc.cluster(dataset, key="dc2", rounds=1, backbone="small", weights=name, **LEARNED)
