"""One run in two processes, as torchrun starts them: the same clusters in both."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.metrics.agreement import agreement

SCRIPT = """
import sys
import numpy as np
from accelerate import PartialState
from sklearn.datasets import load_digits
import fiftyone_deepcluster as fdc

data = load_digits()
images = (data.images[:600] * 15.9375).astype(np.uint8)
options = fdc.DeepCluster(n_clusters=10, pseudo_clusters=20, rounds=3, baselines=False, image_size=16, batch_size=64)
found = fdc.fit(images, options, run_dir=sys.argv[1])
state = PartialState()
assert state.num_processes == 2, state
np.savez(f"{sys.argv[1]}/rank{state.process_index}.npz", labels=found.labels, embeddings=found.embeddings,
         losses=found.round_losses)
state.destroy_process_group()
"""


STOPPED = """
import sys
import numpy as np
from accelerate import PartialState
from sklearn.datasets import load_digits
import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.progress import Silent

state = PartialState()

class Hears(Silent):
    # the request to cancel reaches the first process only, here in the middle of the second round's training
    phases = rounds = 0
    def phase(self, name, total):
        self.phases += name == "train"
    def round_done(self, entry, rounds):
        self.rounds += 1
    def cancelled(self):
        return state.process_index == 0 and self.phases == 2

images = (load_digits().images[:301] * 15.9375).astype(np.uint8)
options = {"n_clusters": 10, "rounds": 6, "baselines": False, "image_size": 16, "batch_size": 16, "min_steps": 1}
hears = Hears()
cancelled = fdc.fit(images, fdc.DeepCluster(**options), observer=hears)
print("stopped", cancelled.record.stop_reason.value, len(cancelled.record.rounds), hears.rounds, flush=True)
minutes = 1e-6 if state.process_index == 0 else None  # as if the clock of one were ahead
late = fdc.fit(images, fdc.DeepCluster(**options, max_minutes=minutes))
print("stopped", late.record.stop_reason.value, len(late.record.rounds), flush=True)
state.destroy_process_group()
"""


def launched(text, tmp_path):
    """Run a script in two processes; what it printed."""
    script = tmp_path / "job.py"
    script.write_text(text)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.slow
def test_all_processes_stop_when_one_is_cancelled(tmp_path):
    lines = launched(STOPPED, tmp_path).splitlines()

    assert lines.count("stopped cancelled 1 1") == 2
    assert lines.count("stopped out_of_time 1") == 2


@pytest.mark.slow
def test_two_processes_train_one_model_on_both_halves(tmp_path):
    launched(SCRIPT, tmp_path)
    first, second = (np.load(tmp_path / f"rank{rank}.npz") for rank in (0, 1))
    assert np.array_equal(first["labels"], second["labels"])
    assert np.array_equal(first["losses"], second["losses"], equal_nan=True)
    np.testing.assert_allclose(first["embeddings"], second["embeddings"], atol=1e-5)
    assert np.isfinite(first["losses"]).any(axis=1).mean() > 0.5, "both shares of the images were trained on"

    data = load_digits()
    images = (data.images[:600] * 15.9375).astype(np.uint8)
    again = fdc.predict(tmp_path, images)
    assert (again.labels == first["labels"]).mean() > 0.95
    assert agreement(first["labels"], data.target[:600]).nmi > 0.2


@pytest.mark.slow
def test_centers_are_equal_in_two_processes(tmp_path):
    options = (
        "fdc.UCNN(n_clusters=10, rounds=3, baselines=False, image_size=16, pixel_epochs=2, patience=2, "
        "backbone={'name': 'ucnn', 'maps': 16, 'dim': 12, 'width': 0.125, 'adapted': 1 / 128})"
    )
    given = SCRIPT[SCRIPT.index("fdc.DeepCluster(") : SCRIPT.index("\nfound = ")]
    launched(SCRIPT.replace(given, options), tmp_path)
    first, second = (np.load(tmp_path / f"rank{rank}.npz") for rank in (0, 1))
    assert np.array_equal(first["labels"], second["labels"])
    np.testing.assert_allclose(first["embeddings"], second["embeddings"], atol=1e-5)
    again = fdc.predict(tmp_path, (load_digits().images[:600] * 15.9375).astype(np.uint8))
    assert (again.labels == first["labels"]).mean() > 0.95, "the centers are those of the shared run"
