"""Hooks of mkdocs: generate the API reference from the source, and convert formulas to MathML.

Pages of ``docs/api`` contain comments such as ``<!-- public: dataset.api dataset.runs -->``, replaced by the public
names defined in these modules, or ``<!-- parts: clusterers -->``, replaced by the registered parts of a package. The
comment ``<!-- environment -->`` becomes the table of the environment variables that subprocesses receive. New
functions, options, parts and variables thus appear without a change of the documentation. The package is not imported.
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "fiftyone_deepcluster"
ROOT = Path(__file__).resolve().parents[1] / PACKAGE
_PUBLIC = re.compile(r"^<!-- public: (?P<modules>.+?) -->$", re.MULTILINE)
_PARTS = re.compile(r"^<!-- parts: (?P<package>\w+) -->$", re.MULTILINE)
_ENVIRONMENT = "<!-- environment -->"
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.+?)\\[)\]]</\1>', re.DOTALL)
_NUMBER = re.compile(r"\\tag\{(.+?)\}")
_HIDDEN = ("members", "show_bases", "show_signature", "separate_signature")
_OPTIONS_ONLY = "\n    options:" + "".join(f"\n      {name}: false" for name in _HIDDEN)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the comments by lists of names."""
    markdown = _PUBLIC.sub(lambda found: _entries(public_names(found["modules"].split())), markdown)
    markdown = _PARTS.sub(lambda found: _entries(parts_of(found["package"]), level=3), markdown)
    return markdown.replace(_ENVIRONMENT, variables()) if _ENVIRONMENT in markdown else markdown


def on_page_content(content: str, **_: Any) -> str:
    """Convert formulas to MathML."""
    return _FORMULA.sub(lambda found: _mathml(html.unescape(found[3]), found[2] == "["), content)


def public_names(modules: list[str]) -> list[str]:
    """Full paths of the public names defined in or below ``modules``, in the order of the package.

    Args:
        modules: module names such as ``dataset.runs``, without the name of the package.

    Raises:
        ValueError: a module has no public names.
    """
    found = [f"{module}.{name}" for name, module in where().items()]
    chosen: list[str] = []
    for module in modules:
        below = [path for path in found if path.startswith(f"{PACKAGE}.{module}.")]
        if not below:
            raise ValueError(f"no public name is defined in {module!r}; correct the comment in docs/api")
        chosen += [path for path in below if path not in chosen]
    return chosen


@cache
def where() -> dict[str, str]:
    """Public name -> module, parsed from ``fiftyone_deepcluster/__init__.py`` without importing it."""
    for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text())):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_WHERE":
            table: dict[str, str] = ast.literal_eval(node.value)
            return table
    raise ValueError(f"{ROOT / '__init__.py'} assigns no table _WHERE")


def parts_of(package: str) -> list[str]:
    """Full paths of the registered classes of a package, by file.

    Raises:
        ValueError: the package has no parts.
    """
    found = [
        path for path, model in models().items() if path.startswith(f"{PACKAGE}.{package}.") and model.called
    ]
    if not found:
        raise ValueError(f"no part is registered in {package!r}; correct the comment in docs/api")
    return found


def variables() -> str:
    """Table of the environment variables of subprocesses, parsed from ``core/environment.py``."""
    tree = ast.parse((ROOT / "core" / "environment.py").read_text())
    needs = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Need")
    lines = ["| need | why | variables |", "|---|---|---|"]
    for member in needs.body:
        if isinstance(member, ast.Assign):
            reason, listed = ast.literal_eval(member.value)
            called = ast.unparse(member.targets[0]).lower()
            lines.append(f"| {called} | to {reason} | {' '.join(f'`{name}`' for name in listed.split())} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Option:
    """A field of an options model, parsed from the source.

    Attributes:
        name: field name.
        type: annotation.
        default: expression of the default.
        description: text of the description.
    """

    name: str
    type: str
    default: str
    description: str


@dataclass(frozen=True)
class Model:
    """A class, parsed from the source.

    Attributes:
        name: class name.
        bases: names of the base classes.
        own: options defined or overridden in the class.
        called: name under which the part is registered; empty if it is not registered.
    """

    name: str
    bases: tuple[str, ...]
    own: tuple[Option, ...]
    called: str


@cache
def models() -> dict[str, Model]:
    """Full path -> class, for all top-level classes of the package."""
    found = {}
    for file in sorted(ROOT.rglob("*.py")):
        module = ".".join((PACKAGE, *file.relative_to(ROOT).with_suffix("").parts))
        body = ast.parse(file.read_text()).body
        constants = dict(_constants(body))
        for node in body:
            if isinstance(node, ast.ClassDef):
                found[f"{module}.{node.name}"] = Model(
                    node.name,
                    tuple(base.id for base in node.bases if isinstance(base, ast.Name)),
                    tuple(_own_options(node, constants)),
                    _called(node),
                )
    return found


def options_of(path: str) -> list[Option]:
    """Options of a model, its own before inherited ones; empty if the class is not a part."""
    named = {model.name: model for model in models().values()}
    options: dict[str, Option] = {}
    waiting, is_part = [models()[path]], False
    while waiting:
        model = waiting.pop(0)
        for option in model.own:
            options.setdefault(option.name, option)
        is_part = is_part or model.name == "Part"
        waiting += [named[base] for base in model.bases if base in named]
    return list(options.values()) if is_part else []


def _own_options(node: ast.ClassDef, constants: dict[str, str]) -> Iterator[Option]:
    for line in node.body:
        if not (isinstance(line, ast.AnnAssign) and line.value is not None):
            continue
        field = _field(line.value)
        shared = shared_options().get(ast.unparse(line.annotation))
        if field is None and shared is None:
            continue
        given = {} if field is None else {word.arg: word.value for word in field.keywords}
        default = line.value if field is None else next(iter(field.args), given.get("default"))
        text = "" if default is None else ast.unparse(default)
        type_, description = shared or (_type(line.annotation), "")
        if "description" in given:
            description = ast.literal_eval(given["description"])
        yield Option(ast.unparse(line.target), type_, constants.get(text, text), description)


@cache
def shared_options() -> dict[str, tuple[str, str]]:
    """Type and description of the options that several models have, by the name of their annotation."""
    found = {}
    for node in ast.parse((ROOT / "methods" / "shared_options.py").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
            fields = [field for item in node.value.slice.elts if (field := _field(item))]  # type: ignore[attr-defined]
            given = {word.arg: word.value for field in fields for word in field.keywords}
            description = ast.literal_eval(given["description"])
            found[ast.unparse(node.targets[0])] = _type(node.value), description
    return found


def _field(node: ast.expr) -> ast.Call | None:
    """A call of pydantic's ``Field``; None if the expression is something else."""
    return node if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Field" else None


def _called(node: ast.ClassDef) -> str:
    """Registered name of a class: ``kmeans`` for ``name: Literal["kmeans"]``; empty if not registered."""
    if not any(isinstance(by, ast.Attribute) and by.attr == "register" for by in node.decorator_list):
        return ""
    names = [
        line for line in node.body if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == "name"
    ]
    return str(ast.literal_eval(names[0].annotation.slice))  # type: ignore[attr-defined]


def _type(annotation: ast.expr) -> str:
    """Source of an annotation without the metadata of ``Annotated``."""
    if isinstance(annotation, ast.Subscript) and getattr(annotation.value, "id", "") == "Annotated":
        return ast.unparse(annotation.slice.elts[0])  # type: ignore[attr-defined]
    return ast.unparse(annotation)


def _constants(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            yield ast.unparse(node.targets[0]), ast.unparse(node.value)


def _entries(paths: list[str], *, level: int = 2) -> str:
    """Directives of mkdocstrings; each options model is followed by a table of its options."""
    return "\n\n".join(_entry(path, level) for path in paths)


def _entry(path: str, level: int) -> str:
    options = options_of(path) if path in models() else []
    heading = f"\n      heading_level: {level}"
    if not options:
        return f"::: {path}\n    options:{heading}"
    rows = [
        f"| `{o.name}` | {_cell(o.type)} | {_cell(o.default)} | {_plain(o.description)} |" for o in options
    ]
    table = "\n".join(("| option | type | default | meaning |", "|---|---|---|---|", *rows))
    called = f"Chosen by its name, `{models()[path].called}`.\n\n" if models()[path].called else ""
    return f"::: {path}{_OPTIONS_ONLY}{heading}\n\n{called}{table}"


def _cell(code: str) -> str:
    code = " or ".join(part.strip() for part in code.replace("Literal[", "").replace("]", "").split(" | "))
    return f"`{code}`" if code else ""


def _plain(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|").replace("*", "\\*")


def _mathml(formula: str, block: bool) -> str:
    from latex2mathml.converter import convert

    # the converter places the number directly after the formula
    numbered = _NUMBER.sub(r"\\qquad\\qquad(\1)", formula)
    drawn = convert(numbered, display="block" if block else "inline")
    return f'<div class="formula">{drawn}</div>' if block else drawn
