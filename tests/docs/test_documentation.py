"""The API reference lists what exists, and the project's own files name what exists."""

import html
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.environment import Need
from fiftyone_deepcluster.core.registry import Part

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
FORMS = [
    path for path in (REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"
]


@pytest.fixture(scope="module")
def hooks():
    """``scripts/mkdocs_hooks.py``, which is no package."""
    spec = importlib.util.spec_from_file_location("mkdocs_hooks", REPOSITORY / "scripts" / "mkdocs_hooks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def reference(hooks):
    """All entries of the API reference, as full paths."""
    pages = [hooks.on_page_markdown(path.read_text()) for path in (REPOSITORY / "docs" / "api").glob("*.md")]
    return re.findall(r"^::: (\S+)", "\n".join(pages), re.MULTILINE)


def test_the_page_on_security_lists_every_variable_of_subprocesses(hooks):
    page = hooks.on_page_markdown((REPOSITORY / "docs" / "guide" / "security.md").read_text())
    for need in Need:
        row = next(line for line in page.splitlines() if line.startswith(f"| {need.name.lower()} | "))
        assert need.reason in row
        assert re.findall("`([^`]+)`", row) == list(need.names)


def _found(path):
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def test_every_public_name_is_in_the_reference_once(reference, hooks):
    wanted = [f"{module}.{name}" for name, module in hooks.where().items()]

    assert [path for path in wanted if reference.count(path) != 1] == []
    assert sorted(hooks.where()) == sorted(set(fdc.__all__) - {"__version__"})


def test_every_entry_of_the_reference_exists(reference):
    for path in reference:
        assert _found(path).__doc__, path


def test_options_in_the_reference_are_those_of_the_models(reference, hooks):
    """They are read from the source, so that nothing is imported where the documentation is built."""
    parts = [path for path in reference if isinstance(_found(path), type) and issubclass(_found(path), Part)]
    assert len(parts) > 25
    for path in parts:
        options = {option.name: option for option in hooks.options_of(path)}
        fields = _found(path).model_fields
        assert set(options) == set(fields) - {"name"}, path
        assert {name: option.description for name, option in options.items()} == {
            name: field.description for name, field in fields.items() if name != "name"
        }, path


def test_a_comment_that_finds_nothing_is_an_error(hooks):
    with pytest.raises(ValueError, match="no public name"):
        hooks.on_page_markdown("<!-- public: nowhere -->")
    with pytest.raises(ValueError, match="no part"):
        hooks.on_page_markdown("<!-- parts: metrics -->")


def test_formulas_become_mathml(hooks):
    page = (
        '<p><span class="arithmatex">\\(a &lt; b\\)</span></p><div class="arithmatex">\\[x \\tag{3}\\]</div>'
    )

    found = hooks.on_page_content(page)

    assert "arithmatex" not in found
    assert found.count("<math") == 2
    assert "<mo><</mo>" in html.unescape(found)


def test_the_navigation_lists_every_page():
    navigation = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]
    listed = re.findall(r"[\w/-]+\.md", str(navigation))
    docs = REPOSITORY / "docs"

    assert sorted(listed) == sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_targets_that_exist(path):
    workflow = yaml.safe_load(path.read_text())
    jobs = workflow["jobs"].values()
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    targets = [word for command in commands for word in re.findall(r"^make ([\w-]+)", command)]
    for job in jobs:
        assert job["timeout-minutes"]
        targets += [entry["target"] for entry in job.get("strategy", {}).get("matrix", {}).get("include", [])]
    for target in targets:
        done = subprocess.run(
            ["make", "-n", target, f"PYTHON={sys.executable}"],
            cwd=REPOSITORY, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_asks_for_what_is_needed(path):
    form = yaml.safe_load(path.read_text())

    assert form["name"]
    assert form["description"]
    assert any(entry.get("validations", {}).get("required") for entry in form["body"])


def test_every_marker_is_documented():
    settings = (REPOSITORY / "pyproject.toml").read_text()
    markers = re.findall(r'^  "(\w+): ', settings.split("markers = [")[1].split("]")[0], re.MULTILINE)
    guide = (REPOSITORY / "CONTRIBUTING.md").read_text()

    assert [
        marker for marker in markers if f"`{marker}`" not in guide and f"mark.{marker}`" not in guide
    ] == []
