"""Types that a type checker sees in the package: the same names as at run time."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fiftyone_deepcluster as fdc

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "fiftyone_deepcluster"

SCRIPT = """
import fiftyone as fo
import fiftyone_deepcluster as fdc

def main(samples: fo.Dataset) -> None:
    reveal_type(fdc.cluster(samples, fdc.DAC(n_clusters=10)))
    reveal_type(fdc.cluster(samples, "dac").clusters()[0].size)
    reveal_type(fdc.fit(["a.png"], fdc.Frozen()))
    reveal_type(fdc.fit(["a.png"]).record)
    reveal_type(fdc.StopReason.COLLAPSED)
    fdc.no_such_name
    fdc.DAC(no_such_option=1)
    fdc.load_run(samples)
"""


def _stub_imports() -> dict[str, str]:
    """The names that the stub exports (``import name as name``), and the modules it takes them from."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    return {
        alias.name: node.module or ""
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }


def test_the_stub_imports_what_the_package_loads():
    assert _stub_imports() == fdc._WHERE


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> str:
    """mypy's messages for a user's script, by line."""
    script = tmp_path_factory.mktemp("user") / "script.py"
    script.write_text(SCRIPT.lstrip())
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(script)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(
    ("line", "revealed"),
    [
        (5, "fiftyone_deepcluster.dataset.runs.run.Run"),
        (6, "int"),
        (7, "fiftyone_deepcluster.api.fit.FitResult"),
        (8, "fiftyone_deepcluster.core.record.RunRecord"),
        (9, "Literal[fiftyone_deepcluster.core.record.StopReason.COLLAPSED]?"),
    ],
)
def test_results_have_their_types(seen, line, revealed):
    assert f'script.py:{line}: note: Revealed type is "{revealed}"' in seen.replace("builtins.", "")


@pytest.mark.parametrize(
    ("line", "code"),
    [(10, "attr-defined"), (11, "call-arg"), (12, "call-arg")],
    ids=["name", "option", "argument"],
)
def test_mistakes_are_found(seen, line, code):
    assert any(
        entry.endswith(f"[{code}]") for entry in seen.splitlines() if f"script.py:{line}: error" in entry
    ), seen
