"""The ``doctor`` command on this installation, and on incomplete ones."""

import json
import os
import subprocess
import sys

import pytest

from fiftyone_deepcluster.cli import checks, doctor
from fiftyone_deepcluster.cli.checks import Check
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.runs import run_files
from tests.dataset.other_process import bound

_ALWAYS = {
    "Python", "fiftyone-deepcluster", "mongod", "FiftyOne", "plugin @deepcluster/clustering", "torch", "device",
    "torchvision", "faiss", "umap-learn", "accelerate", "DICOM codecs", "image cache", "run files",
    "changes of runs",
}  # fmt: skip


@pytest.mark.slow
def test_a_missing_plugin_is_named_with_the_command_that_fixes_it(call, tmp_path):
    before = call("doctor", "--json", FIFTYONE_PLUGINS_DIR=str(tmp_path))
    found = {check["name"]: check for check in json.loads(before.stdout)}

    assert set(found) == _ALWAYS
    assert before.returncode == 1
    assert [name for name, check in found.items() if check["state"] == "missing"] == [
        "plugin @deepcluster/clustering"
    ]
    assert found["plugin @deepcluster/clustering"]["fix"] == "fiftyone-deepcluster install"
    assert all(check["fix"] for check in found.values() if check["state"] != "ok")

    installed = call("install", FIFTYONE_PLUGINS_DIR=str(tmp_path))
    assert installed.returncode == 0, installed.stderr
    assert str(tmp_path) in installed.stdout

    cleaned = call("doctor", "--clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert "run files        removed" in cleaned.stdout
    assert {line.split()[0] for line in cleaned.stdout.splitlines()} == {"ok"}

    after = call("doctor", "--deep", "--dev", FIFTYONE_PLUGINS_DIR=str(tmp_path))
    assert after.returncode == 0, after.stdout
    assert {line.split()[0] for line in after.stdout.splitlines()} == {"ok"}
    assert "connects" in after.stdout
    assert "chromium" in after.stdout


def test_a_database_that_does_not_answer_costs_two_lines_and_no_traceback(call):
    found = call("doctor", FIFTYONE_DATABASE_URI="mongodb://127.0.0.1:1")

    assert found.returncode == 1
    assert "Traceback" not in found.stdout + found.stderr
    lines = [line.split()[:2] for line in found.stdout.splitlines()]
    assert ["missing", "mongod"] in lines
    assert ["missing", "FiftyOne"] in lines
    assert ["ok", "torch"] in lines


def test_a_package_that_is_not_installed_is_named_with_what_this_project_asks_of_it():
    check = checks.check_installed("no_such_module", "no-such-package")

    assert check.state == "missing"
    assert "pip install 'no-such-package'" in check.fix


def test_the_version_asked_for_comes_from_the_installed_metadata():
    assert checks.requirement_of("umap-learn").startswith("umap-learn>=")
    assert checks.requirement_of("unheard-of") == "unheard-of"


_ANSWER = {
    "version": "1.22", "plugins_dir": "/plugins", "plugin_folder": "/plugins/x", "plugin_enabled": True,
    "plugin_errors": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("left", "says", "fix"),
    [
        (None, "--deep finds those of deleted datasets", ""),
        ([], "all of existing datasets", ""),
        ([2_500_000], "2.50 MB of 1 deleted dataset", "fiftyone-deepcluster doctor --clean"),
        ([2e9, 1e9], "3.00 GB of 2 deleted datasets", "fiftyone-deepcluster doctor --clean"),
    ],
)
def test_files_of_runs_whose_dataset_is_gone_are_counted(left, says, fix):
    answer = {"run_files": ["/runs", 5e9]} | ({} if left is None else {"leftovers": left})
    check = doctor._check_run_files(answer)

    assert check.detail.startswith("5.00 GB at /runs; ") or check.detail == f"5.00 GB at /runs, {says}"
    assert says in check.detail
    assert (check.state, check.fix) == ("optional" if fix else "ok", fix)


@pytest.mark.parametrize(
    ("answer", "says", "fix"),
    [
        ({}, "--deep finds", ""),
        ({"unfinished": []}, "none was interrupted", ""),
        ({"unfinished": ["a", "b"]}, "interrupted on 'a', 'b'", "fiftyone-deepcluster doctor --clean"),
    ],
)
def test_interrupted_changes_of_runs_are_named(answer, says, fix):
    check = doctor._check_changes(answer)

    assert says in check.detail
    assert (check.state, check.fix) == ("optional" if fix else "ok", fix)


def test_clean_removes_them_and_says_how_much(invoke, make_digits):
    dataset = make_digits(12)
    cluster(dataset, "frozen", "dc", n_clusters=2, baselines=False, compute_brain=False, progress=False)
    folder = run_files.dataset_dir(dataset)
    dataset.delete()
    assert folder.is_dir()

    done = invoke("doctor", "--clean")

    assert done.exit_code == 0, done.output
    assert "deleted dataset" in done.output
    assert not folder.exists()
    assert "removed nothing" in invoke("doctor", "--clean").output


@pytest.mark.parametrize(
    ("change", "state", "fix"),
    [
        ({}, "ok", ""),
        ({"plugin_folder": None}, "missing", "fiftyone-deepcluster install"),
        ({"plugin_enabled": False}, "missing", "fiftyone plugins enable @deepcluster/clustering"),
        ({"plugin_errors": ["Traceback ...\nImportError: x"]}, "missing", "fiftyone-deepcluster install"),
    ],
)
def test_the_plugins_line_shows_fiftyones_state_of_it(change, state, fix):
    check = doctor._check_plugin({**_ANSWER, **change})

    assert (check.state, check.fix) == (state, fix)


def test_a_check_is_a_value():
    assert Check("a", "ok", "b") == Check("a", "ok", "b")


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_folders_that_this_user_may_not_use_are_named(fiftyone_home, tmp_path):
    runs, cache = tmp_path / "runs", tmp_path / "cache"
    secret = runs / ".deepcluster" / ("ab" * 12)
    for folder in (secret, cache):
        folder.mkdir(parents=True)
    secret.chmod(0)
    places = {"FIFTYONE_DEFAULT_DATASET_DIR": str(runs), "FIFTYONE_DEEPCLUSTER_CACHE": str(cache)}

    def doctor(*words):
        command = bound([sys.executable, "-m", "fiftyone_deepcluster.cli", "doctor", *words])
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200", **places},
        )

    cleaned = doctor("--clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert "removed nothing" in cleaned.stdout
    for folder in (runs / ".deepcluster", cache):
        folder.chmod(0o555)
    said = doctor("--json")
    for folder in (runs / ".deepcluster", secret, cache):
        folder.chmod(0o755)
    found = {check["name"]: check for check in json.loads(said.stdout)}
    for name, folder, variable in (
        ("run files", runs / ".deepcluster", "FIFTYONE_DEFAULT_DATASET_DIR"),
        ("image cache", cache, "FIFTYONE_DEEPCLUSTER_CACHE"),
    ):
        assert found[name]["state"] == "missing"
        assert f"{folder} is not writable" in found[name]["detail"]
        assert found[name]["fix"] == f"export {variable}=FOLDER"
