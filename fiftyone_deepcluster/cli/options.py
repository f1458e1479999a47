"""Parse ``--option name=value``, and tables of methods and options."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.cli.tables import text_table
from fiftyone_deepcluster.core.option_errors import suggest
from fiftyone_deepcluster.core.registry import Part
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from fiftyone_deepcluster.core.registry import Registry

IMPORT = "import-dicom"
"""Name under which the options of the DICOM import can be listed."""

_SHOWN = 4
"""Maximum length of a tuple default that is printed in full."""


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse options from ``name=value`` pairs.

    Values are parsed as JSON (``true``, ``0.1``, ``null``, ``{"name": "kmeans"}``) if possible, and are strings
    otherwise. They are validated later by the method's Options model.

    Raises:
        OptionsError: a pair without ``=``, or a name given twice.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise OptionsError(f"--option {pair!r} is not name=value; use, for instance, --option rounds=20")
        if name in values:
            raise OptionsError(f"--option {name} is given twice; give it once")
        values[name] = _value(text)
    return values


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def methods_table(width: int | None = None) -> str:
    """Table of the methods with the first line of their docstrings.

    Args:
        width: maximum line length in characters.
    """
    from fiftyone_deepcluster.methods.base import list_methods

    return _overview("method", list_methods(), width)


def options_table(name: str, part: str | None = None, width: int | None = None) -> str:
    """Table of options with default and meaning, or of the choices of an option that takes a part.

    Args:
        name: a method or "import-dicom": list its options; an option that takes a part (component), such as
            "encoder": list the available parts.
        part: one of these parts: list its options.
        width: maximum line length in characters.

    Raises:
        OptionsError: unknown name or part.
    """
    from fiftyone_deepcluster.dataset.dicom.import_files import DicomOptions
    from fiftyone_deepcluster.methods.base import METHODS

    families = _families()
    if name in families:
        family = families[name]
        if part is None:
            return _overview(name, {known: family.get(known) for known in family.names()}, width)
        return _fields(family.get(part), width)
    if part is not None:
        raise OptionsError(
            f"{name!r} has no parts such as {part!r}; parts can be listed for {', '.join(families)}"
        )
    methods = METHODS.names()
    if name != IMPORT and name not in methods:
        known = [*methods, *families, IMPORT]
        raise OptionsError(f"there is no {name!r} among methods, options that take a part, and {IMPORT}; "
                           f"{suggest(name, known)}")  # fmt: skip
    return _fields(DicomOptions if name == IMPORT else METHODS.get(name), width)


def _families() -> dict[str, Registry[Any]]:
    """Registries of parts by the name of the option."""
    from fiftyone_deepcluster.backbones.base import BACKBONES
    from fiftyone_deepcluster.clusterers.base import CLUSTERERS
    from fiftyone_deepcluster.features.base import ENCODERS
    from fiftyone_deepcluster.reducers.base import REDUCERS

    return {"backbone": BACKBONES, "encoder": ENCODERS, "clusterer": CLUSTERERS, "reducer": REDUCERS}


def _overview(what: str, parts: dict[str, type[Any]], width: int | None) -> str:
    rows = [(name, (part.__doc__ or "").splitlines()[0]) for name, part in parts.items()]
    return text_table((what, "what it does"), rows, width)


def _fields(model: type[BaseModel], width: int | None) -> str:
    """Table of options; of a method with a paper also the values of ``preset=paper``, where they differ."""
    preset = model(preset="paper") if "preset" in model.model_fields else None
    rows = []
    for name, info in model.model_fields.items():
        if name == "name":
            continue
        default = _default(info.get_default(call_default_factory=True))
        papers = () if preset is None else (_if_other(_papers(getattr(preset, name)), default),)
        rows.append((name, default, *papers, info.description or ""))
    columns = ("option", "default", *(() if preset is None else ("paper",)), "meaning")
    return text_table(columns, rows, width)


def _papers(value: Any) -> str:
    """Text of a value of ``preset=paper``; a part is its name, with dots if its options are not the defaults."""
    if isinstance(value, Part) and len(value.model_dump(exclude_defaults=True)):
        return f"{value.name} ..."
    return _default(value)


def _if_other(text: str, default: str) -> str:
    return "" if text == default else text or "none"


def _default(value: Any) -> str:
    if isinstance(value, Part):
        return value.name
    if isinstance(value, dict) and "name" in value:
        return f"{value['name']} ..."
    if isinstance(value, tuple) and len(value) > _SHOWN:
        return f"{value[0]}, {value[1]} ... ({len(value)})"
    return "" if value is None else json.dumps(value, default=str)
