"""Every line of the page on fidelity says where it stands, and names a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "fidelity.md").read_text()
VERDICTS = ("*as in the paper*", "*as in the scripts*", "*ours, because*", "*not done, because*")
PAPERS = ("DeepCluster", "DeepCluster-v2", "UCNN", "DAC", "LDPO", "Cardiac-MR DeepCluster")


def sections():
    """Title -> test files that the section names, and its rows as (element, here, test)."""
    found = {}
    for text in PAGE.split("\n## ")[1:]:
        title = text.splitlines()[0]
        files = re.findall(r"`(\S+?)`", re.search(r"Tests:\s(.+?)\n\n", text, re.DOTALL)[1])
        lines = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")][2:]
        found[title] = files, [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]
    return found


def names_in(path):
    """Names of the tests in a file, also of those in classes."""
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_paper_has_a_section():
    assert tuple(sections()) == PAPERS


def test_every_line_has_a_verdict():
    for title, (_, rows) in sections().items():
        assert len(rows) > 10, title
        for row in rows:
            assert len(row) == 3, row
            assert any(verdict in row[1] for verdict in VERDICTS), row


def test_every_test_that_is_named_exists():
    missing = []
    for files, rows in sections().values():
        for element, here, cell in rows:
            names = re.findall(r"`([^`]+)`", cell)
            if not names:
                assert cell == "none", element
                assert "python -m" in here or "not done, because" in here, element
            for name in names:
                path, _, test = name.rpartition("::")
                paths = [path if "/" in path else f"tests/fidelity/{path}"] if path else files
                if not any(test in names_in(path) for path in paths):
                    missing.append(name)
    assert missing == []


def test_every_test_of_a_paper_is_on_the_page():
    for path in sorted((ROOT / "tests" / "fidelity").glob("test_paper_*.py")):
        unnamed = [name for name in names_in(path) if name.startswith("test_") and f"`{name}`" not in PAGE]
        assert len(unnamed) <= 5, (path.name, unnamed)


def test_benchmarks_that_are_named_exist():
    for name in set(re.findall(r"python -m benchmarks\.(\w+)", PAGE)):
        assert (ROOT / "benchmarks" / f"{name}.py").is_file(), name
