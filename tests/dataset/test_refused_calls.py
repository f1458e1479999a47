"""Calls of ``cluster`` and ``resume`` that are refused before any work."""

from __future__ import annotations

import fiftyone as fo
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.runs import run_files, status
from fiftyone_deepcluster.errors import ImagesError, InputError, OptionsError, RunExistsError
from tests.dataset.runs.test_run import state
from tests.dataset.small_runs import FROZEN


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_clusters": 500}, OptionsError, "n_clusters=500 is more than the 40 images"),
        ({"n_clusters": 1}, OptionsError, "n_clusters"),
        ({"no_such_option": 1}, OptionsError, "no_such_option"),
        ({"method": "nothing"}, OptionsError, "'nothing'"),
        ({"key": "a b"}, InputError, "cannot be the name of a field"),
        ({"key": "_dc"}, InputError, "starts with _"),
        ({"key": "filepath"}, RunExistsError, "filepath"),
        ({"truth_field": "absent"}, InputError, "truth_field='absent'"),
        (
            {"truth_field": "filepath"},
            InputError,
            "truth_field='filepath' holds files or facts of the samples",
        ),
        (
            {"truth_field": "empty"},
            InputError,
            "truth_field='empty' is empty for all 40 images; give a field",
        ),
        ({"embeddings_field": "absent"}, InputError, "embeddings_field='absent'"),
        ({"patches_field": "absent"}, InputError, "patches_field='absent'"),
        ({"model": "no-such-model"}, OptionsError, "zoo"),
        ({"model": object()}, OptionsError, "no embeddings"),
        ({"model": "m", "embeddings_field": "e"}, OptionsError, "one of the two"),
        ({"method": "deepcluster", "embeddings_field": "e"}, OptionsError, "frozen"),
    ],
)
def test_errors_before_any_work(make_digits, change, error, message):
    dataset = make_digits(40)
    dataset.add_sample_field("empty", fo.StringField)
    before = state(dataset)
    with pytest.raises(error, match=message):
        fdc.cluster(dataset, **{"key": "dc", **FROZEN, **change})
    assert state(dataset) == before
    assert status.read_states(dataset) == {}
    assert not run_files.dataset_dir(dataset).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth_field": 5}, "truth_field=5 is not a name; give a string, such as 'ground_truth'"),
        ({"embeddings_field": 7}, "embeddings_field=7 is not a list of names"),
        (
            {"embeddings_field": {"a", "b"}},
            "embeddings_field={.*} is a set, whose order differs .* give a list",
        ),
        (
            {"embeddings_field": frozenset("a")},
            r"embeddings_field=frozenset.* is a set.* such as \['embedding'\]",
        ),
        ({"embeddings_field": {"a": 1}}, "embeddings_field={'a': 1} is not a list of names"),
        ({"embeddings_field": ("a", "a")}, r"embeddings_field=\('a', 'a'\) has a name twice"),
        ({"embeddings_field": b"a"}, "embeddings_field=b'a' is not a list of names"),
        ({"media_field": 7}, "media_field=7 is not a name"),
        ({"overwrite": "no"}, "overwrite='no' is neither True nor False"),
        ({"compute_brain": "maybe"}, "compute_brain='maybe' is neither True nor False"),
    ],
)
def test_arguments_of_a_wrong_type_are_refused(make_digits, change, message):
    dataset = make_digits(40)
    with pytest.raises(InputError, match=message):
        fdc.cluster(dataset, **{"key": "dc", **FROZEN, **change})
    assert fdc.list_runs(dataset) == []
    with pytest.raises(InputError, match="key=None is not a name"):
        fdc.resume(dataset, None)


def test_a_deleted_dataset_is_named(make_digits):
    dataset = make_digits(5)
    view = dataset.limit(3)
    dataset.delete()
    for samples in (dataset, view):
        with pytest.raises(ImagesError, match="was deleted; load or create another dataset"):
            fdc.list_runs(samples)
        with pytest.raises(ImagesError, match="was deleted"):
            fdc.cluster(samples, key="dc", **FROZEN)
