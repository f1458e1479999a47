"""``resume`` after a cancellation, after the process was killed, and where it is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.runs import status
from fiftyone_deepcluster.dataset.runs.kv import run_store
from fiftyone_deepcluster.errors import CheckpointError, RunError, RunNotFoundError
from tests.dataset.runs.test_run import state
from tests.dataset.small_runs import LEARNED
from tests.observers import Watcher


def test_learned_features_and_resume(make_digits):
    dataset = make_digits(60)
    run = fdc.cluster(dataset, key="dc", rounds=3, observer=Watcher(after_rounds=1), **LEARNED)
    assert run.stop_reason == fdc.StopReason.CANCELLED
    assert len(run.rounds) == 1
    assert status.read_states(dataset)["dc"].status == "cancelled"
    assert len(dataset.first().dc_round_labels) == 1
    run = fdc.resume(dataset.limit(2), "dc", progress=False, compute_brain=False)
    assert run.stop_reason == fdc.StopReason.ROUNDS_DONE
    assert len(run.rounds) == 3
    assert len(dataset.first().dc_round_labels) == 3
    straight = fdc.cluster(dataset, key="straight", rounds=3, **LEARNED)
    assert straight.rounds[-1].loss == pytest.approx(run.rounds[-1].loss, rel=1e-4)
    assert dataset.values("straight.cluster") == dataset.values("dc.cluster")
    more = fdc.resume(dataset, "dc", rounds=4, progress=False, compute_brain=False)
    assert len(more.rounds) == 4
    assert more.uid == run.uid


_KILLED = """
import os, sys
import fiftyone as fo
import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.progress import Silent
class Dies(Silent):
    def round_done(self, entry, rounds):
        os._exit(9)
fdc.cluster(fo.load_dataset(sys.argv[1]), key="dc", rounds=2, observer=Dies(), **eval(sys.argv[2]))
"""


@pytest.mark.slow
def test_killed_process(make_digits):
    dataset = make_digits(40, persistent=True)
    before = state(dataset)
    command = [sys.executable, "-W", "ignore", "-c", _KILLED, dataset.name, repr(LEARNED)]
    assert subprocess.run(command, check=False).returncode == 9
    assert status.read_states(dataset)["dc"].status == "failed"
    assert run_store(dataset).has("change:dc")
    run = fdc.resume(dataset, "dc", progress=False, compute_brain=False)
    assert len(run.rounds) == 2
    assert dataset.count("dc.label") == 40
    fdc.delete_run(dataset, "dc")
    assert state(dataset) == before


def test_resume_what_is_not_there_or_was_edited(make_digits):
    dataset = make_digits(40)
    with pytest.raises(RunNotFoundError, match="neither a run nor a checkpoint"):
        fdc.resume(dataset, "dc")
    fdc.cluster(dataset, key="dc", rounds=1, **LEARNED)
    with pytest.raises(CheckpointError, match="n_clusters"):
        fdc.resume(dataset, "dc", n_clusters=5, progress=False)
    assert len(fdc.resume(dataset, "dc", rounds=2, progress=False, compute_brain=False).rounds) == 2
    assert fdc.list_runs(dataset) == ["dc"]
    edits = fdc.review(dataset, "dc")
    edits.rename(edits.names()[0], "zero")
    with pytest.raises(RunError, match=r"1 edit, .*undo\(1\)"):
        fdc.resume(dataset, "dc", rounds=2, progress=False)
    edits.undo()
    dataset.delete_samples(dataset.first().id)
    with pytest.raises(RunError, match="1 of 40 images was deleted"):
        fdc.resume(dataset, "dc", rounds=2, progress=False)
