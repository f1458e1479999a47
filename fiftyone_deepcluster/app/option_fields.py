"""Describe the form input of an option, derived from its pydantic field.

Independent of FiftyOne: ``forms`` builds the inputs from the descriptions.
"""

from __future__ import annotations

import types as builtin_types
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from fiftyone_deepcluster.core.registry import Part, PartOf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Kind = Literal["bool", "int", "float", "str", "choice", "part", "list", "text"]

_SCALARS: dict[object, Kind] = {bool: "bool", int: "int", float: "float", str: "str", Path: "str"}
_ACRONYMS = {"pca", "umap", "gmm", "nmi", "ari", "id", "dac", "ucnn", "vlad", "sgd", "l2", "rim", "pic"}


@dataclass(frozen=True)
class OptionField:
    """Description of the form input of one option.

    Attributes:
        name: field name.
        kind: kind of input; ``list`` is entered comma-separated, ``text`` is any other value, entered as text.
        label: display name.
        help: the field's description.
        default: plain value; for a part, a dict with name and options.
        optional: whether the input may be left empty.
        choices: allowed values of a ``choice``.
        labels: display names of choices, by value; others are shown as they are.
        minimum: lower bound, inclusive, or None.
        maximum: upper bound, inclusive, or None.
        advanced: hidden until advanced options are shown.
        parts: registry of a ``part``.
        groups: headings of the options of a ``part``, by option, in the order of the form; other options are folded.
    """

    name: str
    kind: Kind
    label: str
    help: str = ""
    default: Any = None
    optional: bool = False
    choices: tuple[Any, ...] = ()
    labels: dict[str, str] = dataclass_field(default_factory=dict)
    minimum: float | None = None
    maximum: float | None = None
    advanced: bool = False
    parts: Any = None
    groups: Mapping[str, str] | None = None


def option_fields(model: type[BaseModel]) -> list[OptionField]:
    """Options of a part in the order of its fields, without ``name`` and hidden fields."""
    later = getattr(model, "default_of_chosen", ())
    fields = [
        _option_field(name, field)
        for name, field in model.model_fields.items()
        if name != "name" and not _extra(field).get("hidden")
    ]
    return [
        replace(
            field, default=None, optional=True, help=f"{field.help} Empty: default of the selected method."
        )
        if field.name in later
        else field
        for field in fields
    ]


def first_line(model: type) -> str:
    """First line of a part's docstring, used as its help text."""
    return (model.__doc__ or "").strip().split("\n", maxsplit=1)[0].strip()


def label_of(name: str) -> str:
    """``n_clusters`` -> ``Number of clusters``."""
    words = name.split("_")
    if words[0] == "n" and len(words) > 1:
        words = ["number", "of", *words[1:]]
    words = [word.upper() if word in _ACRONYMS else word for word in words]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _option_field(name: str, field: FieldInfo) -> OptionField:
    annotation, optional, registry = _unwrap(field.annotation, field.metadata)
    kind, choices = _kind(annotation, registry)
    return OptionField(
        name=name,
        kind=kind,
        label=field.title or label_of(name),
        help=field.description or "",
        default=_plain_default(field),
        optional=optional,
        choices=choices,
        labels=dict(_extra(field).get("labels", {})),
        minimum=_minimum(field.metadata, kind),
        maximum=_bound(field.metadata, "le"),
        advanced=bool(_extra(field).get("advanced")),
        parts=registry,
    )


def _unwrap(annotation: Any, metadata: list[Any]) -> tuple[Any, bool, Any]:
    """Unwrap ``Annotated`` and ``| None``; return the inner type, whether None is allowed, the registry."""
    registry = next((item.registry for item in metadata if isinstance(item, PartOf)), None)
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        annotation, optional, found = _unwrap(inner, extra)
        return annotation, optional, registry or found
    if get_origin(annotation) in {Union, builtin_types.UnionType}:
        members = [item for item in get_args(annotation) if item is not type(None)]
        if len(members) == 1:
            inner, _, found = _unwrap(members[0], [])
            return inner, True, registry or found
        return annotation, len(members) < len(get_args(annotation)), registry
    return annotation, False, registry


def _kind(annotation: Any, registry: Any) -> tuple[Kind, tuple[Any, ...]]:
    if registry is not None:
        return "part", ()
    if get_origin(annotation) is Literal:
        return "choice", get_args(annotation)
    if get_origin(annotation) in {list, tuple, set, frozenset}:
        return "list", ()
    return _SCALARS.get(annotation, "text"), ()


def _minimum(metadata: list[Any], kind: Kind) -> float | None:
    """Inclusive lower bound; for integers, ``gt=n`` becomes n + 1, for floats pydantic checks ``gt`` itself."""
    above = _bound(metadata, "gt")
    if kind == "int" and above is not None:
        return above + 1
    return _bound(metadata, "ge")


def _bound(metadata: list[Any], name: str) -> float | None:
    return next((getattr(item, name) for item in metadata if getattr(item, name, None) is not None), None)


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _plain_default(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return None
    if isinstance(default, Part):
        return default.model_dump(mode="json")
    return default
