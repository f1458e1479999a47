"""Every example runs and writes its output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import fiftyone_deepcluster as fdc

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# one round shows that an example works; how well it does is the benchmarks' business
_ARGUMENTS = {
    "audit.py": ("--images", "400"),
    "quickstart.py": ("--rounds", "1"),
    "radiology.py": ("--rounds", "1"),
}
_PICTURES = {
    "audit.py": ("audit.png",),
    "quickstart.py": ("clusters.png", "rounds.png"),
    "radiology.py": ("radiology-clusters.png", "radiology-tree.png"),
}


def _cells(notebook):
    return json.loads(notebook.read_text())["cells"]


def _program(example):
    """An example as a program: of a notebook, all its code."""
    if example.suffix != ".ipynb":
        return example.read_text()
    return "\n\n".join("".join(cell["source"]) for cell in _cells(example) if cell["cell_type"] == "code")


@pytest.fixture
def run(fiftyone_home, tmp_path):
    """Call it with an example's name and arguments: a copy of it runs, so that the checkout stays clean."""
    import fiftyone as fo

    def call(name, *arguments):
        copy = (tmp_path / name).with_suffix(".py")
        copy.write_text(_program(EXAMPLES / name))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(copy), *arguments],
            capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ.copy(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout, tmp_path / "output"

    before = set(fo.list_datasets())
    yield call
    # another test may want a dataset of that name
    for name in set(fo.list_datasets()) - before:
        fo.delete_dataset(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb"))
)
def test_example_runs_and_leaves_its_pictures(name, run):
    printed, output = run(name, *_ARGUMENTS.get(name, ()))

    assert ("Wrong labels: 32 of 400" if name == "audit.py" else "cluster-00") in printed
    for picture in _PICTURES.get(name, ()):
        with Image.open(output / picture) as image:
            low, high = image.convert("L").getextrema()
            assert min(image.size) > 200
            assert high - low > 100


@pytest.mark.slow
def test_the_quickstart_keeps_a_reviewed_run(run):
    import fiftyone as fo

    run("quickstart.py", "--rounds", "1")
    dataset = fo.load_dataset("deepcluster-digits")
    fdc.review(dataset, "dc").rename("cluster-00", "mine")
    printed, _ = run("quickstart.py")
    assert "is there already" in printed
    assert "mine" in printed
    with pytest.raises(AssertionError, match="run 'dc' of 'deepcluster-digits' has 1 edit"):
        run("quickstart.py", "--rounds", "2")
    assert "mine" in fdc.load_run(dataset, "dc").names()


@pytest.mark.parametrize("notebook", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs(notebook):
    code = [cell for cell in _cells(notebook) if cell["cell_type"] == "code"]

    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"]] == []
