"""Project files that must agree with each other."""

import ast
import collections
import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import fiftyone_deepcluster

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_no_file_has_marks_of_a_merge_conflict():
    marks = re.compile("^(<{7}|>{7}) ", re.MULTILINE)
    folders = (
        "fiftyone_deepcluster",
        "tests",
        "docs",
        "examples",
        "benchmarks",
        "scripts",
        "skills",
        ".github",
    )
    found = [path for folder in folders for path in (REPOSITORY / folder).rglob("*")]
    texts = {".py", ".md", ".yml", ".toml", ".sh", ".ipynb", ".css"}

    assert [
        str(path)
        for path in [*found, *REPOSITORY.glob("*")]
        if path.suffix in texts and marks.search(path.read_text())
    ] == []


def _requirements(lines):
    return {str(Requirement(line)) for line in lines if line.strip() and not line.startswith("#")}


def test_requirements_txt_asks_for_what_the_package_asks_for(project):
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()

    assert _requirements(lines) == _requirements(project["dependencies"])


def _imported(tree):
    """Names of the modules that running a program may import, those inside of functions included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
        else:
            yield from _imported(node)


def _brought_by():
    """Distributions by the modules that they bring; Python 3.10's own function knows only some of them."""
    found = collections.defaultdict(set)
    for distribution in importlib.metadata.distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        for line in (distribution.read_text("RECORD") or "").splitlines():
            found[re.split("[/,]", line, maxsplit=1)[0].removesuffix(".py")].add(name)
    return found


def test_what_is_imported_is_declared(project):
    declared = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    declared |= {"pydantic-core"}  # pydantic asks for exactly one pydantic-core
    declared |= {"playwright"}  # of the tests, imported where it was found
    extras = project["optional-dependencies"]
    for line in (
        *extras["dicom"],
        *extras["timm"],
        *extras["transformers"],
    ):  # imported where they were found
        declared.add(canonicalize_name(Requirement(line).name))
    brought_by = _brought_by()
    for file in (REPOSITORY / "fiftyone_deepcluster").rglob("*.py"):
        for name in {module.split(".")[0] for module in _imported(ast.parse(file.read_text()))}:
            if name not in {*sys.stdlib_module_names, "fiftyone_deepcluster"}:
                assert declared & brought_by[name], f"{name} in {file}"


def test_one_version_everywhere(project):
    plugin = yaml.safe_load((REPOSITORY / "fiftyone.yml").read_text())

    assert project["version"] == plugin["version"] == fiftyone_deepcluster.__version__


def test_one_bound_of_fiftyone(project):
    plugin = yaml.safe_load((REPOSITORY / "fiftyone.yml").read_text())

    assert f"fiftyone{plugin['fiftyone']['version']}" in project["dependencies"]


def test_the_licence_is_the_one_named(project):
    assert project["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (REPOSITORY / "LICENSE").read_text()


def test_every_skill_is_declared_and_has_what_fiftyone_reads():
    declared = yaml.safe_load((REPOSITORY / "fiftyone.yml").read_text())["skills"]

    assert sorted(declared) == sorted(path.name for path in (REPOSITORY / "skills").iterdir())
    for name in declared:
        _, frontmatter, body = (REPOSITORY / "skills" / name / "SKILL.md").read_text().split("---\n", 2)
        metadata = yaml.safe_load(frontmatter)
        assert metadata["name"] == name
        assert metadata["description"]
        assert metadata["category"]
        assert body.strip()


def test_a_skill_names_only_what_exists():
    """Operators, functions and commands of this project that a skill's text mentions."""
    plugin = yaml.safe_load((REPOSITORY / "fiftyone.yml").read_text())
    for path in (REPOSITORY / "skills").glob("*/SKILL.md"):
        text = path.read_text()
        assert set(re.findall(r"@deepcluster/clustering/(\w+)", text)) <= {
            *plugin["operators"],
            *plugin["panels"],
        }
        assert set(re.findall(r"\bfdc\.(\w+)", text)) <= set(fiftyone_deepcluster.__all__)


def _called_by_workflows():
    """Targets of make that a workflow calls, by itself or by an entry of its matrix."""
    texts = [path.read_text() for path in (REPOSITORY / ".github" / "workflows").glob("*.yml")]
    return {target for text in texts for target in re.findall(r"(?:run: make|target:) ([\w-]+)", text)}


def test_workflows_check_build_and_test():
    assert _called_by_workflows() == {
        *("audit", "check", "docs", "frontend", "test", "test-lowest", "test-shuffled")
    }


@pytest.mark.parametrize(
    "target", sorted({"help", "demo", "coverage", "bench NAME=loop", "gpu", "clean", *_called_by_workflows()})
)
def test_make_knows_its_targets(target, tmp_path):
    done = subprocess.run(
        ["make", "-n", *target.split(), f"VENV={tmp_path / 'venv'}", f"PYTHON={sys.executable}"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def test_a_wheel_carries_what_registering_needs(tmp_path):
    """Built from a copy, put somewhere else, and found by the code that runs from there."""
    source = tmp_path / "source"
    for folder in ("fiftyone_deepcluster", "skills", "dist"):
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "fiftyone.yml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", str(site), str(source)], check=True, cwd=tmp_path)
    program = (
        "from fiftyone_deepcluster.cli.plugin import find_source, install_plugin; import pathlib;"
        "source = find_source(); assert not source.is_checkout, source;"
        "print(install_plugin(pathlib.Path('plugins'), source).resolve())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(site)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    place = Path(done.stdout.strip())
    assert yaml.safe_load((place / "fiftyone.yml").read_text())["py_entry"] == "__init__.py"
    assert (place / "skills" / "deep-clustering" / "SKILL.md").is_file()
    assert (place / "dist" / "index.umd.js").is_file()
    assert {"py.typed", "__init__.pyi"} <= {path.name for path in (site / "fiftyone_deepcluster").iterdir()}
