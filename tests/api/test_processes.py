"""One run in two processes, as torchrun starts them: the same clusters in both."""

import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.methods.base import METHODS
from fiftyone_deepcluster.metrics.agreement import agreement

ROOT = Path(__file__).resolve().parents[2]
TOGETHER = """
import sys
import numpy as np
from accelerate import PartialState
from sklearn.datasets import load_digits
import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.methods.base import parse_options
from tests.pretend_cuda import pretended_gpu

digits = (load_digits().images * 15.9375).astype(np.uint8)

def say(text):
    print(f"{text}\\n", end="", flush=True)  # in one write, as two processes print

# ---- trained on both halves

small_ucnn = {"name": "ucnn", "maps": 16, "dim": 12, "width": 0.125, "adapted": 1 / 128}
base = {"n_clusters": 10, "rounds": 3, "baselines": False, "image_size": 16}
trained = {
    "deepcluster": fdc.DeepCluster(pseudo_clusters=20, batch_size=64, min_steps=1, **base),
    "ucnn": fdc.UCNN(pixel_epochs=2, patience=2, backbone=small_ucnn, **base),
}
for name, options in trained.items():
    found = fdc.fit(digits[:600], options, run_dir=f"{sys.argv[1]}/{name}")
    state = PartialState()
    assert state.num_processes == 2, state
    np.savez(f"{sys.argv[1]}/{name}-{state.process_index}.npz", labels=found.labels, embeddings=found.embeddings,
             losses=found.round_losses)

# ---- trained until the loss has converged, which the halves must see alike

loss = fdc.LDPO(initial="labels", initial_epochs=None, initial_max_epochs=40, batch_size=64, min_steps=1, **base)
found = fdc.fit(digits[:300], loss, known=fdc.Known(initial=(load_digits().target[:300] % 3).tolist()))
scores = found.record.rounds[0].scores
say(f"converged {scores['initial_converged']} after {scores['initial_epochs']} at {scores['initial_loss_share']!r}")

# ---- stopped in one process

class Hears(Silent):
    # the request to cancel reaches the first process only, here in the middle of the second round's training
    phases = rounds = 0
    def phase(self, name, total):
        self.phases += name == "train"
    def round_done(self, entry, rounds):
        self.rounds += 1
    def cancelled(self):
        return state.process_index == 0 and self.phases == 2

options = {"n_clusters": 10, "rounds": 6, "baselines": False, "image_size": 16, "batch_size": 16, "min_steps": 1}
hears = Hears()
record = fdc.fit(digits[:301], fdc.DeepCluster(**options), observer=hears).record
say(f"stopped {record.stop_reason.value} {len(record.rounds)} {hears.rounds}")
minutes = 1e-6 if state.process_index == 0 else None  # as if the clock of one were ahead
late = fdc.fit(digits[:301], fdc.DeepCluster(**options, max_minutes=minutes))
say(f"stopped {late.record.stop_reason.value} {len(late.record.rounds)}")

# ---- on pretended GPUs

base = {"n_clusters": 4, "rounds": 1, "baselines": False, "image_size": 16, "batch_size": 32, "device": "cuda"}
small = {"backbone": {"name": "small", "width": 4}, "min_steps": 2}
methods = {
    "deepcluster": small, "deepcluster-manifold": {**small, "reducer": "identity"}, "cardiac-mr": small, "ldpo": small,
    "deepcluster-v2": small, "frozen": {}, "self-training": {**small, "clusterer": "kmeans"},
    "dac": {"width": 4, "init": "random"}, "ucnn": {"pixel_epochs": 1, "patience": 1, "backbone": small_ucnn},
}
# a model's embeddings, which differ in the last digits between processes
vectors = load_digits().data[:80].astype(np.float32) * (1 + 1e-6 * state.process_index)
for method, options in methods.items():
    parsed = parse_options(method, {**base, **options})
    known = fdc.Known(other_vectors=vectors) if parsed.joins_vectors else None
    with pretended_gpu(free=2**33, n_gpus=2):
        found = fdc.fit(digits[:80], parsed, known=known)
    assert found.record.environment["device"] == f"cuda:{state.process_index}"
    say(f"clustered by {method}")
state.destroy_process_group()
"""


TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc_per_node"]
ACCELERATE = [
    "accelerate.commands.launch", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
    "--num_processes",
]  # fmt: skip


def run(text, tmp_path, *arguments, processes=2, by="torchrun"):
    """Run a script in several processes; with the folder and ``arguments``."""
    script = tmp_path / "job.py"
    script.write_text(text)
    # --cpu would start one process, whatever their number
    launch = [*ACCELERATE[:1], "--multi_gpu" if processes > 1 else "--cpu", *ACCELERATE[1:]]
    launch = TORCHRUN if by == "torchrun" else launch
    environment = {
        **os.environ,
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-m", *launch, str(processes), str(script), str(tmp_path), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def run_alone(text, tmp_path, *arguments):
    """Run a script in two processes that nobody watches: torchrun ends the others as soon as one has ended."""
    script = tmp_path / "job.py"
    script.write_text(text)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        **os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
    }  # fmt: skip
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(subprocess.Popen.communicate, started))
    return [process.returncode for process in started], said


def launched(text, tmp_path, processes=2, by="torchrun"):
    """Run a script in several processes that must succeed; what it printed."""
    done = run(text, tmp_path, processes=processes, by=by)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Folder of what two processes have found, and what they have said; every process takes seconds to start."""
    folder = tmp_path_factory.mktemp("together")
    return folder, launched(TOGETHER, folder)


@pytest.mark.slow
def test_all_processes_stop_when_one_is_cancelled(together):
    lines = together[1].splitlines()
    assert lines.count("stopped cancelled 1 1") == 2
    assert lines.count("stopped out_of_time 1") == 2


@pytest.mark.slow
def test_all_processes_train_until_the_same_epoch(together):
    """A process that stopped alone would leave the others waiting."""
    told = [line for line in together[1].splitlines() if line.startswith("converged ")]
    assert len(told) == 2
    assert told[0] == told[1]
    assert told[0].startswith("converged 1.0 after ")


def of_both(folder, name):
    return (np.load(folder / f"{name}-{rank}.npz") for rank in (0, 1))


@pytest.mark.slow
def test_two_processes_train_one_model_on_both_halves(together):
    folder, _ = together
    first, second = of_both(folder, "deepcluster")
    assert np.array_equal(first["labels"], second["labels"])
    assert np.array_equal(first["losses"], second["losses"], equal_nan=True)
    np.testing.assert_allclose(first["embeddings"], second["embeddings"], atol=1e-5)
    sampled = np.isfinite(first["losses"]).mean(axis=0)
    assert (sampled > 0.7).all(), f"one share of the images alone was trained on: {sampled}"

    data = load_digits()
    images = (data.images[:600] * 15.9375).astype(np.uint8)
    again = fdc.predict(folder / "deepcluster", images)
    assert (again.labels == first["labels"]).mean() > 0.95
    assert agreement(first["labels"], data.target[:600]).nmi > 0.2


@pytest.mark.slow
def test_centers_are_equal_in_two_processes(together):
    folder, _ = together
    first, second = of_both(folder, "ucnn")
    assert np.array_equal(first["labels"], second["labels"])
    np.testing.assert_allclose(first["embeddings"], second["embeddings"], atol=1e-5)
    again = fdc.predict(folder / "ucnn", (load_digits().images[:600] * 15.9375).astype(np.uint8))
    assert (again.labels == first["labels"]).mean() > 0.95, "the centers are those of the shared run"


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted({*METHODS.names()} - {"auto"}))
def test_processes_send_what_is_on_their_gpus_only(together, method):
    assert together[1].splitlines().count(f"clustered by {method}") == 2


SAME = """
import sys
import numpy as np
from accelerate import PartialState
from sklearn.datasets import load_digits
import fiftyone_deepcluster as fdc

images = (load_digits().images[:301] * 15.9375).astype(np.uint8)
encoders = {
    "pooled": {"name": "pooled"},
    # 300 of 301 images are in the sample of the PCA, so that one row is left for two processes
    "ensemble-projection": {"name": "ensemble-projection", "sets": 3, "classes": 5, "sample": 300},
}
found = {}
for name, encoder in encoders.items():
    options = {"n_clusters": 10, "baselines": False, "image_size": 16, "encoder": encoder, "device": "cpu"}
    result = fdc.fit(images, fdc.Frozen(backbone={"name": "small", "width": 8}, **options))
    found |= {name: result.labels, f"{name} vectors": result.embeddings}
state = PartialState()
print(f"processes {state.num_processes}\\n", end="", flush=True)
np.savez(f"{sys.argv[1]}/labels{state.process_index}.npz", **found)
state.destroy_process_group()
"""


def test_two_processes_find_the_clusters_of_one(tmp_path):
    results = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        said = launched(SAME, folder, processes, by="accelerate")
        assert said.count(f"processes {processes}") == processes
        results[processes] = [dict(np.load(folder / f"labels{rank}.npz")) for rank in range(processes)]
    for encoder in ("pooled", "ensemble-projection"):
        one, first, second = results[1][0], *results[2]
        assert np.array_equal(first[encoder], second[encoder])
        # other shares are other batches, whose products round otherwise
        np.testing.assert_allclose(first[f"{encoder} vectors"], one[f"{encoder} vectors"], atol=1e-3)
        assert agreement(first[encoder], one[encoder]).nmi > 0.98


DIES = """
import os, sys
import numpy as np
from accelerate import PartialState
from sklearn.datasets import load_digits
import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.progress import Silent

state = PartialState(cpu=True)

class Dies(Silent):
    def phase(self, name, total):
        self.passes = getattr(self, "passes", 0) + (name == "train")
        if self.passes == 3 and state.process_index == 1:
            os._exit(7)  # as a process that the system ends

images = (load_digits().images[:200] * 15.9375).astype(np.uint8)
options = {"n_clusters": 10, "rounds": 4, "baselines": False, "image_size": 16, "batch_size": 32, "min_steps": 1}
options |= {"backbone": {"name": "small", "width": 4}}
observer = Dies() if len(sys.argv) > 2 else None
found = fdc.fit(images, fdc.DeepCluster(**options), observer=observer, run_dir=f"{sys.argv[1]}/run")
print(f"complete {len(found.record.rounds)} {found.record.stop_reason.value}\\n", end="", flush=True)
state.destroy_process_group()
"""


@pytest.fixture(scope="module")
def died(tmp_path_factory):
    """Folder of a job of two processes of which one has died."""
    folder = tmp_path_factory.mktemp("died")
    (first, second), said = run_alone(DIES, folder, "dies")
    assert first not in (0, 7)
    assert second == 7
    assert "complete" not in said[0][0]
    assert "another process of this job ended or cannot be reached" in said[0][1]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_that_lost_a_process_ends_in_words_and_goes_on(died, tmp_path, processes):
    shutil.copytree(died / "run", tmp_path / "run")
    kept = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert len(kept["rounds"]) == 2

    said = launched(DIES, tmp_path, processes)
    assert said.count("complete 4 rounds_done") == processes
    again = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert again["rounds"][:2] == kept["rounds"]
