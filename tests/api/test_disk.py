"""A run folder whose disk is full, read-only, in the way or gone: one sentence, and the last checkpoint stays."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.history import RoundHistory
from fiftyone_deepcluster.errors import DiskError, OptionsError
from tests.observers import Acts, Watcher

OPTIONS = fdc.DeepCluster(
    n_clusters=3,
    rounds=2,
    image_size=16,
    batch_size=32,
    min_steps=5,
    device="cpu",
    precision="float32",
    baselines=False,
)


@pytest.fixture(scope="module")
def images():
    """(60, 8, 8) uint8."""
    return (load_digits().images[:60] * 15.9375).astype("uint8")


@pytest.fixture(scope="module")
def straight(images, tmp_path_factory):
    """The run without any trouble."""
    return fdc.fit(images, OPTIONS, run_dir=tmp_path_factory.mktemp("straight"))


@pytest.fixture
def disk(small_disk, straight):
    """A disk with room for two checkpoints and a model."""
    return small_disk(3 * (straight.run_dir / checkpoints.CHECKPOINT).stat().st_size)


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(disk, images, straight):
    with pytest.raises(DiskError) as caught:
        fdc.fit(images, OPTIONS, run_dir=disk.folder, observer=Acts(disk.fill, after_round=2))
    said = str(caught.value)
    assert said.startswith(
        f"the checkpoint {disk.folder / checkpoints.CHECKPOINT} cannot be written: No space left"
    )
    assert "MB needed, 0.0 kB free)" in said
    assert said.endswith(
        "; free some space there and call fit again, which resumes from the last checkpoint, or give another run_dir"
    )
    assert not list(disk.folder.glob("*.partial"))
    assert len(checkpoints.load(disk.folder / checkpoints.CHECKPOINT)["rounds"]) == 1
    disk.free()
    found = fdc.fit(images, OPTIONS, run_dir=disk.folder)
    np.testing.assert_array_equal(found.labels, straight.labels)
    assert [entry.loss for entry in found.record.rounds] == [entry.loss for entry in straight.record.rounds]


def test_a_disk_that_is_too_small_from_the_start(small_disk, images):
    disk = small_disk(65_536)
    with pytest.raises(DiskError, match="call fit again, or give another run_dir"):
        fdc.fit(images, OPTIONS, run_dir=disk.folder / "run")
    assert list(disk.folder.iterdir()) == []


@pytest.mark.slow
def test_a_model_that_cannot_be_written_loses_no_round(disk, images):
    options = OPTIONS.model_copy(update={"baselines": True, "rounds": 1})
    with pytest.raises(
        DiskError, match=r"the model .* cannot be written: No space left .* resumes from the last"
    ):
        fdc.fit(images, options, run_dir=disk.folder, observer=Acts(disk.fill, phase="baselines"))
    disk.free()
    assert len(fdc.fit(images, options, run_dir=disk.folder).record.rounds) == 1
    assert len(fdc.predict(disk.folder, images).labels) == len(images)


def test_what_cannot_be_a_run_folder_is_refused_before_work(small_disk, tmp_path, images):
    disk, watcher = small_disk(65_536), Watcher()
    disk.read_only()
    (tmp_path / "file").write_bytes(b"")
    for place, why in [
        (disk.folder / "run", "is not writable"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "run", "is a file"),
        (tmp_path / ("x" * 300), "File name too long"),
        ("a\0b", "embedded null"),
        (5, "run_dir=5 is not a path"),
    ]:
        with pytest.raises((OptionsError, fdc.DeepClusterError), match=why):
            fdc.fit(images, OPTIONS, run_dir=place, observer=watcher)
        assert watcher.phases == []
        with pytest.raises(fdc.DeepClusterError):
            fdc.predict(place, images)


def test_rounds_that_find_no_room_name_their_file(small_disk):
    disk = small_disk(2**18)
    history = RoundHistory(10_000, disk.folder / "run")
    history.append(np.zeros(10_000, np.int64), None)
    disk.fill()
    with pytest.raises(
        DiskError, match=r"the file of the rounds .*round_losses\.bin cannot be written: No space left"
    ):
        history.append(np.ones(10_000, np.int64), None)
    assert not history.labels().any()
    disk.free()
    history.append(np.ones(10_000, np.int64), None)
    assert history.labels().sum() == 10_000


def test_torch_fails_for_other_reasons_unchanged(tmp_path):
    class Unpicklable:
        def __reduce__(self):
            raise RuntimeError("no pickle")

    with pytest.raises(RuntimeError, match="no pickle"):
        checkpoints.save(tmp_path / checkpoints.CHECKPOINT, {"value": Unpicklable()})
    assert list(tmp_path.iterdir()) == []


LIMITED = """
import json, resource, sys
import numpy as np
import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core import checkpoints
from tests.api.test_disk import OPTIONS
from tests.observers import Acts
images, folder = np.load(sys.argv[1]), sys.argv[2]
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
try:
    fdc.fit(images, OPTIONS, run_dir=folder, observer=Acts(limit, after_round=2))
except Exception as error:
    said = f"{type(error).__name__}: {error}"
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
kept = len(checkpoints.load(__import__("pathlib").Path(folder, "checkpoint.pt"))["rounds"])
labels = fdc.fit(images, OPTIONS, run_dir=folder).labels.tolist()
print(json.dumps([said, kept, labels]))
"""


def test_a_limit_of_the_process(tmp_path, images, straight):
    pytest.importorskip("resource")
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "images.npy"), str(tmp_path / "run")]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    said, kept, labels = json.loads(answer.splitlines()[-1])
    assert said.startswith(
        f"DiskError: the checkpoint {tmp_path / 'run' / checkpoints.CHECKPOINT} cannot be written: "
    )
    assert "File too large" in said
    assert "resumes from the last checkpoint" in said
    assert kept == 1
    assert not list((tmp_path / "run").glob("*.partial"))
    np.testing.assert_array_equal(labels, straight.labels)
