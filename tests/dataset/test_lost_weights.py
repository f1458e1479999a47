"""A run whose file of weights is gone: every call that needs its network says so; all others work."""

from __future__ import annotations

import re

import pytest
import torch

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.errors import CheckpointError, OptionsError, RunError
from tests.dataset.small_runs import FROZEN, LEARNED


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "small.pth"
    with seeded_torch(3):
        torch.save(BACKBONES.parse("small").build(3, 16, None).state_dict(), path)
    return path


def says_what_is_lost(path, way=r"cluster again with overwrite=True"):
    return pytest.raises(
        RunError,
        match=rf"run 'dc' was made with weights='{re.escape(str(path))}', which is gone.*put it back there.*{way}",
    )


def test_every_call_that_needs_the_network_names_run_and_file(make_digits, weights):
    dataset = make_digits(60)
    first = dataset.limit(40)
    fdc.cluster(first, key="dc", rounds=1, backbone="small", weights=str(weights), **LEARNED)
    review = fdc.review(dataset, "dc")
    name = dataset.first().dc.label
    review.mark_reviewed([name])
    content = weights.read_bytes()
    weights.unlink()

    with says_what_is_lost(weights):
        fdc.assign(dataset, "dc")
    with says_what_is_lost(weights):
        fdc.list_layers(dataset, "dc")
    with says_what_is_lost(weights):
        fdc.probe(dataset, "dc", "ground_truth")
    with says_what_is_lost(weights):
        fdc.retrieve(dataset, "dc", dataset.first().id, 3, features="initial")
    with says_what_is_lost(weights):
        fdc.refine(dataset, "dc", progress=False, compute_brain=False)
    review.undo()
    with says_what_is_lost(weights):
        fdc.resume(dataset, "dc", rounds=2, progress=False, compute_brain=False)

    assert fdc.load_run(dataset, "dc").record.n_images == 40
    assert review.rename(name, "renamed")
    assert len(fdc.retrieve(dataset, "dc", dataset.first().id, 3)) == 3
    assert dataset.count("dc") == 40
    review.undo()

    weights.write_bytes(content)
    assert fdc.assign(dataset, "dc") == 20
    assert len(fdc.resume(dataset, "dc", rounds=2, progress=False, compute_brain=False).rounds) == 2


def test_objects_and_other_datasets_too(make_digits, weights):
    import fiftyone as fo

    dataset = make_digits(40)
    for sample in dataset:
        sample["objects"] = fo.Detections(detections=[fo.Detection(label="digit", bounding_box=[0, 0, 1, 1])])
        sample.save()
    patches = dataset.to_patches("objects")
    frozen = {**FROZEN, "backbone": "small", "weights": str(weights), "image_size": 16}
    fdc.cluster(patches[:30], key="dc", **frozen)
    weights.unlink()
    with says_what_is_lost(weights):
        fdc.assign(dataset.to_patches("objects"), "dc")
    with says_what_is_lost(weights):
        fdc.resume(dataset, "dc", progress=False, compute_brain=False)


def test_arrays_too_and_before_images_are_read(digits_dir, weights, tmp_path):
    paths = [str(path) for path in sorted(digits_dir.iterdir())[:40]]
    options = fdc.Frozen(n_clusters=4, backbone="small", weights=str(weights), image_size=16, baselines=False)
    fdc.fit(paths, options, run_dir=tmp_path / "run")
    weights.unlink()
    with pytest.raises(
        CheckpointError,
        match=rf"the run in .*run was made with weights='{re.escape(str(weights))}', which is gone.*or fit again",
    ):
        fdc.predict(tmp_path / "run", ["no such image.png"])
    with pytest.raises(
        OptionsError, match=r"small\.pth': there is no such file or folder; give the path of one"
    ):
        fdc.fit(["no such image.png"] * 40, options)


def test_a_folder_of_a_model_that_is_gone_is_named_and_where_a_relative_path_is_looked_for(
    tmp_path, monkeypatch
):
    from fiftyone_deepcluster.api.given_weights import lost_files

    monkeypatch.chdir(tmp_path)
    folder = fdc.Frozen(backbone={"name": "transformers", "model": "/no/folder"}, weights="pretrained")
    assert lost_files(folder) == "model='/no/folder'"
    local = fdc.Frozen(backbone={"name": "timm", "model": "local-dir:/no/folder"}, weights="w.safetensors")
    assert lost_files(local) == (
        f"weights='w.safetensors' and model='local-dir:/no/folder' in the folder {str(tmp_path)!r}"
    )
    (tmp_path / "w.safetensors").touch()
    assert lost_files(local) == "model='local-dir:/no/folder'"
    assert lost_files(fdc.Frozen(backbone="resnet18", weights="IMAGENET1K_V1")) == ""
    assert lost_files(fdc.Frozen(backbone={"name": "timm", "model": "resnet18"}, weights="pretrained")) == ""


def test_names_of_weights_are_no_files():
    from fiftyone_deepcluster.api.given_weights import lost_files

    assert lost_files(fdc.Frozen(n_clusters=2, weights="someone/model")) == ""
    for path in ("./small", "/away/small", "away/small.PTH"):
        assert lost_files(fdc.Frozen(n_clusters=2, weights=path)).startswith(f"weights={path!r}")
