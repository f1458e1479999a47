"""Every example of docs/extending.md registers a part, is checked and is used."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from fiftyone.operators import types

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster import testing
from fiftyone_deepcluster.app.forms import add_part, parse_part
from fiftyone_deepcluster.app.option_fields import OptionField
from fiftyone_deepcluster.clusterers.base import CLUSTERERS

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "extending.md").read_text()
_BLOCK = re.compile(r"(<!-- not run: [^>]+-->\n)?```python\n(.*?)```", re.DOTALL)
_FILE = re.compile(r"# (\w+\.py)\n")


def _blocks() -> tuple[dict[str, str], list[str]]:
    """Files by their names, and what is run besides."""
    files, others = {}, []
    for not_run, code in _BLOCK.findall(TEXT):
        name = _FILE.match(code)
        if name:
            files[name[1]] = code
        elif not not_run:
            others.append(code)
    return files, others


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of the page, as a reader has them."""
    made = tmp_path_factory.mktemp("extending")
    for name, code in _blocks()[0].items():
        (made / name).write_text(code)
    return made


def _run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_one_part_of_each_kind_and_checks_it():
    files, others = _blocks()
    assert len(files) == 5
    checks = {name for name in testing.__all__ if name.startswith("check_")}
    assert {name for name in checks if f"{name}(" in "".join(others)} == checks


def test_every_example_runs_in_a_fresh_process(folder):
    printed = _run("\n".join(_blocks()[1]), folder)
    assert printed.splitlines()[0] == "(300,) 10"


@pytest.mark.parametrize("name", sorted(_blocks()[0]))
def test_an_example_is_short(name):
    lines = [line for line in _blocks()[0][name].splitlines() if line.strip()]
    assert len(lines) <= 35


def test_an_entry_point_makes_a_part_known(folder):
    """As pip installs it: a distribution's metadata beside the module."""
    info = folder / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[fiftyone_deepcluster.parts]\nbisecting = bisecting\nbroken = no_such_module\n"
    )
    code = (
        "from fiftyone_deepcluster.clusterers.base import CLUSTERERS\n"
        "from fiftyone_deepcluster.methods.base import METHODS\n"
        "from fiftyone_deepcluster.app.option_fields import option_fields\n"
        "print(CLUSTERERS.parse({'name': 'bisecting', 'n_init': 2}))\n"
        "print([field.name for field in option_fields(CLUSTERERS.get('bisecting'))])\n"
        "try:\n    CLUSTERERS.get('no-such')\nexcept Exception as error:\n    print(error)\n"
    )
    part, options, error = _run(code, folder).splitlines()
    assert part == "name='bisecting' n_init=2"
    assert options == "['n_init']"
    assert "the entry point broken = 'no_such_module' failed: ModuleNotFoundError" in error


@pytest.fixture
def bisecting(folder):
    """The page's clusterer, known as long as the test runs."""
    before = {name: CLUSTERERS.get(name) for name in CLUSTERERS.names()}
    yield runpy.run_path(str(folder / "bisecting.py"))["Bisecting"]
    CLUSTERERS._parts.clear()
    CLUSTERERS._parts.update(before)


def test_a_part_works_on_a_dataset_and_in_the_form(bisecting, make_digits):
    inputs = types.Object()
    field = OptionField(name="clusterer", kind="part", label="Clusterer", default="kmeans", parts=CLUSTERERS)
    add_part(inputs, field, {"name": "bisecting"})
    box = inputs.get_property("clusterer").type
    assert "bisecting" in [choice.value for choice in box.get_property("name").view.choices]
    assert box.get_property("bisecting").type.get_property("n_init").default == 5
    chosen = parse_part(CLUSTERERS, {"name": "bisecting", "bisecting": {"n_init": 2}})
    assert chosen == bisecting(n_init=2)

    dataset = make_digits(60)
    fdc.cluster(
        dataset, method="frozen", key="mine", n_clusters=4, clusterer={"name": "bisecting", "n_init": 2},
        progress=False, compute_brain=False, baselines=False,
    )  # fmt: skip
    assert len(dataset.distinct("mine.label")) == 4
    assert fdc.load_run(dataset, "mine").options.clusterer == bisecting(n_init=2)
