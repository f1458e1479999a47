"""Messages in the words of the App.

The messages of this package name arguments (``n_clusters=5000``), calls (``resume(samples, 'dc')``) and keys, for
people who write Python. A user of the App has forms and buttons. Errors keep one text; it is translated here, on its
way to the App, by the grammar that all messages share. What is in quotes is left as it is: names of the user's fields
and runs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.option_fields import label_of, option_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from fiftyone_deepcluster.core.registry import Registry

_LABELS = {
    "confirm": "Delete permanently",
    "embeddings_field": "Embeddings",
    "field": "Field",
    "files": "Folder or file",
    "group_field": "Groups",
    "half_precision": "Half precision",
    "into": "Name",
    "key": "Run name",
    "label_field": "Labels",
    "max_images": "Maximum number of images",
    "media_field": "Image files",
    "new_dataset": "Name of a new dataset",
    "new_key": "New name",
    "new_name": "New name",
    "numbers": "Numbers of clusters",
    "overwrite": "Replace",
    "patches_field": "Objects to cluster",
    "reviewed_weight": "Weight of reviewed images",
    "run": "Features of a run",
    "samples": "Images",
    "to": "To cluster",
    "truth_field": "Known classes",
}
"""Labels of the inputs of forms and dialogs, by argument; those of options come from the options themselves."""

ACTIONS = {
    "delete_audit": '"delete_audit" in Python',
    "delete_run": '"Delete" in the tab Runs',
    "mark_reviewed": '"Reviewed" of a cluster',
    "refit": '"review_labels" in Python',
    "rename_run": '"Rename" in the tab Runs',
    "resume": '"Resume" in the tab Runs',
    "undo": '"Undo"',
}
"""What the App has for a call, by the function or method."""

_QUOTED = r"(?<!\w)'(?:[^'\\]|\\.)*'(?!\w)" + r'|"(?:[^"\\]|\\.)*"'
_CALL = r"(?P<use>call )?\b(?P<called>\w+)\(samples\b[^()]*\)(?:\.(?P<method>\w+)\([^()]*\))?"
_SWITCH = r"\b(?P<switch>\w+)=True\b"
_VALUE = r"\b(?P<argument>[a-z]\w*)=(?P<none>None\b)?(?=\S|$)"
_NAME = r"\b(?P<named>[a-z]+(?:_[a-z0-9]+)+)\b"
_KEY = r"\b(?P<which>another|a new) key\b"
_WORDS = re.compile(f"{_QUOTED}|{_CALL}|{_SWITCH}|{_VALUE}|{_NAME}|{_KEY}")


def in_app_words(message: object) -> str:
    """The text of a message or exception, with the labels of forms and buttons for arguments and calls."""
    labels = labels_of_inputs()
    return _WORDS.sub(lambda found: _word(found, labels), str(message))


def labels_of_inputs() -> dict[str, str]:
    """Label of the input of every argument and option, and of every operator, by its name in Python."""
    from fiftyone_deepcluster.methods.base import METHODS

    found = {uri.split("/")[-1]: label_of(uri.split("/")[-1]) for uri in _operators()}
    _add_options(found, METHODS, set())
    return {**found, **_LABELS}


def _operators() -> list[str]:
    return [
        uri for uri in vars(names).values() if isinstance(uri, str) and uri.startswith(f"{names.PLUGIN}/")
    ]


def _add_options(found: dict[str, str], parts: Registry[Any], seen: set[str]) -> None:
    """Add the labels of the options of all parts of a registry, and of the parts that these have."""
    if parts.family in seen:
        return
    seen.add(parts.family)
    for name in parts.names():
        for field in option_fields(parts.get(name)):
            found.setdefault(field.name, field.label)
            if field.parts is not None:
                _add_options(found, field.parts, seen)


def _word(found: re.Match[str], labels: dict[str, str]) -> str:
    """The words of the App for what was found; the text itself if the App has none."""
    ways: dict[str, Callable[[str], str | None]] = {
        "switch": lambda name: f'"{labels[name]}" switched on' if name in labels else None,
        "argument": lambda name: _value_of(found, labels[name]) if name in labels else None,
        "named": lambda name: f'"{labels[name]}"' if name in labels else None,
        "which": lambda which: f"{which} name",
    }
    called = found["method"] or found["called"]
    if called:
        action = ACTIONS.get(called)
        return found[0] if action is None else f"{'use ' if found['use'] else ''}{action}"
    for group, way in ways.items():
        if found[group]:
            return way(found[group]) or found[0]
    return found[0]


def _value_of(found: re.Match[str], label: str) -> str:
    return f"{label} (empty)" if found["none"] else f"{label} "
