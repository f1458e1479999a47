"""Which field the form of "Cluster images" proposes as known classes."""

from __future__ import annotations

import fiftyone as fo

from fiftyone_deepcluster.app.operators import ClusterImages
from tests.app.test_operators import inputs_of


def test_known_classes_are_preselected_where_the_field_is_one_of_classes(make_context, digits_dataset):
    def chosen(dataset, **request):
        inputs = inputs_of(ClusterImages(), make_context(dataset, **request))
        return inputs.get_property("truth_field").default

    assert chosen(digits_dataset) == "ground_truth"
    digits_dataset.rename_sample_field("ground_truth", "kind")
    assert chosen(digits_dataset) == "kind", "the only Classification"
    digits_dataset.set_values("other", [fo.Classification(label="a")] * len(digits_dataset))
    assert chosen(digits_dataset) == "", "which of the two is not clear"
    digits_dataset.delete_sample_fields(["kind", "other"])
    digits_dataset.set_values("dicom_patient", ["a"] * len(digits_dataset))
    digits_dataset.set_values("patient", [f"p{i % 7}" for i in range(len(digits_dataset))])
    assert chosen(digits_dataset) == "", "a string may be a report or a patient"
    offered = inputs_of(ClusterImages(), make_context(digits_dataset)).get_property("truth_field").type.values
    assert offered == ["", "patient", "dicom_patient"]
    digits_dataset.add_sample_field("label", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    assert chosen(digits_dataset) == "", "no image has one"
    digits_dataset.set_values("label", [fo.Classification(label="a")] * len(digits_dataset))
    assert chosen(digits_dataset) == "label"
