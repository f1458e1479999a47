"""The public names: each can be imported, and importing the package imports nothing heavy."""

import subprocess
import sys

import pytest

import fiftyone_deepcluster as fdc

_HEAVY = ("torch", "fiftyone", "sklearn", "faiss", "umap", "scipy", "numpy", "pydantic")


def test_every_public_name_resolves():
    missing = [name for name in fdc.__all__ if getattr(fdc, name, None) is None]

    assert missing == []


def test_public_names_are_the_ones_listed():
    assert set(dir(fdc)) == set(fdc.__all__)
    assert {"cluster", "resume", "assign", "load_run", "list_runs", "delete_run", "review", "fit"} <= set(
        dir(fdc)
    )


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        fdc.no_such_name  # noqa: B018


def _modules_after(statement: str) -> set[str]:
    program = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy():
    assert _modules_after("import fiftyone_deepcluster").isdisjoint(_HEAVY)


@pytest.mark.parametrize(
    "statement",
    [
        "import fiftyone_deepcluster as fdc; fdc.list_methods()",
        "from fiftyone_deepcluster.clusterers.base import CLUSTERERS; CLUSTERERS.names()",
        "from fiftyone_deepcluster.reducers.base import REDUCERS; REDUCERS.names()",
        "from fiftyone_deepcluster.features.base import ENCODERS; ENCODERS.names()",
        "from fiftyone_deepcluster.core.record import RunRecord",
        "from fiftyone_deepcluster.cli import app",
    ],
)
def test_what_a_form_needs_imports_neither_torch_nor_fiftyone(statement):
    assert _modules_after(statement).isdisjoint({"torch", "fiftyone", "sklearn", "faiss", "umap"})
