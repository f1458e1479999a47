"""README and documentation: their Python code runs, and their commands and files exist."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
PAGES = [README, REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
_FENCE = re.compile(
    r"(?:^<!--(?P<comment>(?:(?!-->).)*)-->[ ]*\n+)?^```(?P<language>\w+)\n(?P<code>.*?)^```[ ]*$",
    re.DOTALL | re.MULTILINE,
)
_NOT_RUN = "not run"
_COMMAND_LANGUAGES = ("console", "bash", "sh", "shell")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it starts on, and why it is not run, if so."""

    language: str
    code: str
    line: int
    reason: str | None


def _blocks(text: str) -> list[Block]:
    found = []
    for match in _FENCE.finditer(text):
        comment = (match["comment"] or "").strip()
        reason = comment.removeprefix(_NOT_RUN).strip(" :,;–-") if comment.startswith(_NOT_RUN) else None
        line = text.count("\n", 0, match.start("code")) + 1
        found.append(Block(match["language"], match["code"], line, reason))
    return found


def _commands(blocks: list[Block]) -> list[str]:
    """The command lines of console blocks: those after ``$`` where there are prompts, else all."""
    commands = []
    for block in blocks:
        if block.language not in _COMMAND_LANGUAGES:
            continue
        lines = [line.strip() for line in block.code.splitlines() if line.strip()]
        prompted = [line[1:].strip() for line in lines if line.startswith("$")]
        commands += prompted or [line for line in lines if not line.startswith("#")]
    return commands


def _name(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def _runs(page: Path) -> list[Block]:
    """The Python of a page that is to be run."""
    found = _blocks(page.read_text())
    return [block for block in found if block.language == "python" and block.reason is None]


@pytest.fixture(params=PAGES, ids=_name)
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def blocks(page: Path) -> list[Block]:
    return _blocks(page.read_text())


def test_blocks_are_found_with_their_language_and_reason():
    text = (
        "a\n\n```python\nx = 1\n```\n<!-- not run: needs a GPU -->\n```python\ny\n```\n"
        "<!-- other -->\n```console\n$ ls\n```\n"
    )

    first, second, third = _blocks(text)

    assert (first.language, first.code, first.line, first.reason) == ("python", "x = 1\n", 4, None)
    assert second.reason == "needs a GPU"
    assert (third.language, third.reason) == ("console", None)
    assert _commands([third]) == ["ls"]


def test_a_block_that_is_not_run_says_why(blocks):
    silent = [block.line for block in blocks if block.reason is not None and not block.reason]

    assert silent == []


@pytest.mark.slow
# the blocks of extending.md are files of their own; test_extending.py writes and runs them
@pytest.mark.parametrize(
    "page", [page for page in PAGES if _runs(page) and page.name != "extending.md"], ids=_name
)
def test_every_python_block_runs_in_order(page, make_digits, tmp_path, monkeypatch):
    """The blocks of a page share one namespace; what they load by name is a dataset of digits."""
    import fiftyone as fo

    code = _runs(page)
    dataset = make_digits(300, persistent=True)
    wanted = re.findall(r"load_dataset\(\s*[\"']([^\"']+)", "\n".join(block.code for block in code))
    copies = [dataset.clone(name, persistent=True) for name in dict.fromkeys(wanted)]
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__", "fo": fo, "dataset": copies[0] if copies else dataset}
    try:
        for block in code:
            # the padding makes a traceback show the page's own line
            source = "\n" * (block.line - 1) + block.code
            exec(compile(source, str(page), "exec"), namespace)
    finally:
        for copy in copies:
            copy.delete()


def test_every_command_of_ours_is_one_that_exists(blocks):
    """``fiftyone-deepcluster X`` has a command X that knows the options; ``make X`` has a target X."""
    for command in _commands(blocks):
        words = shlex.split(command, comments=True)
        if words[:1] == ["fiftyone-deepcluster"] and len(words) > 1 and not words[1].startswith("-"):
            _assert_known(words[1:])
        elif words[:1] == ["make"]:
            done = subprocess.run(
                ["make", "-n", *words[1:], f"PYTHON={sys.executable}"],
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        elif words[:1] in (["python"], ["python3"]) and len(words) > 1:
            assert _exists(words[1:]), command


def test_the_readme_shows_python_that_runs():
    assert _runs(README)


@pytest.mark.parametrize("page", [*PAGES, REPOSITORY / "benchmarks" / "README.md"], ids=_name)
def test_every_local_link_leads_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


def _assert_known(words: list[str]) -> None:
    from typer.main import get_command

    from fiftyone_deepcluster.cli import app

    commands = get_command(app).commands
    assert words[0] in commands, f"there is no command {words[0]!r}"
    known = {option for parameter in commands[words[0]].params for option in parameter.opts} | {"--help"}
    used = {word.split("=", 1)[0] for word in words[1:] if word.startswith("--")}
    assert used <= known, f"{words[0]} has no {used - known}"


def _exists(words: list[str]) -> bool:
    if words[0] == "-m":
        done = subprocess.run(
            [sys.executable, "-c", f"import importlib.util as u, sys; sys.exit(u.find_spec({words[1]!r}) is None)"],
            cwd=REPOSITORY, check=False,
        )  # fmt: skip
        return done.returncode == 0
    return words[0].startswith("-") or (REPOSITORY / words[0]).exists()
