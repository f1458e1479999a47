"""The rubric by which Voxel51 rates plugins, as far as a program can decide it.

Source: ``skills/fiftyone-eval-plugin/SKILL.md`` of github.com/voxel51/fiftyone-skills. A security gate comes first: one
suspicious finding caps the score at 70. Then six areas are weighted. Every check here is a yes or no of its area.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
import re
from collections import defaultdict
from pathlib import Path

import fiftyone.operators as foo
import fiftyone.plugins as fop
import pytest
import yaml
from fiftyone.operators import types
from packaging.requirements import Requirement
from packaging.version import Version

from fiftyone_deepcluster.app import entry, names
from fiftyone_deepcluster.app.operators import OPERATORS
from fiftyone_deepcluster.app.panels import PANELS
from fiftyone_deepcluster.dataset.runs import kv
from fiftyone_deepcluster.errors import DeepClusterError
from tests.app.test_hostile_params import everything

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
SKILLS = {name: (ROOT / "skills" / name / "SKILL.md").read_text() for name in MANIFEST["skills"]}
WEIGHTS = {"schema": 25, "discoverability": 20, "risk": 20, "quality": 15, "registration": 10, "manifest": 10}

# ---------------------------------------------------------------- security gate

NETWORK = re.compile(
    r"(requests|httpx|aiohttp|urllib3?|http|socket|ftplib|smtplib|paramiko|websockets?)(\.|$)"
)
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.getenv", "shutil.copytree"}
LOADERS = {"pickle.load", "pickle.loads", "marshal.loads", "dill.load", "joblib.load", "yaml.load"}
CREDENTIALS = re.compile(r"\.ssh|\.aws|\.netrc|/etc/|System32|APPDATA.{2}|SECRET|API_KEY", re.IGNORECASE)

ALLOWED = {
    ("cli/doctor.py", "subprocess"): "imports FiftyOne apart, so that its failure is one line of the report",
    ("cli/launch.py", "subprocess"): "starts the App's server",
    ("cli/launch.py", "socket"): "looks for a free port of this machine; connects to nothing",
    ("cli/database.py", "subprocess"): "calls `mongod --version`",
    ("cli/plugin.py", "shutil.copytree"): "copies the plugin's own skills into FiftyOne's plugins folder",
    ("dataset/runs/detached.py", "subprocess"): "starts a run in this very interpreter",
    ("images/cache/worker_pool.py", "subprocess"): "decodes images in this very interpreter",
    ("images/cache/worker_pool.py", "pickle.load"): "reads the pipe of that child process",
    (
        "backbones/downloads.py",
        "urllib.request",
    ): "asks whether the host answers whose weights torch is to download",
    ("backbones/downloads.py", "urllib.error"): "an error code is an answer, too",
    ("__init__.py", "importlib.import_module"): "loads a module of this package at its first use",
    ("core/registry.py", "importlib.import_module"): "loads the modules of this package that register parts",
}
"""What a reviewer would stop at, with the reason; docs/guide/security.md says the same to the user."""


def dotted(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def findings(path: Path) -> set[str]:
    """What the rubric calls suspicious or critical in one file."""
    tree, found = ast.parse(path.read_text()), set()
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if NETWORK.match(alias.name)}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module != "urllib.parse":
            found |= {node.module} if NETWORK.match(node.module) else set()
        elif isinstance(node, ast.Call):
            found |= call_findings(node)
        elif dotted(node) == "os.environ" and not named_variable(node, parents):
            found.add("all of os.environ")
        elif isinstance(node, ast.Constant) and is_credential(node.value):
            found.add(f"path or name of a credential: {node.value}")
    return found


def is_credential(value: object) -> bool:
    """Whether a string is the path or the name of one, and not a sentence."""
    return isinstance(value, str) and " " not in value and CREDENTIALS.search(value) is not None


def call_findings(call: ast.Call) -> set[str]:
    name, keywords = dotted(call.func), {word.arg: ast.unparse(word.value) for word in call.keywords}
    found = {name} & (CALLS | LOADERS | {"importlib.import_module"})
    if name.startswith("subprocess."):
        found.add("subprocess")
        if "env" not in keywords:
            found.add("a subprocess with the whole environment")
    if "shell" in keywords:
        found.add("a shell")
    if name == "torch.load" and keywords.get("weights_only") != "True":
        found.add("torch.load of code")
    if keywords.get("allow_pickle", "False") != "False":
        found.add("numpy.load of code")
    return found


def named_variable(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Whether ``os.environ`` is read or changed by the name of one variable."""
    parent = parents[node]
    if isinstance(parent, ast.Attribute):
        return parent.attr == "get"
    return isinstance(parent, ast.Subscript) or (
        isinstance(parent, ast.Compare) and isinstance(parent.ops[0], ast.In)
    )


def test_security_gate_is_passed_without_a_suspicious_finding():
    found = {
        (str(path.relative_to(ROOT / "fiftyone_deepcluster")), what)
        for path in (ROOT / "fiftyone_deepcluster").rglob("*.py")
        for what in findings(path)
    }
    assert found - set(ALLOWED) == set()
    assert set(ALLOWED) - found == set(), "an exception that is needed no more"


SCRIPTED = re.compile(
    r"\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|\beval\(|new Function|dangerouslySetInnerHTML|innerHTML|https?://"
)


def test_the_panel_in_the_browser_calls_operators_and_nothing_else():
    """No request of its own, no code from text, and no HTML from names."""
    sources = [path for path in (ROOT / "frontend" / "src").rglob("*") if path.suffix in {".ts", ".tsx"}]
    assert sources
    assert {
        path.name: SCRIPTED.findall(path.read_text()) for path in sources if SCRIPTED.search(path.read_text())
    } == {}


def test_no_script_installs_anything_or_starts_a_program():
    for path in (ROOT / "scripts").glob("*.py"):
        assert findings(path) == set(), path
        assert "sudo" not in path.read_text()


def test_the_scan_finds_what_it_looks_for(tmp_path):
    (tmp_path / "bad.py").write_text(
        "import os, pickle, requests, subprocess, torch\n"
        "from http.client import HTTPSConnection\n"
        "dict(os.environ)\nos.environ.copy()\nfor name in os.environ: pass\nos.environ['HOME']\n"
        "subprocess.run('ls', shell=True)\neval('1')\npickle.load(f)\ntorch.load(p)\nopen('~/.ssh/id')\n"
    )
    assert findings(tmp_path / "bad.py") == {
        "requests", "http.client", "all of os.environ", "subprocess", "a subprocess with the whole environment",
        "a shell", "eval", "pickle.load", "torch.load of code", "path or name of a credential: ~/.ssh/id",
    }  # fmt: skip


# ---------------------------------------------------------------- the areas


@pytest.fixture(scope="module")
def operators(plugin):
    return [foo.get_operator(f"{names.PLUGIN}/{operator().config.name}") for operator in OPERATORS]


@pytest.fixture(scope="module")
def clustered(fiftyone_home, digits_dir):
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.api import cluster

    dataset = fo.Dataset(persistent=True)
    files = sorted(digits_dir.iterdir())[:60]
    samples = [fo.Sample(filepath=str(file), report="a digit") for file in files]
    for sample, file in zip(samples, files, strict=True):
        sample["ground_truth"] = fo.Classification(label=file.stem[-1])
    dataset.add_samples(samples, progress=False)
    cluster(dataset, "frozen", "dc", n_clusters=4, baselines=False, compute_brain=False, progress=False)
    yield dataset
    dataset.delete()


def manifest_checks() -> dict[str, bool]:
    requirements = [Requirement(line) for line in read_lines("requirements.txt")]
    imports = {
        name.split(".")[0]
        for path in (ROOT / "fiftyone_deepcluster").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in imported(node)
    }
    return {
        "the name is @org/plugin": bool(re.fullmatch(r"@[\w-]+/[\w-]+", MANIFEST["name"])),
        "the version is semantic": len(Version(MANIFEST["version"]).release) == 3,
        "versions of FiftyOne are stated": MANIFEST["fiftyone"]["version"].startswith(">="),
        "it says who, what, where and under which license": all(
            MANIFEST.get(name) for name in ("author", "description", "url", "license", "tags")
        ),
        "the url is one": MANIFEST["url"].startswith("https://"),
        "operators and panels are listed": bool(MANIFEST["operators"] and MANIFEST["panels"]),
        "the entry exists": (ROOT / MANIFEST["py_entry"]).is_file(),
        "the panel's bundle is built": (ROOT / "dist" / "index.umd.js").is_file(),
        "every skill has its file": all(text.startswith("---\nname: ") for text in SKILLS.values()),
        "no secret is needed": "secrets" not in MANIFEST,
        "requirements are listed, none pinned": bool(requirements)
        and not any(part.operator == "==" for line in requirements for part in line.specifier),
        "every import can be found": all(importlib.util.find_spec(name) for name in imports),
    }


def read_lines(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []


def registration_checks(operators) -> dict[str, bool]:
    listed = {operator.uri for operator in foo.list_operators()}
    others = {operator.name for operator in foo.list_operators() if operator.builtin}
    configs = [operator.config for operator in operators]
    return {
        "it registers without errors": foo.registry.OperatorRegistry().list_errors() == [],
        "FiftyOne lists the plugin": names.PLUGIN in {plugin.name for plugin in fop.list_plugins()},
        "every operator and panel of the manifest is registered": {
            f"{names.PLUGIN}/{name}" for name in (*MANIFEST["operators"], *MANIFEST["panels"])
        }
        <= listed,
        "every registered one is in the manifest": {operator.name for operator in operators}
        == set(MANIFEST["operators"]),
        "no name is that of a builtin operator": not {operator.name for operator in operators} & others,
        "nothing runs at startup": not any(config.on_startup or config.on_dataset_open for config in configs),
        "the entry imports nothing heavy": "import torch" not in inspect.getsource(entry),
    }


def schema_checks(operators, context) -> dict[str, bool]:
    found = {}
    for operator in operators:
        form = operator.resolve_input(context({}))
        properties = {} if form is None else dict(walk(form.type))
        inputs = {name: prop for name, prop in properties.items() if not is_view(prop)}
        found[f"{operator.name}: every input has a label"] = all(
            prop.view is not None and prop.view.to_json().get("label") for prop in inputs.values()
        )
        found[f"{operator.name}: every choice has options"] = all(
            prop.type.values for prop in inputs.values() if isinstance(prop.type, types.Enum)
        )
        returns = str(inspect.signature(operator.execute).return_annotation)
        if returns.startswith("dict"):
            output = operator.resolve_output(context({}))
            source = inspect.getsource(inspect.getmodule(operator.resolve_output))
            found[f"{operator.name}: its result is described"] = output is not None and all(
                f'"{name}"' in source for name in output.type.properties
            )
        found[f"{operator.name}: says what it needs"] = answers_in_words(operator, context({}))
    return found


def walk(schema: types.Object):
    for name, prop in schema.properties.items():
        yield name, prop
        if isinstance(prop.type, types.Object):
            yield from walk(prop.type)


def is_view(prop: types.Property) -> bool:
    """Whether the property shows text or groups others, and takes no value itself."""
    return isinstance(prop.type, types.Object | types.Void) or isinstance(prop.view, types.HiddenView)


def answers_in_words(operator, ctx) -> bool:
    """Without parameters: refused in words, or its own defaults; delete and the long ones are not carried out."""
    if operator.config.allow_delegated_execution:
        return True
    try:
        operator.execute(ctx)
    except DeepClusterError as error:
        return bool(str(error))
    return operator.name in {
        "show_clustering_run", "list_clustering_runs", "undo_edit", "cancel_clustering",
    }  # fmt: skip


def risk_checks(operators, dataset, context) -> dict[str, bool]:
    level = {operator.name: operator.risk_level.value for operator in operators}
    found = {}
    before = everything(dataset)
    for operator in operators:
        if level[operator.name] == "low":
            operator.execute(context({"key": "dc"}))
    found["what is called low reads only"] = everything(dataset) == before
    found["what deletes is dangerous, and nothing else"] = {
        name for name, value in level.items() if value == "dangerous"
    } == {name for name in level if name.startswith("delete")}
    delete = foo.get_operator(names.DELETE_CLUSTERING_RUN)
    found["deleting wants to be confirmed"] = (
        delete.resolve_input(context({})).type.get_property("confirm").invalid
    )
    found["replacing wants to be asked for"] = "overwrite" in inspect.getsource(type(operators[0]))
    found["what may replace or read elsewhere is high"] = all(
        level[name] == "high" for name in ("cluster_images", "resume_clustering", "import_dicom")
    )
    found["the panel declares its risk"] = all(panel().risk_level.value == "medium" for panel in PANELS)
    found["every operator declares its risk"] = all(
        re.search(r'risk_level=|"(low|medium|high|dangerous)",', inspect.getsource(type(operator)))
        for operator in operators
    )
    return found


def quality_checks(operators) -> dict[str, bool]:
    heavy = [operator for operator in operators if operator.config.allow_delegated_execution]
    sources = "".join(path.read_text() for path in (ROOT / "fiftyone_deepcluster" / "app").rglob("*.py"))
    return {
        "it works on the target view": "ctx.target_view()" in sources,
        "its store is its own": kv._NAME.startswith("deepcluster"),
        "heavy work can be delegated, and need not be": all(
            operator.config.allow_immediate_execution for operator in heavy
        ),
        "heavy work reports its progress": {operator.name for operator in heavy}
        >= {"cluster_images", "resume_clustering", "import_dicom", "draw_filters", "find_neighbors"},
        "no dataset is named": not re.search(r"\bload_dataset\(", sources),
    }


def discoverability_checks(operators) -> dict[str, bool]:
    configs = {operator.name: operator.config for operator in operators}
    text = "".join(SKILLS.values())
    found = {}
    for name, config in configs.items():
        found[f"{name}: a verb and what it is done to"] = bool(re.fullmatch(r"[a-z]+(_[a-z]+)+", name))
        found[f"{name}: its description says when"] = 40 <= len(config.description) <= 300
        found[f"{name}: the skill names it"] = f"{names.PLUGIN}/{name}" in text
    pairs = [(a, b) for a in configs for b in configs if a < b]
    found["no two descriptions overlap"] = all(
        difflib.SequenceMatcher(None, configs[a].description, configs[b].description).ratio() < 0.8
        for a, b in pairs
    )
    found["labels are distinct"] = len({config.label for config in configs.values()}) == len(configs)
    return found


def test_the_score_is_95_or_more(operators, clustered, make_context):
    areas = {
        "manifest": manifest_checks(),
        "registration": registration_checks(operators),
        "schema": schema_checks(operators, lambda params: make_context(clustered, params)),
        "risk": risk_checks(operators, clustered, lambda params: make_context(clustered, params)),
        "quality": quality_checks(operators),
        "discoverability": discoverability_checks(operators),
    }
    failed = defaultdict(list)
    for area, checks in areas.items():
        failed[area] = [what for what, passed in checks.items() if not passed]
    score = sum(WEIGHTS[area] * (1 - len(failed[area]) / len(checks)) for area, checks in areas.items())
    assert sum(WEIGHTS.values()) == 100
    assert score >= 95, {area: what for area, what in failed.items() if what}
