"""Fields of the images of a collection: classes, texts and vectors."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_deepcluster.dataset.io.read_fields import read_embeddings, read_truth
from fiftyone_deepcluster.dataset.io.read_images import collect_images
from fiftyone_deepcluster.errors import ImagesError, InputError


def test_truth_of_patches_may_be_of_the_whole_image(boxed):
    source = collect_images(boxed, "objects")
    truth = dict(zip(boxed.values("id"), boxed.values("ground_truth.label"), strict=True))
    assert read_truth(source, "ground_truth") == [truth[name] for name in source.sample_ids]


def test_fields_of_the_kind_that_is_needed_are_named_or_what_to_do_without(make_digits):
    import fiftyone as fo

    dataset = make_digits(3)
    with pytest.raises(InputError, match=r"fields that can contain classes: ground_truth$"):
        read_truth(collect_images(dataset), "absent")
    with pytest.raises(
        InputError,
        match=r"none with vectors; create one with .*compute_embeddings\(.*='absent'\)",
    ):
        read_embeddings(collect_images(dataset), "absent")
    with pytest.raises(InputError, match="it has none; leave patches_field empty"):
        collect_images(dataset, "absent")
    dataset.delete_sample_field("ground_truth")
    with pytest.raises(
        InputError, match="none of its fields can contain classes, so leave truth_field empty"
    ):
        read_truth(collect_images(dataset), "absent")
    dataset.set_values("vectors", [np.zeros(2, np.float32)] * 3)
    dataset.set_values("numbers", [[0.0, 1.0]] * 3)
    dataset.set_values("words", [["a"]] * 3)
    with pytest.raises(InputError, match=r"fields with vectors: vectors, numbers$"):
        read_embeddings(collect_images(dataset), "absent")
    groups = fo.Dataset()
    groups.add_group_field("group", default="cloud")
    groups.add_samples([fo.Sample(filepath="a.pcd", group=fo.Group().element("cloud"))], progress=False)
    with pytest.raises(ImagesError, match=r"no slice of the grouped dataset .* has images"):
        collect_images(groups)
    groups.delete()


@pytest.mark.parametrize("kind", ["str", "int", "bool"])
def test_truth_of_plain_fields(make_digits, kind):
    dataset = make_digits(6)
    values = {"str": ["a", None, "b", "a", "b", "a"], "int": [1, 2, 3, 1, 2, None], "bool": [True, False] * 3}
    dataset.set_values("kind", values[kind])
    assert read_truth(collect_images(dataset), "kind") == values[kind]


def test_truth_of_another_type_is_refused(make_digits):
    dataset = make_digits(3)
    dataset.set_values("score", [0.5, 0.25, 0.1])
    with pytest.raises(InputError, match=r"score.*FloatField.*Classification"):
        read_truth(collect_images(dataset), "score")
    with pytest.raises(InputError, match=r"'nothing' is not a field.*ground_truth"):
        read_truth(collect_images(dataset), "nothing")


def test_a_text_is_a_string_and_what_runs_wrote_is_not_on_offer(make_digits, stored_run):
    dataset = make_digits(20)
    dataset.set_values("report", ["a text"] * 20)
    dataset.set_values("number", list(range(20)))
    stored_run(dataset)
    source = collect_images(dataset)
    with pytest.raises(InputError, match="text_field='number' is a IntField; a field of strings is needed"):
        read_truth(source, "number", "text_field")
    with pytest.raises(InputError, match=r"fields that can contain texts: report$"):
        read_truth(source, "absent", "text_field")
    with pytest.raises(InputError, match=r"fields that can contain groups: ground_truth, report, number$"):
        read_truth(source, "absent", "group_field")
    with pytest.raises(InputError, match=r"fields that can contain classes: ground_truth, report, number$"):
        read_truth(source, "absent")
    with pytest.raises(InputError, match=r"fields with vectors: dc_embedding$"):
        read_embeddings(source, "absent")
    with pytest.raises(InputError, match="truth_field=5 is not a name"):
        read_truth(source, 5)


def test_embeddings_by_id_with_gaps(make_digits):
    dataset = make_digits(5)
    vectors = [np.arange(3.0) + row for row in range(5)]
    dataset.set_values("emb", [*vectors[:4], None])
    found = read_embeddings(collect_images(dataset.sort_by("filepath", reverse=True)), "emb")
    assert found[0] is None
    np.testing.assert_array_equal(found[4], vectors[0])
    assert found[4].dtype == np.float32


def test_embeddings_that_cannot_work(make_digits):
    dataset = make_digits(3)
    dataset.set_values("ragged", [np.zeros(2), np.zeros(3), None])
    with pytest.raises(InputError, match="all must have the same length"):
        read_embeddings(collect_images(dataset), "ragged")
    with pytest.raises(InputError, match="is not a field"):
        read_embeddings(collect_images(dataset), "absent")
    with pytest.raises(
        InputError, match="is a EmbeddedDocumentField; a field of vectors, arrays or lists is needed"
    ):
        read_embeddings(collect_images(dataset), "ground_truth")
