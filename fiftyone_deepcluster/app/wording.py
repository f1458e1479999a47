"""Messages in the words of the App.

The messages of this package name arguments (``n_clusters=5000``), calls (``resume(samples, 'dc')``) and keys, for
people who write Python. A user of the App has forms and buttons. Errors keep one text; it is translated here, on its
way to the App, by the grammar that all messages share. What is in quotes is left as it is: names of the user's fields
and runs.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.option_fields import label_of, option_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from fiftyone_deepcluster.app.option_fields import OptionField
    from fiftyone_deepcluster.core.registry import Part, Registry

_LABELS = {
    "confirm": "Delete permanently",
    "embeddings_field": "Embeddings",
    "field": "Field",
    "files": "Folder or file",
    "folds": "Folds",
    "group_field": "Groups",
    "half_precision": "Half precision",
    "into": "Name",
    "key": "Name",
    "label_field": "Labels",
    "largest": "Largest number of clusters",
    "max_images": "Maximum number of images",
    "media_field": "Image files",
    "n_words": "Words per cluster",
    "new_dataset": "Name of a new dataset",
    "new_key": "New name",
    "new_name": "New name",
    "numbers": "Numbers of clusters",
    "overwrite": "Replace",
    "patches_field": "Objects to cluster",
    "repetitions": "Repetitions",
    "reviewed_weight": "Weight of reviewed images",
    "run": "Features of a run",
    "samples": "Images",
    "smallest": "Smallest number of clusters",
    "to": "To cluster",
    "truth_field": "Known classes",
    "units": "Units",
}
"""Labels of the inputs of forms and dialogs, by argument; those of options come from the options themselves."""

ACTIONS = {
    "delete_audit": '"delete_audit" in Python',
    "delete_run": '"Delete" in the tab Runs',
    "merge": '"Join"',
    "mark_reviewed": '"Reviewed" of a cluster',
    "refit": "the tab Audit, while the audit is open there,",
    "rename_run": '"Rename" in the tab Runs',
    "resume": '"Resume" in the tab Runs',
    "undo": '"Undo"',
}
"""What the App has for a call, by the function or method."""

_QUOTED = r"(?<!\w)'(?:[^'\\]|\\.)*'(?!\w)" + r'|"(?:[^"\\]|\\.)*"'
_INSIDE = rf"(?:{_QUOTED}|(?!{_QUOTED})[^()])*"
_BRACKETS = rf"\({_INSIDE}(?:\({_INSIDE}\){_INSIDE})*\)"
# paths, addresses and names with a dash or dot are left as they are
_BEFORE = r"(?<![\w/\\.\-?&=@])"
_AFTER = r"(?![\w/\\\-?&@(]|\.\w)"
_CALL = rf"(?P<use>call )?(?<!\w)(?P<called>\w+){_BRACKETS}(?:\.(?P<method>\w+){_BRACKETS})?"
_SWITCH = rf"(?P<how>\b(?:set|with|(?<!\) )or) )?{_BEFORE}(?P<switch>\w+)=(?P<on>True|False){_AFTER}"
_VALUE = rf"(?P<set>\bset )?{_BEFORE}(?P<argument>[a-z]\w*)=(?P<none>None\b)?(?=\S|$)"
_NAME = rf"{_BEFORE}(?P<named>[a-z]+(?:_[a-z0-9]+)+){_AFTER}"
_KEY = r"\b(?P<which>another|a new|the(?= key (?:'|of (?:a|the) (?:clustering )?run\b))) key\b"
_WORDS = re.compile(f"{_QUOTED}|{_CALL}|{_SWITCH}|{_VALUE}|{_NAME}|{_KEY}")


def in_app_words(message: object) -> str:
    """The text of a message or exception, with the labels of forms and buttons for arguments and calls."""
    text = str(message)
    if not text:
        return text
    labels = labels_of_inputs()
    return _WORDS.sub(lambda found: _word(found, labels), text)


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
        part: type[Part] = parts.get(name)
        for field in _options_of(part):
            found.setdefault(field.name, field.label)
            if field.parts is not None:
                _add_options(found, field.parts, seen)


@cache
def _options_of(part: type[Part]) -> list[OptionField]:
    """Options of a part; kept, as every message needs those of all. A part that is defined again is another one."""
    return option_fields(part)


def _word(found: re.Match[str], labels: dict[str, str]) -> str:
    """The words of the App for what was found; the text itself if the App has none."""
    ways: dict[str, Callable[[str], str | None]] = {
        "switch": lambda name: _switched(found, labels[name]) if name in labels else None,
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


def _switched(found: re.Match[str], label: str) -> str:
    """A switch that is to be switched, ``set x=True``, or that is on, ``with x=True`` and all else."""
    to = "on" if found["on"] == "True" else "off"
    how = (found["how"] or "").strip()
    if how in ("set", "or"):
        return f'{"or " if how == "or" else ""}switch "{label}" {to}'
    return f'{found["how"] or ""}"{label}" switched {to}'


def _value_of(found: re.Match[str], label: str) -> str:
    if found["set"]:
        return f'leave "{label}" empty' if found["none"] else f'set "{label}" to '
    return f"{label} (empty)" if found["none"] else f"{label} "
