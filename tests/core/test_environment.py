"""What a subprocess is given of the environment: a list of names, and nothing else."""

from __future__ import annotations

import ast
import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import fiftyone_deepcluster
from fiftyone_deepcluster.core.environment import ALSO_VARIABLE, Need, child_environment
from fiftyone_deepcluster.images.cache import folder

PACKAGE = Path(fiftyone_deepcluster.__file__).parent
SECRETS = ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "HF_TOKEN", "FIFTYONE_CVAT_PASSWORD", "MY_PASSWORD")


@pytest.fixture
def secrets(monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")


def test_a_subprocess_gets_what_it_needs_and_no_secret(secrets, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://user:password@host")
    decoder = child_environment(Need.SYSTEM, Need.PYTHON, Need.THREADS)
    assert decoder["PATH"] == os.environ["PATH"]
    assert decoder["OMP_NUM_THREADS"] == "3"
    assert "FIFTYONE_DATABASE_URI" not in decoder
    server = child_environment(*Need)
    assert server["FIFTYONE_DATABASE_URI"] == "mongodb://user:password@host"
    assert not set(SECRETS) & set(server)


def test_a_variable_that_is_not_set_is_not_made(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert "OMP_NUM_THREADS" not in child_environment(Need.THREADS)


def test_what_the_user_names_is_passed_on(secrets, monkeypatch):
    monkeypatch.setenv(ALSO_VARIABLE, "HF_TOKEN, MY_PASSWORD,,NOT_SET")
    assert set(child_environment()) == {"HF_TOKEN", "MY_PASSWORD"}


def test_every_name_is_listed_once_in_full():
    names = [name for need in Need for name in need.names]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) for name in names)
    assert all(need.reason for need in Need)
    assert set(Need.CACHE.names) >= {folder.FOLDER_VARIABLE, folder.BOUND_VARIABLE, ALSO_VARIABLE}


def test_no_name_is_that_of_a_secret():
    names = [name for need in Need for name in need.names]
    assert [name for name in names if re.search("TOKEN|SECRET|PASSWORD|API_KEY|CREDENTIAL", name)] == []


def test_the_settings_of_fiftyone_are_listed():
    """Settings only: backends' keys and passwords are read from names of the same prefix."""
    fiftyone = Path(find_spec("fiftyone").submodule_search_locations[0])
    text = "".join((fiftyone / part / "config.py").read_text() for part in ("core", "brain"))
    settings = set(re.findall(r'env_var="(FIFTYONE_\w+)"', text))
    paths = set(re.findall(r'os\.environ\["(FIFTYONE_\w+_PATH)"\]', text))
    unused = {
        "FIFTYONE_ANNOTATION_DEFAULT_BACKEND",
        *(n for n in settings if n.startswith("FIFTYONE_DEFAULT_")),
    }
    assert (settings | paths) - unused - set(Need.FIFTYONE.names) == set()


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_every_subprocess_is_started_with_such_an_environment(path):
    """``env`` is given wherever ``subprocess`` starts a program, which no shell does."""
    text = path.read_text()
    calls = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("subprocess.")
    ]
    for call in calls:
        keywords = {word.arg for word in call.keywords}
        assert "env" in keywords, ast.unparse(call)
        assert "shell" not in keywords
    assert not calls or "child_environment(" in text
