"""fiftyone.yml agrees with ``register``, and FiftyOne finds all operators and panels."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import fiftyone.operators as foo
import fiftyone.plugins as fop
import pytest
import yaml

from fiftyone_deepcluster.app import entry, names

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = yaml.safe_load((ROOT / "fiftyone.yml").read_text())


class Recorder:
    """Replacement of FiftyOne's plugin context that records the registered parts."""

    def __init__(self):
        self.parts = []

    def register(self, part):
        self.parts.append(part())


@pytest.fixture
def registered():
    recorder = Recorder()
    entry.register(recorder)
    return recorder.parts


def test_manifest_names_what_is_registered(registered):
    panels = [part.name for part in registered if isinstance(part, foo.Panel)]
    operators = [part.name for part in registered if not isinstance(part, foo.Panel)]
    assert MANIFEST["operators"] == operators
    assert MANIFEST["panels"] == panels
    assert MANIFEST["name"] == names.PLUGIN


def test_names_are_the_registered_uris(registered):
    constants = {value for name, value in vars(names).items() if name.isupper() and "/" in str(value)}
    assert constants - {names.PLUGIN} == {
        f"{names.PLUGIN}/{part.name}" for part in registered if not isinstance(part, foo.Panel)
    }


def test_versions_agree():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    version = next(line.split('"')[1] for line in lines if line.startswith("version = "))
    assert MANIFEST["version"] == version


def test_fiftyone_finds_every_part(plugin, registered):
    assert foo.registry.OperatorRegistry().list_errors() == []
    found = {operator.uri for operator in foo.list_operators()}
    assert {f"{names.PLUGIN}/{part.name}" for part in registered} <= found
    definition = next(known for known in fop.list_plugins() if known.name == names.PLUGIN)
    assert definition.version == MANIFEST["version"]


def test_every_operator_says_what_it_does_and_how_risky_it_is(registered):
    for part in registered:
        if not isinstance(part, foo.Panel):
            assert part.config.description
            assert part.config.icon
            assert part.config.label[0].isupper()
    risky = {part.name for part in registered if part.risk_level.value == "dangerous"}
    assert risky == {"delete_clustering_run"}


def test_entry_does_nothing_heavy_at_the_top():
    """FiftyOne executes the file at every request."""
    tree = ast.parse(Path(entry.__file__).read_text())
    imported = [
        name.name
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    ]
    assert imported == ["annotations", "importlib.util", "sys", "Path", "TYPE_CHECKING"]


def test_one_copy_of_every_module(plugin):
    foo.list_operators()
    prefix = "fiftyone.plugins.orgs.deepcluster.clustering"
    assert prefix in sys.modules
    assert [name for name in sys.modules if name.startswith(f"{prefix}.")] == []
