"""Errors of invalid options, however they are created; copies and JSON of valid ones."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest
from pydantic import Field, ValidationError

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.clusterers.base import CLUSTERERS
from fiftyone_deepcluster.core.registry import Part
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.methods.base import METHODS, parse_options


class Sample(Part):
    """A part with every kind of bound."""

    name: str = "sample"
    share: float = Field(0.5, gt=0, lt=1)
    size: int | None = Field(None, le=65_536)
    widths: tuple[int, ...] = Field((1,), max_length=2)
    either: int | bool | None = None
    title: str = Field("a", max_length=3)
    code: str = Field("a", pattern="^a$", description="a and nothing else.")
    need: int = Field(description="How many there are.")


PLAIN = [
    ({"n_clusters": "ten"}, "n_clusters='ten': needs a whole number"),
    ({"n_clusters": 1}, "n_clusters=1: needs 2 or more"),
    ({"n_clusters": True}, "n_clusters=True: needs a whole number"),
    ({"rounds": True, "seed": False}, "rounds=True: needs a whole number; seed=False: needs a whole number"),
    ({"max_minutes": np.True_}, "max_minutes=np.True_: needs a number"),
    ({"n_clusters": 2.5}, "n_clusters=2.5: needs a whole number"),
    ({"n_clusters": 10**400}, f"n_clusters=1{59 * '0'}... (an int): needs a number of at most 18 digits"),
    ({"n_clusters": 1e300}, "n_clusters=1e+300: needs a number of at most 18 digits"),
    (
        {"device": "tpu"},
        "device='tpu': give auto, cpu, cuda or cuda:1; with several processes auto or cuda, one GPU for each",
    ),
    ({"max_minutes": 0}, "max_minutes=0: needs more than 0"),
    ({"color": "red"}, "color='red': needs 'auto', 'gray' or 'rgb'"),
    ({"baselines": "perhaps"}, "baselines='perhaps': needs True or False"),
    ({"image_size": 5000}, "image_size=5000: needs 1,024 or less"),
    ({"rouds": 3}, "frozen has no option 'rouds'; did you mean 'rounds'?"),
    ({"n_clusters": 1, "seed": -1}, "n_clusters=1: needs 2 or more; seed=-1: needs 0 or more"),
    ({"clusterer": {"name": "kmeans", "max_iter": 0}}, "max_iter=0: needs 1 or more"),
    ({"clusterer": "k-mean"}, "there is no 'k-mean' among the clusterers; did you mean 'kmeans'?"),
]
WAYS = {
    "constructor": lambda values: fdc.Frozen(**values),
    "by name": lambda values: parse_options("frozen", values),
    "registry": lambda values: METHODS.parse({"name": "frozen", **values}),
    "changed": lambda values: parse_options(fdc.Frozen(), values),
}


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize(("values", "says"), PLAIN)
def test_invalid_options_give_one_plain_sentence(way, values, says):
    with pytest.raises(OptionsError) as caught:
        WAYS[way](values)
    assert str(caught.value) == says
    assert caught.value.__suppress_context__, "pydantic's own words would stand above ours"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"share": 1}, "share=1: needs less than 1"),
        ({"share": float("inf")}, "share=inf: needs less than 1"),
        ({"size": 70_000}, "size=70000: needs 65,536 or less"),
        ({"widths": [1, 2, 3]}, "widths=[1, 2, 3]: needs 2 items or fewer"),
        ({"widths": [1, "b"]}, "widths.1='b': needs a whole number"),
        ({"widths": 3}, "widths=3: needs a list"),
        ({"either": "x"}, "either='x': needs a whole number or True or False"),
        ({"title": "abcd"}, "title='abcd': needs 3 characters or fewer"),
        ({"title": 3}, "title=3: needs text"),
        ({"code": "b"}, "code='b': give a and nothing else"),
        ({"title": "x" * 500}, f"title={'x' * 60!r}... (500 characters): needs 3 characters or fewer"),
    ],
)
def test_every_kind_of_bound_has_its_message(values, says):
    with pytest.raises(OptionsError) as caught:
        Sample(need=1, **values)
    assert str(caught.value) == says


@pytest.mark.parametrize("way", [lambda v: Sample(need=1, widths=v), lambda v: Sample(need=1, title=v)])
def test_a_set_is_no_list(way):
    """Pydantic takes it for a list, in an order that differs between processes."""
    assert Sample(need=1, widths=[3, 1]).widths == (3, 1)
    for given in ({3, 1}, frozenset([1])):
        with pytest.raises(
            OptionsError, match=r"(widths|title)=.* is a set, whose order differs .*; give a list$"
        ):
            way(given)


def test_a_missing_option_is_named_with_its_description():
    with pytest.raises(OptionsError, match=r"^sample needs the option 'need': How many there are\.$"):
        Sample()


def test_options_are_immutable():
    options = fdc.Frozen()
    with pytest.raises(OptionsError, match=r"rounds=3: a Frozen is immutable; create a new one: Frozen\("):
        options.rounds = 3


@pytest.mark.parametrize("method", METHODS.names())
def test_options_survive_pickle_copy_and_json(method):
    options = METHODS.get(method)(n_clusters=7, seed=3)
    assert pickle.loads(pickle.dumps(options)) == options
    assert copy.copy(options) == options == copy.deepcopy(options)
    assert options.model_copy(update={"seed": 4}).seed == 4
    options_type = type(options)
    assert options_type.model_validate(options.model_dump()) == options
    assert options_type.model_validate_json(options.model_dump_json()) == options
    assert parse_options(method, options.model_dump(mode="json")) == options
    assert "n_clusters" in inspect.signature(options_type).parameters


def test_model_validate_raises_pydantics_errors_by_field():
    with pytest.raises(ValidationError) as caught:
        fdc.Frozen.model_validate({"n_clusters": 1, "rounds": 9})
    assert [item["loc"] for item in caught.value.errors()] == [("n_clusters",), ("rounds",)]


@pytest.mark.parametrize("name", CLUSTERERS.names())
def test_unknown_options_of_every_part_are_refused(name):
    with pytest.raises(OptionsError, match=f"^{name} has no option 'no_such_option'; "):
        CLUSTERERS.get(name)(no_such_option=1)
