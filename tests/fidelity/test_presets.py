"""``preset="paper"``: how it is resolved, stored and reported. What a paper says is in the other files."""

from __future__ import annotations

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.methods.base import list_methods, parse_options
from fiftyone_deepcluster.methods.published import OF_THE_RUN, Published
from tests.fidelity.papers import facts

PUBLISHED = [name for name, options in list_methods().items() if issubclass(options, Published)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_names_every_option(name):
    """So that no option can be set beside the paper without being reported."""
    options = list_methods()[name]
    named = {*options.paper.values, *options.paper.free, *OF_THE_RUN}
    assert named == set(options.model_fields)
    assert not set(options.paper.values) & {*options.paper.free, *OF_THE_RUN}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_preset_is_stored_and_read_back(name):
    given = parse_options(name, {"preset": "paper"})
    stored = given.model_dump(mode="json")
    assert stored["preset"] == "paper"
    again = parse_options(name, stored)
    assert again == given
    assert again.deviations() == []
    assert parse_options(name).preset == "default"
    assert parse_options(name).deviations() == []
    assert not any("preset" in note for note in parse_options(name).remarks(facts()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_note_of_a_run_is_the_preset(name):
    # as many images as the largest of the papers' sets, so that nothing is limited by their number
    assert parse_options(name, {"preset": "paper"}).remarks(facts())[0] == "preset='paper': as in the paper"


def test_options_beside_the_preset_win_and_are_reported():
    options = fdc.DeepCluster(preset="paper", rounds=3, clusterer={"name": "kmeans", "max_iter": 7}, seed=4)
    assert options.rounds == 3
    assert options.batch_size == 256
    assert options.deviations() == [
        "rounds=3 (paper: 200)",
        "clusterer=kmeans(max_iter=7) (paper: kmeans(n_init=1, init=sample, tolerance=0.0, warm_start=False))",
    ]
    assert options.remarks(facts())[0].startswith(
        "preset='paper': as in the paper, except rounds=3 (paper: 200), cl"
    )


def test_other_values_of_the_paper_are_no_deviations():
    assert fdc.DeepCluster(preset="paper", backbone="vgg16").deviations() == []
    assert fdc.DeepCluster(preset="paper", clusterer="pic", n_clusters=None).deviations() == []
    assert fdc.DeepCluster(preset="paper", backbone="resnet18").deviations() == [
        "backbone=resnet18 (paper: alexnet)"
    ]


def test_a_preset_can_be_chosen_for_options_that_exist():
    default = fdc.DeepCluster(n_clusters=12)
    assert parse_options(default, {"preset": "paper"}) == fdc.DeepCluster(preset="paper", n_clusters=12)
    paper = fdc.DeepCluster(preset="paper", n_clusters=12)
    assert parse_options(paper, {"preset": "default"}) == default
    assert parse_options(paper, {"rounds": 3}) == fdc.DeepCluster(preset="paper", n_clusters=12, rounds=3)


def test_methods_without_a_paper_have_no_preset():
    for name in ("frozen", "auto", "deepcluster-manifold"):
        assert "preset" not in list_methods()[name].model_fields
        with pytest.raises(OptionsError, match="preset"):
            parse_options(name, {"preset": "paper"})


def test_an_unknown_preset_is_refused():
    with pytest.raises(OptionsError, match="preset"):
        fdc.DeepCluster(preset="papers")
