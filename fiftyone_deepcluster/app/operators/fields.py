"""Dataset fields offered as choices in forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.io.read_fields import NO_CLASSES, no_embeddings
from fiftyone_deepcluster.dataset.io.read_images import DICOM_PREFIX

if TYPE_CHECKING:
    import fiftyone as fo


_LOOKED_AT = 1000
"""Number of samples in which a value is looked for at every keystroke in a form."""


def class_fields(dataset: fo.Dataset, patches_field: str | None = None) -> list[str]:
    """Fields with one class per image: Classification, string, integer or boolean.

    Those of DICOM headers, such as patients, come last. For patches, the attributes of the objects as full paths.
    """
    import fiftyone as fo

    plain = [fo.StringField, fo.IntField, fo.BooleanField]
    if patches_field:
        prefix = f"{patches_field}.detections."
        paths = dataset.get_field_schema(ftype=plain, flat=True)
        return _of_no_run(dataset, [path for path in paths if path.startswith(prefix)])
    labels = dataset.get_field_schema(embedded_doc_type=fo.Classification)
    found = _of_no_run(dataset, [*labels, *dataset.get_field_schema(ftype=plain)])
    return sorted(found, key=lambda path: path.startswith(DICOM_PREFIX))


def likely_classes(samples: fo.core.collections.SampleCollection, fields: list[str]) -> str:
    """The field that probably holds the known classes of the samples; empty if it is not clear.

    It has the usual name, or is the only Classification: a string or number may as well be a report or a patient. A
    field without a value in the first samples is none.
    """
    usual = [path for path in fields if path.rsplit(".", maxsplit=1)[-1] in ("ground_truth", "label")]
    labels = [path for path in own_label_fields(samples._root_dataset) if path in fields]
    likely = usual[:1] or (labels if len(labels) == 1 else [])
    return likely[0] if likely and _has_values(samples, likely[0]) else ""


def _has_values(samples: fo.core.collections.SampleCollection, path: str) -> bool:
    """Whether one of the first samples has a value; True where the view hides the field."""
    return samples.get_field(path) is None or bool(len(samples.limit(_LOOKED_AT).exists(path).limit(1)))


def text_fields(dataset: fo.Dataset) -> list[str]:
    """String fields, such as reports, that were not written by a run."""
    import fiftyone as fo

    return _of_no_run(dataset, list(dataset.get_field_schema(ftype=fo.StringField)))


def likely_texts(fields: list[str]) -> str | None:
    """The first field that may hold texts: not of a DICOM header, whose fields are codes and hashes of identities."""
    return next((path for path in fields if not path.startswith(DICOM_PREFIX)), None)


def own_label_fields(dataset: fo.Dataset) -> list[str]:
    """Classification fields that were not written by a run."""
    import fiftyone as fo

    return _of_no_run(dataset, list(dataset.get_field_schema(embedded_doc_type=fo.Classification)))


def vector_fields(dataset: fo.Dataset, patches_field: str | None = None) -> list[str]:
    """Fields with one vector per image; for patches, the attributes of the objects, without the path of the objects."""
    import fiftyone as fo

    kinds = [fo.VectorField, fo.ArrayField]
    own = no_embeddings(dataset)
    if not patches_field:
        return [path for path in dataset.get_field_schema(ftype=kinds) if path not in own]
    prefix = f"{patches_field}.detections."
    paths = [path for path in dataset.get_field_schema(ftype=kinds, flat=True) if path not in own]
    names = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
    return [name for name in names if name != "mask"]  # the outline of the object


def object_fields(dataset: fo.Dataset) -> list[str]:
    """Detections fields, whose objects can be clustered as images."""
    import fiftyone as fo

    return list(dataset.get_field_schema(embedded_doc_type=fo.Detections))


def _of_no_run(dataset: fo.Dataset, paths: list[str]) -> list[str]:
    """Paths that were not written by a run and that can hold a class."""
    from fiftyone_deepcluster.dataset.runs.run import list_runs

    keys = list_runs(dataset)
    return [
        path
        for path in paths
        if (name := path.rsplit(".", maxsplit=1)[-1]) not in NO_CLASSES
        and not any(name == key or name.startswith(f"{key}_") for key in keys)
    ]
