"""Runs, folders and images of another user: one sentence with the way out, nothing half-written, and no other harm."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.runs import lock, run_files
from fiftyone_deepcluster.dataset.runs.intents import Intent
from fiftyone_deepcluster.dataset.runs.kv import run_store
from fiftyone_deepcluster.dataset.runs.orphans import find_leftovers, remove_leftovers
from tests.dataset.other_process import OtherProcess
from tests.dataset.runs.test_run import state
from tests.dataset.small_runs import FROZEN, LEARNED

pytestmark = pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")

CHANGED = "cannot be changed: "
FROZEN_VECTORS = {"n_clusters": 3, "baselines": False, "compute_brain": False, "progress": False}
WAY_OUT = "is not writable; make it writable and call again"


@pytest.fixture(scope="module")
def user(fiftyone_home):
    """A process that file permissions bind."""
    process = OtherProcess(permissions=True)
    yield process
    process.close()


@contextmanager
def closed(folder, mask):
    """Take permissions from a folder and all that is in it: 0o222 those to write, 0o777 all."""
    paths = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path, mode in reversed(list(zip(paths, modes, strict=True))):
        path.chmod(mode & ~mask)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


@pytest.fixture
def dataset(make_digits):
    """30 digits, with a run of one round."""
    made = make_digits(30, persistent=True)
    fdc.cluster(made, key="dc", rounds=1, **LEARNED)
    return made


def files_of(dataset):
    return {str(path) for path in run_files.dataset_dir(dataset).rglob("*")}


CLUSTER = "fdc.cluster(dataset, 'frozen', {key!r}, overwrite={overwrite}, **FROZEN)"


def test_files_that_another_user_may_only_read(dataset, user):
    before, files, folder = state(dataset), files_of(dataset), run_files.run_dir(dataset, "dc")
    refused = {
        "fdc.delete_run(dataset, 'dc')": CHANGED,
        "fdc.rename_run(dataset, 'dc', 'new')": CHANGED,
        "fdc.resume(dataset, 'dc', rounds=2, progress=False)": CHANGED,
        CLUSTER.format(key="dc", overwrite=True): CHANGED,
        CLUSTER.format(
            key="new", overwrite=False
        ): "set FIFTYONE_DEFAULT_DATASET_DIR to a folder on another disk",
        "fdc.build_tree(dataset, 'dc')": "call again, or set FIFTYONE_DEFAULT_DATASET_DIR",
        "fdc.index_neighbors(dataset, 'dc')": "call again, or set FIFTYONE_DEFAULT_DATASET_DIR",
    }
    with closed(run_files.dataset_dir(dataset), 0o222):
        for code, said in refused.items():
            error = user.error_of(dataset, code)
            assert error.startswith("DiskError: "), f"{code}: {error}"
            assert said in error, code
            assert "make it writable" in error, code
            dataset.reload()
            assert state(dataset) == before, code
            assert fdc.list_runs(dataset) == ["dc"], code
        user.does(
            dataset, "assert fdc.load_run(dataset, 'dc').clusters() and fdc.list_runs(dataset) == ['dc']"
        )
        user.does(dataset, "fdc.review(dataset, 'dc').mark_reviewed(fdc.load_run(dataset, 'dc').names()[:1])")
        user.does(dataset, "assert fdc.retrieve(dataset, 'dc', dataset.first().id, k=2)")
        user.does(dataset, "fdc.review(dataset, 'dc').undo()")
    assert files_of(dataset) == files
    assert len(fdc.resume(dataset, "dc", rounds=2, progress=False, compute_brain=False).rounds) == 2
    fdc.delete_run(dataset, "dc")
    assert not folder.exists()


def test_files_that_another_user_may_not_read(dataset, user, make_digits):
    before, files = state(dataset), files_of(dataset)
    more = make_digits(40, persistent=True)
    refused = {
        "fdc.delete_run(dataset, 'dc')": f"DiskError: the files of run 'dc' {CHANGED}",
        "fdc.resume(dataset, 'dc', rounds=2, progress=False)": "RunError: run 'dc' cannot be resumed: ",
        CLUSTER.format(key="dc", overwrite=True): f"DiskError: the files of run 'dc' {CHANGED}",
        f"fdc.assign(fo.load_dataset({more.name!r}), 'dc', from_dataset=dataset)": "RunError: the network of run",
        "fdc.probe(dataset, 'dc', 'ground_truth')": "RunError: /",
        "fdc.build_tree(dataset, 'dc')": "RunError: /",
        "fdc.draw_filters(dataset, 'dc')": "RunError: /",
    }
    with closed(run_files.run_dir(dataset, "dc"), 0o777):
        for code, said in refused.items():
            error = user.error_of(dataset, code)
            assert error.startswith(said), f"{code}: {error}"
            assert "make " in error, f"{code}: {error}"
            assert "PermissionError" not in error, code
            assert ("resume" in error) == ("resume" in code), error
            dataset.reload()
            assert state(dataset) == before, code
        fdc.review(dataset, "dc").mark_reviewed(fdc.load_run(dataset, "dc").names()[:1])
        error = user.error_of(dataset, "fdc.refine(dataset, 'dc', new_key='new', progress=False)")
        assert "make " in error
        assert "PermissionError" not in error
        user.does(dataset, "assert fdc.list_runs(dataset) == ['dc'] and not fdc.interrupted_runs(dataset)")
        user.does(dataset, "assert fdc.load_run(dataset, 'dc').clusters()")
        user.does(
            dataset,
            "from fiftyone_deepcluster.dataset.results.numbers import latest_sweep; latest_sweep(dataset)",
        )
        user.does(dataset, CLUSTER.format(key="own", overwrite=False))
        user.does(dataset, "assert fdc.list_runs(dataset) == ['dc', 'own']; fdc.delete_run(dataset, 'own')")
        dataset.delete_samples(dataset.first())  # the labels are fewer than the run's
        user.does(dataset, "assert fdc.load_run(dataset, 'dc').clusters()")
    assert files_of(dataset) == files


def test_an_interrupted_change_is_left_to_the_user_who_may_complete_it(dataset, user):
    uid = fdc.load_run(dataset, "dc").uid
    intent = Intent("rename", "dc", uid, None, "new")
    run_store(dataset).set("change:dc", asdict(intent))
    with closed(run_files.dataset_dir(dataset), 0o222):
        user.does(
            dataset, "assert fdc.list_runs(dataset) == ['dc'] and fdc.load_run(dataset, 'dc').clusters()"
        )
        assert run_store(dataset).has("change:dc")
    assert fdc.list_runs(dataset) == ["new"]
    assert not run_store(dataset).has("change:dc")


LISTENS = """
import logging
said = []
class Listener(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logger, listener = logging.getLogger("fiftyone_deepcluster"), Listener()
logger.addHandler(listener)
try:
    for _ in range(3):
        assert fdc.list_runs(dataset) == ["dc"] and fdc.list_audits(dataset) == []
        fdc.load_run(dataset, "dc")
finally:
    logger.removeHandler(listener)
assert len(said) == {n}, said
"""


def dead_holder():
    """A lock of a process that ended: whoever needs the lock takes it over, and removes it."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    held = asdict(lock.holder_of(process.pid))
    process.wait()
    return held


def test_a_change_of_another_user_is_told_once_and_not_locked(dataset, user):
    intent = Intent("delete", "dc", fdc.load_run(dataset, "dc").uid, None)
    store, held = run_store(dataset), dead_holder()
    store.set("change:dc", asdict(intent))
    store.set("lock:dc", held)
    with closed(run_files.dataset_dir(dataset), 0o222):
        user.does(dataset, LISTENS.format(n=1))
        user.does(dataset, LISTENS.format(n=0))
        assert store.get("lock:dc") == held
    store.set("lock:dc", asdict(lock.holder_of(os.getpid())))  # in progress
    user.does(dataset, LISTENS.format(n=0))
    store.delete("lock:dc")
    assert fdc.list_runs(dataset) == []


def test_a_folder_without_a_job_of_another_user_is_not_locked(dataset, user):
    store, held = run_store(dataset), dead_holder()
    folder = run_files.run_dir(dataset, "begun")
    folder.mkdir()
    store.set("lock:begun", held)
    with closed(run_files.dataset_dir(dataset), 0o222):
        user.does(dataset, LISTENS.format(n=0))
        assert store.get("lock:begun") == held
    assert fdc.list_runs(dataset) == ["dc"]
    assert not folder.exists()


def test_the_run_of_another_user_that_names_a_renamed_one(dataset, user):
    fdc.cluster(dataset, "frozen", "second", embeddings_field="dc_embedding", **FROZEN_VECTORS)
    with closed(run_files.run_dir(dataset, "second"), 0o222):
        user.does(dataset, "fdc.rename_run(dataset, 'dc', 'new')")
    dataset.reload()
    assert fdc.load_run(dataset, "second").settings["embeddings_field"] == "new_embedding"


@pytest.mark.parametrize("where", ["cache", "home", "runs"])
def test_folders_that_this_user_may_not_write(where, make_digits, user, tmp_path):
    dataset = make_digits(20, persistent=True)
    before, place = state(dataset), tmp_path / "place"
    place.mkdir()
    set_up = {
        "cache": f"os.environ['FIFTYONE_DEEPCLUSTER_CACHE'] = {str(place)!r}",
        "home": f"os.environ.pop('FIFTYONE_DEEPCLUSTER_CACHE'); os.environ['HOME'] = {str(place)!r}",
        "runs": f"fo.config.default_dataset_dir = {str(place)!r}",
    }
    keep = "saved = dict(os.environ), fo.config.default_dataset_dir"
    back = "os.environ.clear(); os.environ.update(saved[0]); fo.config.default_dataset_dir = saved[1]"
    call = CLUSTER.format(key="dc", overwrite=False)
    with closed(place, 0o222):
        code = f"{keep}\ntry:\n    {set_up[where]}\n    {call}\nfinally:\n    {back}"
        error = user.error_of(dataset, code)
    assert error.startswith("DiskError: ")
    assert "Permission denied; make it writable and call again, or set FIFTYONE_" in error
    dataset.reload()
    assert state(dataset) == before
    assert fdc.list_runs(dataset) == []
    assert list(place.iterdir()) == []
    user.does(dataset, call)


def test_images_that_this_user_may_not_read(make_digits, user, tmp_path):
    dataset = make_digits(20, persistent=True)
    copies = [tmp_path / Path(path).name for path in dataset.values("filepath")]
    for path, copy in zip(dataset.values("filepath"), copies, strict=True):
        copy.write_bytes(Path(path).read_bytes())
    dataset.set_values("filepath", [str(copy) for copy in copies])
    copies[3].chmod(0)
    user.does(dataset, CLUSTER.format(key="dc", overwrite=False))
    dataset.reload()
    errors = dataset.values("dc_error")
    assert [row for row, error in enumerate(errors) if error] == [3]
    assert "Permission denied" in errors[3]
    for copy in copies:
        copy.chmod(0)
    error = user.error_of(dataset, CLUSTER.format(key="all", overwrite=False))
    assert error.startswith("ImagesError: none of the 20 images can be read; ")
    assert "Permission denied" in error
    dataset.reload()
    assert fdc.list_runs(dataset) == ["dc"]
    assert dataset.get_field("all") is None


def test_the_cache_of_another_user_stays(user, make_digits, tmp_path):
    code = f"""
from pathlib import Path
from fiftyone_deepcluster.images.cache.folder import CacheFolder
folder = Path({str(tmp_path)!r})
key, left = "ab" * 16, "cd" * 16
for name in (f"{{key}}.npy", f"{{key}}.json", f"{{key}}.lock", f"{{left}}.part", f"{{left}}.lock"):
    (folder / name).write_text("x")
    (folder / name).chmod(0o444)
os.environ["FIFTYONE_DEEPCLUSTER_CACHE_GB"] = "0.000001"
try:
    CacheFolder(folder).make_room(10_000)
finally:
    del os.environ["FIFTYONE_DEEPCLUSTER_CACHE_GB"]
assert len(list(folder.iterdir())) == 5
"""
    user.does(make_digits(4, persistent=True), code)


def test_left_files_of_another_user_are_not_offered(make_digits, user):
    gone, here = make_digits(20, persistent=True), make_digits(4, persistent=True)
    fdc.cluster(gone, key="dc", **FROZEN)
    folder = run_files.dataset_dir(gone)
    gone.delete()
    found = f"""
from pathlib import Path
from fiftyone_deepcluster.dataset.runs.orphans import find_leftovers, find_run_files, remove_leftovers
folder = Path({str(folder)!r})
assert folder in [files.folder for files in find_run_files()]
assert folder not in [files.folder for files in find_leftovers() + remove_leftovers()]
"""
    for mask in (0o222, 0o777):
        with closed(folder, mask):
            user.does(here, found)
    assert folder in [files.folder for files in find_leftovers()]
    assert folder in [files.folder for files in remove_leftovers()]
