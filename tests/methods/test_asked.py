"""Options of every method against what the method declares about them."""

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.methods.base import KnownFields, parse_options

METHODS = fdc.list_methods()
methods = pytest.mark.parametrize("options", METHODS.values(), ids=METHODS)


@methods
def test_every_option_that_counts_clusters_is_declared(options):
    counting = {name for name in options.model_fields if name.endswith("clusters")}

    assert set(options.cluster_options) == counting


@methods
def test_declared_parts_are_the_chosen_ones(options):
    made = options()

    assert made.chosen_encoder is dict(made).get("encoder")
    assert made.chosen_clusterer is dict(made).get("clusterer")


@methods
def test_declared_fields_are_the_named_ones(options):
    named = {
        name: name for name in ("text_field", "group_field", "initial_field") if name in options.model_fields
    }
    asked = options(**named).known_fields

    assert (asked.texts, asked.groups, asked.labels) == tuple(
        named.get(name) for name in ("text_field", "group_field", "initial_field")
    )


@methods
def test_a_method_that_does_not_train_runs_one_round(options):
    assert options.trains or options().rounds == 1


def test_cluster_counts_are_the_given_ones():
    assert fdc.UCNN(n_clusters=4).cluster_counts() == {"n_clusters": 4}
    assert fdc.DeepCluster(pseudo_clusters=50).cluster_counts() == {"n_clusters": 10, "pseudo_clusters": 50}
    assert fdc.LDPO().cluster_counts() == {}


def test_ldpo_declares_its_fields_and_held_out_share():
    options = fdc.LDPO(initial="topics", text_field="report", n_topics=7, training_share=0.6)

    assert options.known_fields == KnownFields(texts="report", initial="topics", n_topics=7)
    assert options.held_out_share == pytest.approx(0.3)
    assert fdc.LDPO(training_share=0.9, validation_share=0.1).held_out_share == 0


def test_which_methods_use_given_vectors():
    assert [name for name, options in METHODS.items() if options.accepts_features] == ["frozen"]
    assert [name for name, options in METHODS.items() if options.joins_vectors] == ["self-training"]


def test_a_clusterer_without_a_number_is_refused_unless_the_method_has_one():
    with pytest.raises(OptionsError, match="'gmm' needs a number"):
        parse_options("frozen", {"n_clusters": None, "clusterer": "gmm"})
    assert parse_options("cardiac-mr").n_clusters is None
