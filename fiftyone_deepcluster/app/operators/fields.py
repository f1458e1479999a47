"""Which fields of a dataset an input may offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import fiftyone as fo

_NO_CLASSES = {"id", "filepath"}


def class_fields(dataset: fo.Dataset, patches_field: str | None = None) -> list[str]:
    """Fields that hold one class an image: Classifications, strings, whole numbers, yes or no.

    For patches those of the objects, as full paths.
    """
    import fiftyone as fo

    if patches_field:
        prefix = f"{patches_field}.detections"
        return [path for path in _labels_of(dataset, prefix) if not _of_a_run(dataset, path.split(".")[-1])]
    labels = dataset.get_field_schema(embedded_doc_type=fo.Classification)
    plain = dataset.get_field_schema(ftype=[fo.StringField, fo.IntField, fo.BooleanField])
    names = [*labels, *(name for name in plain if name not in _NO_CLASSES)]
    return [name for name in names if not _of_a_run(dataset, name)]


def own_label_fields(dataset: fo.Dataset) -> list[str]:
    """Classification fields that a person owns: no run's."""
    import fiftyone as fo

    return [
        name
        for name in dataset.get_field_schema(embedded_doc_type=fo.Classification)
        if not _of_a_run(dataset, name)
    ]


def vector_fields(dataset: fo.Dataset) -> list[str]:
    """Fields that hold a vector an image."""
    import fiftyone as fo

    return list(dataset.get_field_schema(ftype=[fo.VectorField, fo.ArrayField]))


def object_fields(dataset: fo.Dataset) -> list[str]:
    """Detections fields, whose objects can be the images."""
    import fiftyone as fo

    return list(dataset.get_field_schema(embedded_doc_type=fo.Detections))


def _labels_of(dataset: fo.Dataset, prefix: str) -> list[str]:
    import fiftyone as fo

    schema = dataset.get_field_schema(ftype=[fo.StringField, fo.IntField, fo.BooleanField], flat=True)
    skipped = {"id", "mask_path"}
    return [path for path in schema if path.startswith(f"{prefix}.") and path.split(".")[-1] not in skipped]


def _of_a_run(dataset: fo.Dataset, name: str) -> bool:
    from fiftyone_deepcluster.dataset.runs import list_runs

    return any(name == key or name.startswith(f"{key}_") for key in list_runs(dataset))
