"""Digits with objects."""

from __future__ import annotations

import pytest


@pytest.fixture
def boxed(make_digits):
    """Ten digits with two, one or no objects each."""
    import fiftyone as fo

    dataset = make_digits(10)
    dataset.add_sample_field("objects", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    for row, sample in enumerate(dataset.iter_samples(autosave=True)):
        boxes = [[0, 0, 0.5, 1], [0.5, 0, 0.5, 1]][: row % 3]
        objects = [fo.Detection(label=f"half{i}", bounding_box=box) for i, box in enumerate(boxes)]
        sample["objects"] = fo.Detections(detections=objects) if row else None
    return dataset
