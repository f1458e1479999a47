"""Forms created from options: inputs, parsed values, validation errors."""

from __future__ import annotations

from typing import Annotated, Literal

import fiftyone.operators.types as types
import pytest
from pydantic import Field, model_validator

from fiftyone_deepcluster.app import forms
from fiftyone_deepcluster.app.option_fields import OptionField, label_of, option_fields
from fiftyone_deepcluster.core.registry import Part, PartOf, Registry
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.methods.base import METHODS


class Engine(Part):
    """Base class of the parts in this test."""


ENGINES: Registry[Engine] = Registry("engines", Engine, "app")


@ENGINES.register
class Fast(Engine):
    """Goes quickly."""

    name: Literal["fast"] = "fast"
    speed: int = Field(3, ge=1, le=9, description="Higher is faster.")
    strength: float = Field(0.5, gt=0, json_schema_extra={"advanced": True})


@ENGINES.register
class Slow(Engine):
    """Takes its time."""

    name: Literal["slow"] = "slow"
    speed: int = Field(1, ge=1, le=2)


MACHINES: Registry[Engine] = Registry("machines", Engine, "app")


@MACHINES.register
class Machine(Engine):
    """Has one of everything."""

    name: Literal["machine"] = "machine"
    n_parts: int | None = Field(10, ge=2, description="How many.")
    mode: Literal["a", "b"] = "a"
    shape: Literal["round", "square"] | None = None
    sides: tuple[int, ...] = (2, 3)
    title: str = "none"
    on: bool = True
    sure: bool | None = None
    engine: Annotated[Engine, PartOf(ENGINES)] = Field(Fast(strength=0.9), description="Drives it.")
    spare: Annotated[Engine, PartOf(ENGINES)] | None = Field(None, json_schema_extra={"advanced": True})
    exact: float = Field(0.1, gt=0, json_schema_extra={"advanced": True})

    @model_validator(mode="after")
    def _fits(self) -> Machine:
        if self.mode == "b" and self.n_parts == 13:
            raise ValueError("13 parts do not fit mode b; take 12")
        return self


FIELD = OptionField(name="machine", kind="part", label="Machine", default="machine", parts=MACHINES)


def draw(given: object) -> types.Object:
    inputs = types.Object()
    forms.add_part(inputs, FIELD, given)
    return inputs


def names(inputs: types.Object, *path: str) -> list[str]:
    for step in path:
        inputs = inputs.get_property(step).type
    return list(inputs.properties)


def test_advanced_options_are_folded_until_asked_for():
    shown = names(draw(None), "machine", "machine")
    assert shown == [
        "n_parts",
        "mode",
        "shape",
        "sides",
        "title",
        "on",
        "sure",
        "engine",
        forms.SHOW_ADVANCED,
    ]
    opened = draw({"name": "machine", "machine": {forms.SHOW_ADVANCED: True}})
    assert names(opened, "machine", "machine")[-2:] == ["spare", "exact"]


def test_a_chosen_part_brings_its_own_fields():
    given = {"name": "machine", "machine": {"engine": {"name": "slow"}}}
    assert names(draw(given), "machine", "machine", "engine") == ["name", "slow"]
    assert names(draw(given), "machine", "machine", "engine", "slow") == ["speed"]


def test_labels_help_and_bounds_come_from_the_model():
    box = draw(None).get_property("machine").type.get_property("machine").type
    parts = box.get_property("n_parts")
    assert (parts.view.label, parts.view.description, parts.type.min) == ("Number of parts", "How many.", 2)
    assert box.get_property("sides").default == "2, 3"
    assert label_of("pca_size") == "PCA size"


def test_form_is_json():
    import json

    json.dumps(draw({"name": "machine", "machine": {forms.SHOW_ADVANCED: True}}).to_json())


@pytest.mark.parametrize(
    "given",
    [
        {"name": "machine", "n_parts": 4, "engine": {"name": "slow", "speed": 2}},
        {"name": "machine", "machine": {"n_parts": 4, "engine": {"name": "slow", "slow": {"speed": 2}}}},
        {
            "name": "machine",
            "machine": {
                "n_parts": 4.0,
                "engine": {"name": "slow", "fast": {"speed": 9}, "slow": {"speed": 2}},
            },
        },
    ],
    ids=["script", "form", "form with values of another part"],
)
def test_three_ways_to_write_the_same(given):
    assert forms.parse_part(MACHINES, given) == Machine(n_parts=4, engine=Slow(speed=2))


def test_nothing_given_means_the_models_defaults():
    assert forms.parse_part(MACHINES, None, "machine") == Machine()
    assert forms.parse_part(MACHINES, "machine") == Machine()


def test_a_default_part_keeps_options_that_the_form_folds_away():
    """The model's default is Fast(strength=0.9); the form shows speed only."""
    given = {"name": "machine", "machine": {"engine": {"name": "fast", "fast": {"speed": 5}}}}
    assert forms.parse_part(MACHINES, given) == Machine(engine=Fast(speed=5, strength=0.9))


def test_empty_inputs_mean_automatic_where_that_is_allowed():
    given = {"name": "machine", "machine": {"n_parts": "", "shape": "", "sides": "5", "spare": {"name": ""}}}
    assert forms.parse_part(MACHINES, given) == Machine(n_parts=None, shape=None, sides=(5,))


@pytest.mark.parametrize(("typed", "value"), [("", None), ("yes", True), ("no", False)])
def test_an_optional_switch_has_three_states(typed, value):
    box = draw(None).get_property("machine").type.get_property("machine").type
    assert [choice.label for choice in box.get_property("sure").view.choices] == ["automatic", "yes", "no"]
    assert forms.parse_part(MACHINES, {"name": "machine", "machine": {"sure": typed}}).sure is value


def test_what_a_form_sends_unchanged_is_not_given():
    """``auto`` leaves what was not given to the method that it chooses."""
    given = {"name": "auto", "auto": {"n_clusters": 10, "rounds": None, "seed": 51}}
    assert forms.parse_part(METHODS, given).model_fields_set == {"name"}
    assert forms.parse_part(METHODS, {"name": "auto", "auto": {"seed": 7}}).model_fields_set == {
        "name",
        "seed",
    }


def test_text_of_a_list():
    assert forms.parse_part(MACHINES, {"name": "machine", "sides": "7, 8,9"}).sides == (7, 8, 9)


def marked(given: object) -> types.Object:
    inputs = draw(given)
    forms.mark(inputs, forms.problems(MACHINES, FIELD, given))
    return inputs


def test_a_problem_is_shown_at_its_input():
    inputs = marked(
        {"name": "machine", "machine": {"n_parts": 1, "engine": {"name": "slow", "slow": {"speed": 7}}}}
    )
    box = inputs.get_property("machine").type.get_property("machine").type
    assert box.get_property("n_parts").invalid
    assert box.get_property("n_parts").error_message == "needs 2 or more"
    speed = box.get_property("engine").type.get_property("slow").type.get_property("speed")
    assert speed.error_message == "needs 2 or less"
    assert not box.get_property("title").invalid


def test_a_problem_in_a_folded_input_is_shown_at_the_switch():
    inputs = marked({"name": "machine", "machine": {"exact": -1}})
    switch = (
        inputs.get_property("machine").type.get_property("machine").type.get_property(forms.SHOW_ADVANCED)
    )
    assert switch.invalid
    assert switch.error_message.startswith("Exact: ")


def test_a_problem_of_options_together_is_shown_at_the_dropdown():
    inputs = marked({"name": "machine", "machine": {"mode": "b", "n_parts": 13}})
    prop = inputs.get_property("machine").type.get_property("name")
    assert prop.error_message == "13 parts do not fit mode b; take 12"


def test_unknown_part():
    inputs = marked({"name": "nonesuch"})
    assert "nonesuch" in inputs.get_property("machine").type.get_property("name").error_message
    with pytest.raises(OptionsError, match="nonesuch"):
        forms.parse_part(MACHINES, "nonesuch")


def test_unknown_option():
    with pytest.raises(OptionsError, match="color"):
        forms.parse_part(MACHINES, {"name": "machine", "color": "red"})


# ---------------------------------------------------------------- all methods


METHOD = OptionField(name="method", kind="part", label="Method", default="deepcluster", parts=METHODS)


def browser_values(inputs: types.Object) -> dict[str, object]:
    """Values that the browser sends for an unchanged form: the default of every input."""
    values: dict[str, object] = {}
    for name, prop in inputs.properties.items():
        if isinstance(prop.type, types.Object):
            values[name] = browser_values(prop.type)
        elif prop.default is not None:
            values[name] = prop.default
    return values


@pytest.mark.parametrize("advanced", [False, True], ids=["folded", "advanced"])
@pytest.mark.parametrize("method", METHODS.names())
def test_an_untouched_form_gives_the_methods_defaults(method, advanced):
    given = {"name": method, method: {forms.SHOW_ADVANCED: advanced}}
    inputs = types.Object()
    forms.add_part(inputs, METHOD, given)
    values = browser_values(inputs)["method"]
    values["name"] = method
    assert forms.problems(METHODS, METHOD, values) == {}
    assert forms.parse_part(METHODS, values) == METHODS.get(method)()


@pytest.mark.parametrize("method", METHODS.names())
def test_every_option_of_a_method_is_explained(method):
    for field in option_fields(METHODS.get(method)):
        assert field.help, f"{method}.{field.name} has no description"
        assert field.kind != "text", f"{method}.{field.name} has a type that the form cannot offer well"


METHOD = OptionField(name="method", kind="part", label="Method", default="deepcluster", parts=METHODS)


def method_form(given):
    inputs = types.Object()
    forms.add_part(inputs, METHOD, given)
    return inputs.get_property("method").type


def defaults(box):
    """What a form sends of inputs that nobody touches."""
    found = {}
    for name, one in box.properties.items():
        found[name] = defaults(one.type) if isinstance(one.type, types.Object) else one.default
    return found


def test_a_preset_has_a_dropdown_and_a_group_of_inputs_with_its_values():
    box = method_form({"name": "deepcluster", "preset": "paper", "deepcluster": {"rounds": 7}})
    assert list(box.properties) == ["name", "preset", "deepcluster-paper"]
    assert [one.label for one in box.get_property("preset").view.choices] == ["ours", "as in the paper"]
    group = box.get_property("deepcluster-paper").type
    assert group.get_property("rounds").default == 200
    assert group.get_property("n_clusters").default == 10_000
    assert list(method_form("deepcluster").properties) == ["name", "preset", "deepcluster"]
    assert list(method_form("frozen").properties) == ["name", "frozen"]


@pytest.mark.parametrize("advanced", [False, True])
def test_an_untouched_form_of_the_preset_is_the_paper(advanced):
    options = METHODS.get("deepcluster")
    given = {"name": "deepcluster", "preset": "paper", "deepcluster-paper": {forms.SHOW_ADVANCED: advanced}}
    sent = {**defaults(method_form(given)), "preset": "paper"}
    sent["deepcluster"] = {"rounds": 3}  # left from before the preset was chosen
    found = forms.parse_part(METHODS, sent, "deepcluster")
    assert found == options(preset="paper")
    assert found.deviations() == []
    assert forms.problems(METHODS, METHOD, sent) == {}


def test_values_beside_the_preset_win():
    form = {"name": "deepcluster", "preset": "paper", "deepcluster-paper": {"rounds": 3}}
    script = {"name": "deepcluster", "preset": "paper", "rounds": 3}
    for given in (form, script):
        found = forms.parse_part(METHODS, given, "deepcluster")
        assert found.deviations() == ["rounds=3 (paper: 200)"]
    bad = {**form, "deepcluster-paper": {"rounds": -1}}
    assert list(forms.problems(METHODS, METHOD, bad)) == [("method", "deepcluster-paper", "rounds")]


def test_an_unknown_preset_is_refused():
    with pytest.raises(OptionsError, match="preset"):
        forms.parse_part(METHODS, {"name": "deepcluster", "preset": "best"}, "deepcluster")
    assert forms.problems(METHODS, METHOD, {"name": "deepcluster", "preset": "best"})
