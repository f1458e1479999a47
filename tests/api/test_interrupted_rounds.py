"""A round writes what it found and not the rounds before it; a run that ended at any point goes on as if it had not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.history import LABELS_FILE, LOSSES_FILE
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.errors import CheckpointError
from tests.fits import same

OPTIONS = {
    "n_clusters": 5,
    "rounds": 3,
    "baselines": False,
    "image_size": 16,
    "batch_size": 32,
    "min_steps": 1,
}
MADE = {
    "deepcluster": lambda: fdc.DeepCluster(**OPTIONS, pseudo_clusters=10),
    "deepcluster-v2": lambda: fdc.DeepClusterV2(**OPTIONS, pseudo_clusters=10),
    "ucnn": lambda: fdc.UCNN(
        **{name: value for name, value in OPTIONS.items() if name != "min_steps"},
        pixel_epochs=1,
        backbone={"name": "ucnn", "maps": 8, "dim": 8, "width": 0.125, "adapted": 1 / 128},
    ),
}


def digits(n=64):
    """(n, 16, 16), the size that the network sees, so that nothing is decoded."""
    return np.kron((load_digits().images[:n] * 15.9375).astype(np.uint8), np.ones((1, 2, 2), np.uint8))


class Sizes(Silent):
    """Bytes of the files of a run at the start of every round's training."""

    def __init__(self, folder):
        self.folder, self.found = folder, []

    def phase(self, name, total):
        if name == "train":
            self.found.append([
                path.stat().st_size if path.exists() else 0
                for path in (self.folder / file for file in (checkpoints.CHECKPOINT, LABELS_FILE, LOSSES_FILE))
            ])  # fmt: skip


def test_bytes_written_in_a_round_do_not_grow_with_the_rounds(tmp_path):
    n, rounds, seen = 1500, 4, Sizes(tmp_path)
    options = fdc.DeepCluster(**{**OPTIONS, "rounds": rounds, "batch_size": 256})
    result = fdc.fit(digits(n), options, run_dir=tmp_path, observer=seen)
    grown = np.diff(seen.found, axis=0)
    assert grown.shape == (rounds - 1, 3)
    # the checkpoint is written anew in every round; its metrics of a round need the same bytes for any number of images
    assert (grown[1:, 0] < n).all(), "not even a byte for each image"
    assert (grown[:, 1] == n).all(), "a byte for the cluster of each image"
    assert (grown[:, 2] == 4 * n).all(), "four for its loss"
    assert result.round_labels.dtype == np.int8


class Ended(BaseException):
    """Ends a run where it stands, as the end of its process would."""


class EndsAt(Silent):
    """Ends the run at the call number ``at`` of any of the observer's methods; None: only counts."""

    def __init__(self, at=None):
        self.at, self.calls = at, 0

    def _count(self):
        self.calls += 1
        if self.calls == self.at:
            raise Ended

    def phase(self, name, total):
        self._count()

    def advance(self, steps):
        self._count()

    def round_done(self, entry, rounds):
        self._count()

    def cancelled(self):
        self._count()
        return False


@pytest.mark.parametrize("method", list(MADE))
def test_ended_anywhere_and_resumed_is_the_unbroken_run(tmp_path, method):
    options, images, counter = MADE[method](), digits(), EndsAt()
    unbroken = fdc.fit(images, options, run_dir=tmp_path / "unbroken", observer=counter)
    for at in np.linspace(1, counter.calls, 6).astype(int).tolist():
        folder = tmp_path / str(at)
        with pytest.raises(Ended):
            fdc.fit(images, options, run_dir=folder, observer=EndsAt(at))
        assert same(fdc.fit(images, options, run_dir=folder), unbroken), (
            f"ended at call {at} of {counter.calls}"
        )


KILLED = """
import os, resource, signal, sys
import numpy as np
import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.errors import DiskError
from tests.api.test_interrupted_rounds import MADE, digits
folder, how = sys.argv[1:]
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
class Killer(Silent):
    trained = 0
    def phase(self, name, total):
        self.trained += name == "train"
        if self.trained == 3 and how == "within the history":
            limit(int(2.5 * 4 * 64))  # in the middle of the losses of the third round
    def round_done(self, entry, rounds):
        if entry.index == 1 and how == "between history and checkpoint":
            os.kill(os.getpid(), signal.SIGKILL)
        if entry.index == 1 and how == "within the checkpoint":
            limit(5_000)
try:
    fdc.fit(digits(), MADE["deepcluster"](), run_dir=folder, observer=Killer())
except DiskError as error:
    assert "checkpoint" in str(error) or "round" in str(error), error
    sys.exit(3)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("between history and checkpoint", -signal.SIGKILL),
        ("within the checkpoint", 3),
        ("within the history", 3),
    ],
)
def test_killed_while_a_round_is_written(tmp_path, how, code):
    images, options = digits(), MADE["deepcluster"]()
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, tmp_path, how], check=False)
    assert done.returncode == code
    assert same(fdc.fit(images, options, run_dir=tmp_path), fdc.fit(images, options))


def test_a_run_whose_rounds_are_lost_is_not_continued(tmp_path):
    images, options = digits(), MADE["deepcluster"]()
    with pytest.raises(Ended):
        fdc.fit(images, options, run_dir=tmp_path, observer=EndsAt(30))
    (tmp_path / LABELS_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"bytes.*delete the folder to start over"):
        fdc.fit(images, options, run_dir=tmp_path)


APART = """
import sys
from accelerate import PartialState
import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import CheckpointError
from tests.api.test_interrupted_rounds import MADE, digits
state = PartialState(cpu=True)
try:
    fdc.fit(digits(), MADE["deepcluster"](), run_dir=f"{sys.argv[1]}/{state.process_index}")
except CheckpointError as error:
    print(f"refused: {error}\\n", end="", flush=True)
state.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_that_see_different_checkpoints_are_all_refused(tmp_path):
    with pytest.raises(Ended):
        fdc.fit(digits(), MADE["deepcluster"](), run_dir=tmp_path / "0", observer=EndsAt(30))
    script = tmp_path / "job.py"
    script.write_text(APART)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [*launch, script, tmp_path], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("refused: ") == 2
    assert "process 1 found no checkpoint in" in done.stdout
    assert "that all hosts share" in done.stdout
