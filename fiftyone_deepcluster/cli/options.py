"""``--option name=value`` on the command line becomes the option's value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.registry import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

IMPORT = "import-dicom"
"""Its options can be listed as a method's can."""

_SHOWN = 4
"""Entries of a default, at most, that a table has room for."""


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """Options from ``name=value`` words.

    A value that is JSON is taken as such (``true``, ``0.1``, ``null``, ``{"name": "kmeans"}``), any
    other is text. The method's Options model checks it.

    Raises:
        OptionsError: a word without ``=``, or a name given twice.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise OptionsError(f"--option {pair!r} is not name=value; for instance --option rounds=20")
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
    """The methods and the first line of their documentation.

    Args:
        width: characters in a line at most.
    """
    from fiftyone_deepcluster.cli.tables import text_table
    from fiftyone_deepcluster.recipes.base import list_methods

    rows = [(name, (recipe.__doc__ or "").splitlines()[0]) for name, recipe in list_methods().items()]
    return text_table(("method", "what it does"), rows, width)


def options_table(method: str, width: int | None = None) -> str:
    """The options of one method, or of the import of DICOM files, with default and meaning.

    Args:
        method: its name, or "import-dicom".
        width: characters in a line at most.

    Raises:
        OptionsError: no such method.
    """
    from fiftyone_deepcluster.cli.tables import text_table
    from fiftyone_deepcluster.dataset.dicom import DicomOptions
    from fiftyone_deepcluster.recipes.base import RECIPES

    fields = (DicomOptions if method == IMPORT else RECIPES.get(method)).model_fields
    rows = [
        (name, _default(info.get_default(call_default_factory=True)), info.description or "")
        for name, info in fields.items()
        if name != "name"
    ]
    return text_table(("option", "default", "meaning"), rows, width)


def _default(value: Any) -> str:
    if isinstance(value, Part):
        return value.name
    if isinstance(value, dict) and "name" in value:
        return f"{value['name']} ..."
    if isinstance(value, tuple) and len(value) > _SHOWN:
        return f"{value[0]}, {value[1]} ... ({len(value)})"
    return "" if value is None else json.dumps(value, default=str)
