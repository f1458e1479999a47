"""One public name has one meaning, and names use the terms of the field."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.clusterers.base import CLUSTERERS
from fiftyone_deepcluster.core.devices import Compute
from fiftyone_deepcluster.features.base import ENCODERS
from fiftyone_deepcluster.methods.base import METHODS
from fiftyone_deepcluster.reducers.base import REDUCERS

PACKAGE = Path(__file__).parents[2] / "fiftyone_deepcluster"
FILES = sorted(PACKAGE.rglob("*.py"))

# the same concept in every module that has it
SHARED = {
    "logger": "the module's logger",
    "main": "what a program does",
    "module_class": "the class of a backbone's module, made when it is first built",
}

NOT_IN_NAMES = re.compile(
    r"trunks?|taps?|fronts?|recipes?|lessons?|taught|teach\w*|told|heard|speak\w*|learnt|restarts?|"
    r"neighbour\w*|centre[sd]?|colour\w*|grey\w*|optimis\w*|\w*labell\w+|"
    r"(normalis|initialis|regularis|maximis|minimis|summaris|standardis|serialis|organis|recognis|vectoris)"
    r"(e[sdr]?|ing|ation)"
)

NOT_OPTIONS = {
    "certain", "dims", "fine_rounds", "front", "iterations", "neighbors", "recipe", "restarts", "smoothing", "space",
    "start", "tap", "trunk", "unit",
}  # fmt: skip


def defined(tree: ast.Module) -> set[str]:
    """Public names that a module makes at its top level."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(
                part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)
            )
    return {name for name in names if not name.startswith("_")}


def test_a_public_name_is_made_in_one_module():
    makers = defaultdict(list)
    for path in FILES:
        for name in defined(ast.parse(path.read_text())):
            makers[name].append(str(path.relative_to(PACKAGE)))
    twice = {name: places for name, places in makers.items() if len(places) > 1}
    assert {name: places for name, places in twice.items() if name not in SHARED} == {}
    assert sorted(SHARED) == sorted(set(SHARED) & set(twice)), "a name that is shared no more"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_our_names_are_imported_as_they_are(path):
    renamed = [
        f"{alias.name} as {alias.asname}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fiftyone_deepcluster")
        for alias in node.names
        if alias.asname
    ]
    assert renamed == []


def parts(name: str) -> list[str]:
    """``PixelWarmup`` -> pixel, warmup; ``n_init`` -> n, init."""
    return [part.lower() for part in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_names_are_the_words_of_the_field(path):
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    names = {token.string for token in tokens if token.type == tokenize.NAME} | {path.stem}
    assert {name for name in names if any(NOT_IN_NAMES.fullmatch(part) for part in parts(name))} == set()


@pytest.mark.parametrize(
    "registry", [BACKBONES, CLUSTERERS, ENCODERS, METHODS, REDUCERS], ids=lambda registry: registry.family
)
def test_options_have_the_names_of_the_field(registry):
    for name in registry.names():
        assert NOT_OPTIONS & set(registry.get(name).model_fields) == set(), name


def test_processes_talk_in_the_words_of_torch_distributed():
    wanted = {"shard", "all_reduce_sum", "all_reduce_min", "all_reduce_any", "broadcast"}
    assert wanted <= set(dir(Compute))
