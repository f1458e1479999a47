"""Convert the options of a part (registered component) to a FiftyOne form, and form values to a part.

The form of a part is a dropdown of all registered parts, followed by the options of the selected one. Values are
nested under the part's name, so that values entered for one method never leak into another::

    {"method": {"name": "deepcluster", "deepcluster": {"rounds": 5}}}

Scripts may use the shorter forms ``{"method": "deepcluster"}`` and
``{"method": {"name": "deepcluster", "rounds": 5}}``. :func:`part_values` accepts all three.
A form's defaults exist only in the browser, so they are applied again here.

A method with a preset has a second dropdown for it. The options of a preset are in a group of their own, with its
values as defaults, so that values entered without it do not leak into it either::

    {"method": {"name": "deepcluster", "preset": "paper", "deepcluster-paper": {"rounds": 5}}}
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fiftyone.operators import types
from pydantic import ValidationError

from fiftyone_deepcluster.app.option_fields import OptionField, first_line, label_of, option_fields
from fiftyone_deepcluster.app.wording import in_app_words
from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.option_errors import complaints
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fiftyone_deepcluster.core.registry import P, Part, Registry

SHOW_ADVANCED = "show_advanced"
_YES_NO = ("yes", "no")
PRESET = "preset"
WHOLE_ROW = {"item": {"sx": {"gridColumn": "1 / -1"}}}


# ---------------------------------------------------------------- building forms


def add_part(inputs: types.Object, field: OptionField, given: object) -> None:
    """Add a dropdown of parts and the options of the selected part.

    Args:
        inputs: form to add the inputs to.
        field: option of kind ``part``.
        given: current form value of this option.
    """
    name, given_values = _split(field.parts, given, field.default)
    preset = _preset(given_values)
    box = inputs.v_stack(field.name, gap=2, columns=1, componentsProps=WHOLE_ROW)
    dropdown = types.DropdownView()
    if field.optional:
        dropdown.add_choice("", label="none")
    for known in sorted(field.parts.names(), key=lambda known: known != "auto"):
        part = field.parts.get(known)
        dropdown.add_choice(known, label=known, description=first_line(part))
    box.enum(
        "name",
        dropdown.values(),
        default=_default_name(field.default),
        label=field.label,
        description=_chosen_help(field, name),
        view=dropdown,
    )
    if name in field.parts.names():
        for one in option_fields(field.parts.get(name)):
            if one.name == PRESET:
                _add_field(box, one, preset)
        fields = _fields_of(field, name, preset)
        if fields:
            _add_fields(
                box.v_stack(_group(name, preset), gap=2, columns=2), fields, given_values, field.groups or {}
            )


def _fields_of(field: OptionField, name: str, preset: str) -> list[OptionField]:
    """The options of the part ``name`` except its preset, with the preset's values as defaults."""
    model = field.parts.get(name)
    fields = _with_defaults(option_fields(model), name, field.default)
    if preset:
        values = model(**{PRESET: preset}).model_dump(mode="json")
        fields = [replace(one, default=values.get(one.name)) for one in fields]
    return [one for one in fields if one.name != PRESET]


def _group(name: str, preset: str) -> str:
    """Name of the group of inputs."""
    return f"{name}-{preset}" if preset else name


def _preset(values: dict[str, Any]) -> str:
    """The preset among the values of a part; empty: none, or an unknown one, which validation refuses."""
    return "paper" if values.get(PRESET) == "paper" else ""


def _with_defaults(fields: list[OptionField], name: str, default: object) -> list[OptionField]:
    """Replace option defaults by those of ``default``, a dict with the part's name and some of its options."""
    if not isinstance(default, dict) or _default_name(default) != name:
        return fields
    return [replace(field, default=default.get(field.name, field.default)) for field in fields]


def _add_fields(
    inputs: types.Object, fields: list[OptionField], given: dict[str, Any], groups: Mapping[str, str]
) -> None:
    """Add options: those of ``groups`` under their headings, if there are groups; the rest is folded."""
    order = list(groups)
    plain = [field for field in fields if (field.name in groups if groups else not field.advanced)]
    folded = [field for field in fields if field not in plain]
    if groups:
        plain.sort(key=lambda field: order.index(field.name))
    heading = ""
    for field in plain:
        if groups and groups[field.name] != heading:
            heading = groups[field.name]
            add_heading(inputs, heading)
        _add_field(inputs, field, given.get(field.name))
    if not folded:
        return
    switch = types.SwitchView(componentsProps=WHOLE_ROW)
    inputs.bool(SHOW_ADVANCED, default=False, label="Show advanced options", view=switch)
    if given.get(SHOW_ADVANCED):
        for field in folded:
            _add_field(inputs, field, given.get(field.name))


def add_heading(inputs: types.Object, label: str) -> None:
    """Add a heading over the inputs that follow."""
    name = f"heading_{label.lower().replace(' ', '_')}"
    inputs.view(name, types.Header(label=label, divider=True, componentsProps=WHOLE_ROW))


def _add_field(inputs: types.Object, field: OptionField, given: object) -> None:
    about = {"label": field.label, "description": field.help, "default": _shown(field)}
    if field.kind == "part":
        add_part(inputs, field, given)
    elif field.kind == "bool" and field.optional:
        _add_choice(inputs, replace(field, choices=_YES_NO), about)
    elif field.kind == "bool":
        inputs.bool(field.name, view=types.SwitchView(), **about)
    elif field.kind == "int":
        inputs.int(field.name, min=field.minimum, max=field.maximum, **about)
    elif field.kind == "float":
        inputs.float(field.name, min=field.minimum, max=field.maximum, **about)
    elif field.kind == "choice":
        _add_choice(inputs, field, about)
    else:
        inputs.str(field.name, allow_empty=True, **about)


def _add_choice(inputs: types.Object, field: OptionField, about: dict[str, Any]) -> None:
    dropdown = types.DropdownView()
    if field.optional:
        dropdown.add_choice("", label="automatic")
    for value in field.choices:
        dropdown.add_choice(value, label=field.labels.get(str(value), str(value)))
    inputs.enum(field.name, dropdown.values(), view=dropdown, **about)


def _shown(field: OptionField) -> object:
    """The default in the type that the input expects."""
    if field.kind == "bool" and field.optional and field.default is not None:
        return _YES_NO[0 if field.default else 1]
    if field.kind == "list" and field.default is not None:
        return ", ".join(str(item) for item in field.default)
    if field.kind in {"str", "text"} and field.default is not None:
        return str(field.default)
    return field.default


def _chosen_help(field: OptionField, name: str) -> str:
    if name not in field.parts.names():
        return field.help
    about = first_line(field.parts.get(name))
    return f"{field.help} — {about}" if field.help else about


# ---------------------------------------------------------------- parsing values


def part_values(parts: Registry[Any], given: object, default: object = None) -> dict[str, Any]:
    """Normalize any of the three notations of a part to the dict that ``parts.parse`` accepts.

    Args:
        parts: registry of the parts.
        given: a name, a dict with name and options, form values, or None.
        default: name, or dict with name and options; used for missing values.
    """
    name, values = _split(parts, given, default)
    if name not in parts.names():
        return {"name": name, **values}
    clean: dict[str, Any] = {"name": name}
    if isinstance(default, dict) and _default_name(default) == name:
        clean = {**default, **clean}
    chosen = OptionField(name="", kind="part", label="", default=default, parts=parts)
    known = {field.name: field for field in _fields_of(chosen, name, _preset(values))}
    for key, value in values.items():
        if key in known:
            given_value = _value(known[key], value)
            if given_value != known[key].default:  # a form sends every default, which nobody has chosen
                clean[key] = given_value
        elif key != SHOW_ADVANCED:
            clean[key] = value
    return clean


def parse_part(parts: Registry[P], given: object, default: object = None) -> P:
    """Create a part from the values of a form or script.

    Raises:
        OptionsError: unknown name or option, or a value out of range.
    """
    return parts.parse(part_values(parts, given, default))


def _split(parts: Registry[Any], given: object, default: object) -> tuple[str, dict[str, Any]]:
    """Name and values of the selected part, without the values that the form keeps for other parts."""
    if given is None or given == "":
        return _default_name(default), {}
    if isinstance(given, str):
        return given, {}
    if not isinstance(given, dict):
        known = ", ".join(parts.names())
        raise OptionsError(f"{short(given)} is not one of the {parts.family}; give one of {known}, or a dict")
    name = given.get("name", _default_name(default)) or ""
    if not isinstance(name, str):
        raise OptionsError(
            f"name={short(name)} is not the name of a part; give one of {', '.join(parts.names())}"
        )
    if name in parts.names() and PRESET in parts.get(name).model_fields and given.get(PRESET) is not None:
        preset = given[PRESET]
        inner = given.get(_group(name, _preset({PRESET: preset})))
        if isinstance(inner, dict):
            return name, {**inner, PRESET: preset}
        given = {key: value for key, value in given.items() if not _is_group(parts, key)}
    inner = given.get(name)
    if isinstance(inner, dict):
        return name, dict(inner)
    if inner is not None:
        raise OptionsError(f"{name}={short(inner)} is not a dict of the options of {name!r}; give one")
    own = parts.get(name).model_fields if name in parts.names() else {}
    kept = {
        key: value
        for key, value in given.items()
        if key != "name" and (key in own or key not in parts.names())
    }
    return name, kept


def _is_group(parts: Registry[Any], key: str) -> bool:
    """Whether ``key`` names the group of inputs of a part, with or without a preset."""
    return key in parts.names() or key.removesuffix("-paper") in parts.names()


def _form_values(parts: Registry[Any], given: object, name: str) -> dict[str, Any]:
    """Form values of the options of the part ``name``."""
    return _split(parts, given, name)[1]


def _default_name(default: object) -> str:
    if isinstance(default, dict):
        return str(default.get("name", ""))
    return default if isinstance(default, str) else ""


def _value(field: OptionField, value: object) -> object:
    if field.kind == "part":
        if field.optional and _split(field.parts, value, field.default)[0] == "":
            return None
        return part_values(field.parts, value, field.default)
    if value == "" and (field.optional or field.kind in {"int", "float", "choice"}):
        return None
    if field.kind in {"list", "text"} and isinstance(value, str):
        return _from_text(value, as_list=field.kind == "list")
    return value


def _from_text(text: str, as_list: bool) -> object:
    """``64, 128`` -> [64, 128]; ``0.5`` -> 0.5; text that is not valid JSON is kept as a string."""
    body = text.strip()
    candidate = f"[{body}]" if as_list and not body.startswith("[") else body
    try:
        return json.loads(candidate)
    except json.JSONDecodeError:
        pass
    return [item.strip() for item in body.split(",") if item.strip()] if as_list else body


def as_form_values(inputs: types.Object, given: object, at: str) -> dict[str, Any]:
    """The values as a form sends them: a part is a dict, also where a script gave its name only.

    FiftyOne compares parameters with the form before it executes an operator, and needs a dict for every group.

    Args:
        inputs: inputs of the part.
        given: name of the part, or dict.
        at: path of the part, for messages.

    Raises:
        OptionsError: neither a name nor a dict.
    """
    if isinstance(given, str):
        return {"name": given}
    if not isinstance(given, dict):
        raise OptionsError(f"{at}={short(given)} is neither a name nor a dict of options; give one of them")
    groups = {
        name: inner.type
        for name, inner in inputs.properties.items()
        if isinstance(inner.type, types.Object) and given.get(name) is not None
    }
    return {**given, **{name: as_form_values(box, given[name], name) for name, box in groups.items()}}


# ---------------------------------------------------------------- validation


def problems(parts: Registry[Any], field: OptionField, given: object) -> dict[tuple[str, ...], str]:
    """Validation errors by the path of the input in the form."""
    values = part_values(parts, given, field.default)
    name = values["name"]
    group = _group(name, _preset(values))
    if not name and field.optional:
        return {}
    try:
        model = parts.get(name)
    except OptionsError as error:
        return {(field.name, "name"): str(error)}
    found: dict[tuple[str, ...], str] = {}
    own = _form_values(parts, given, name)
    for child in option_fields(model):
        if child.kind == "part" and own.get(child.name) is not None:
            inner = problems(child.parts, child, own[child.name])
            found.update({(field.name, group, *path): text for path, text in inner.items()})
    for path, text in _complaints(model, values).items():
        where = (field.name, group, *path) if path else (field.name, "name")
        if not any(known[: len(where)] == where for known in found):
            found[where] = text
    return found


def path_of_option(parts: Registry[Any], field: OptionField, given: object, option: str) -> tuple[str, ...]:
    """Path of the input of an option of the selected part, as in ``problems``."""
    values = part_values(parts, given, field.default)
    return field.name, _group(values["name"], _preset(values)), option


def mark(inputs: types.Object, found: dict[tuple[str, ...], str]) -> None:
    """Show each error at its input or, if that input is hidden, at the switch or dropdown that reveals it."""
    for path, text in found.items():
        place, folded = _find(inputs, path)
        if place is not None:
            place.invalid = True
            words = in_app_words(text)
            place.error_message = f"{label_of(path[-1])}: {words}" if folded else words


def _complaints(model: type[Part], values: dict[str, Any]) -> dict[tuple[str, ...], str]:
    try:
        model.model_validate(values)
    except ValidationError as error:
        found = complaints(error, str(values.get("name", "")), model).items()
        return {(place.split(".")[0],) if place else (): text for place, text in found}
    return {}


def _find(inputs: types.Object, path: tuple[str, ...]) -> tuple[types.Property | None, bool]:
    here, place = inputs, None
    for step in path:
        place = here.get_property(step)
        if place is None:
            return here.get_property(SHOW_ADVANCED) or here.get_property("name"), True
        here = place.type
    if isinstance(here, types.Object):
        return here.get_property("name"), False
    return place, False
