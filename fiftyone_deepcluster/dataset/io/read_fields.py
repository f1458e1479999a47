"""Read fields of the images of a collection: known classes, texts, groups and vectors, in the order of the images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.words import all_of
from fiftyone_deepcluster.dataset.io.fields import marked, objects_prefix
from fiftyone_deepcluster.dataset.io.read_images import (
    DICOM_FRAME,
    DICOM_PATH,
    DICOM_PREFIX,
    all_images,
    flat,
)
from fiftyone_deepcluster.dataset.runs import storage
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import fiftyone as fo
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.io.source import SampleSource

NO_CLASSES = ("id", "filepath", "mask_path", DICOM_PATH, DICOM_FRAME)
"""Fields with text or numbers that are not classes."""

_HELD = {"text_field": "texts", "group_field": "groups"}
"""Content of the field by option; the fields of all other options contain classes."""


class NoFieldError(InputError):
    """The dataset has no field of the name that was given."""


def read_truth(source: SampleSource, truth_field: str, option: str = "truth_field") -> list[object | None]:
    """Known class of every image, None if there is none.

    The class is the label of a Classification, or the value of another field. For patches, the name of the
    patches field refers to the label of the objects, other names to their attributes or else to a field of the
    whole image, whose value applies to all its objects.

    Args:
        source: the images.
        truth_field: name of the field.
        option: name of the option in error messages; the field of ``text_field`` must contain strings.

    Raises:
        NoFieldError: the field is missing.
        InputError: it is not a Classification, string, integer or boolean, or it holds files or facts of the
            samples, such as their ids.
    """
    truth_field = arguments.one_name(
        option, truth_field, "report" if option == "text_field" else "ground_truth"
    )
    if option not in _HELD and truth_field in facts_of_samples(source.dataset):
        raise InputError(
            f"{option}={truth_field!r} holds files or facts of the samples; give a field with classes"
        )
    path = _truth_path(source, truth_field, option)
    if path is not None:
        return read_values(source, path)
    # the patches view does not contain fields of the whole images
    field = source.dataset.get_field(truth_field)
    if field is None:
        raise NoFieldError(_no_class_field(option, truth_field, source))
    path = _label_path(truth_field, field, option)
    ids, values = flat(source.dataset).values(["id", path])
    known = dict(zip(ids, values, strict=True))
    return [known.get(sample_id) for sample_id in source.sample_ids]


def facts_of_samples(dataset: fo.Dataset) -> set[str]:
    """Fields with files or facts of the samples, such as their ids; no field of classes."""
    from fiftyone.core.sample import get_default_sample_fields

    return {
        *NO_CLASSES,
        *dataset.app_config.media_fields,
        *get_default_sample_fields(include_private=True),
    }


def read_embeddings(source: SampleSource, field: str) -> list[NDArray[np.float32] | None]:
    """Vector (D,), or vectors (V, D), of every image from a field, None if there is none.

    Raises:
        NoFieldError: the field is missing.
        InputError: it has no vectors, or vectors of different lengths.
    """
    import fiftyone as fo

    field = arguments.one_name("embeddings_field", field, "embedding")
    path = field if source.patches_field is None else f"{source.patches_field}.{field}"
    kind = source.samples.get_field(path)
    if kind is None:
        raise NoFieldError(_no_vector_field(field, source))
    if not isinstance(kind, fo.VectorField | fo.ArrayField | fo.ListField):
        raise InputError(
            f"embeddings_field={field!r} is a {type(kind).__name__}; a field of vectors, arrays or lists is needed"
        )
    vectors = [None if value is None else _vector(field, value) for value in read_values(source, path)]
    shapes = {vector.shape for vector in vectors if vector is not None}
    if not shapes:
        raise InputError(
            f"embeddings_field={field!r} is empty for {all_of(len(source), 'image')}; compute the embeddings first"
        )
    if len(shapes) > 1 or len(next(iter(shapes))) not in (1, 2):
        raise InputError(
            f"embeddings_field={field!r} has vectors of shapes {sorted(shapes)[:5]}; all must have the same length"
        )
    return vectors


def _vector(field: str, value: object) -> NDArray[np.float32]:
    try:
        return arguments.as_float32(value)
    except (TypeError, ValueError):
        raise InputError(
            f"embeddings_field={field!r} holds {arguments.short(value)}, which is no vector of numbers; give a field "
            "with vectors, such as that of FiftyOne's compute_embeddings"
        ) from None


def read_values(source: SampleSource, path: str) -> list[object | None]:
    """Values of a path of the collection, in the order of ``source.ids``."""
    ids, values = source.samples.values(["id", path])
    known = dict(zip(ids, values, strict=True))
    return [known.get(name) for name in source.ids]


def with_fields(
    samples: fo.core.collections.SampleCollection,
    dataset: fo.Dataset,
    patches_field: str | None,
    paths: Sequence[str],
) -> fo.core.collections.SampleCollection:
    """The samples; all images of their dataset if the view hides one of the paths, or was made before it was there."""
    if all(samples.get_field(path) is not None for path in paths):
        return samples
    return all_images(dataset, patches_field)


def without_cluster(source: SampleSource, names: FieldNames) -> SampleSource:
    """The images without a label and without an error in the fields ``names``, also where the view hides them."""
    dataset = source.dataset
    declared = [name for name in ("label", "error") if dataset.get_field(names.path(name)) is not None]
    paths = [names.view_path(name) for name in declared]
    whole = replace(source, samples=with_fields(source.samples, dataset, source.patches_field, paths))
    columns = [read_values(whole, path) for path in paths]
    rows = [row for row in range(len(source)) if all(column[row] is None for column in columns)]
    return source.rows(rows)


def _truth_path(source: SampleSource, truth_field: str, option: str) -> str | None:
    """Path of a truth field in the collection; None if it is a field of the whole images of patches."""
    samples, patches = source.samples, source.patches_field
    if patches is None:
        field = samples.get_field(truth_field)
        if field is None:
            raise NoFieldError(_no_class_field(option, truth_field, source))
        return _label_path(truth_field, field, option)
    if truth_field in (patches, f"{patches}.detections"):
        return f"{patches}.label"
    attribute = truth_field.removeprefix(f"{patches}.detections.").removeprefix(f"{patches}.")
    field = samples.get_field(f"{patches}.{attribute}")
    return None if field is None else _label_path(f"{patches}.{attribute}", field, option)


def _label_path(path: str, field: fo.Field, option: str) -> str:
    import fiftyone as fo

    if isinstance(field, fo.EmbeddedDocumentField) and issubclass(field.document_type, fo.Classification):
        return f"{path}.label"
    texts = option == "text_field"
    if isinstance(field, fo.StringField if texts else fo.StringField | fo.IntField | fo.BooleanField):
        return path
    kind = getattr(field, "document_type", type(field)).__name__
    need = "a field of strings" if texts else "a Classification, string, integer or boolean"
    raise InputError(f"{option}={path!r} is a {kind}; {need} is needed")


def _no_class_field(option: str, name: str, source: SampleSource) -> str:
    """Error message for a missing class, group or text field."""
    import fiftyone as fo

    held = _HELD.get(option, "classes")
    kinds = [fo.StringField] if held == "texts" else [fo.StringField, fo.IntField, fo.BooleanField]
    schema = source.dataset.get_field_schema
    known = [] if held == "texts" else list(schema(embedded_doc_type=fo.Classification))
    known = [field for field in (*known, *schema(ftype=kinds)) if field not in NO_CLASSES]
    own = _of_runs(source.dataset)
    known = [field for field in known if field not in own]
    there = f"fields that can contain {held}: {', '.join(known)}" if known else (
        f"none of its fields can contain {held}, so leave {option} empty"
    )  # fmt: skip
    return f"{option}={arguments.short(name)} is not a field of {source.dataset.name!r}; {there}"


def no_embeddings(dataset: fo.Dataset) -> set[str]:
    """Fields created by runs, except their embeddings: the clusters of every round are stored as a vector, too."""
    embeddings = {run.path("embedding") for run in marked(dataset) if run.kind == "clusters"}
    return _of_runs(dataset) - embeddings


def _of_runs(dataset: fo.Dataset) -> set[str]:
    """Fields created by runs, which contain no known classes."""
    runs = [*marked(dataset), *(storage.fields_of(dataset, key) for key in storage.keys(dataset))]
    return {path for run in runs for path in run.roots()}


_OF_OBJECTS = {"bounding_box", "mask", "tags"}
"""Fields of every detection that hold lists or arrays, but no embeddings."""


def _no_vector_field(name: str, source: SampleSource) -> str:
    """Error message for a missing field of vectors."""
    known, shown = fields_with_vectors(source), arguments.short(name)
    there = f"fields with vectors: {', '.join(known)}" if known else (
        f"it has none with vectors; create one with FiftyOne's compute_embeddings(..., embeddings_field={shown})"
    )  # fmt: skip
    return f"embeddings_field={shown} is not a field of {source.dataset.name!r}; {there}"


def fields_with_vectors(source: SampleSource) -> list[str]:
    """Names of the fields that can hold vectors of the images of a source, as ``embeddings_field`` takes them."""
    import fiftyone as fo

    prefix = objects_prefix(source.patches_field)
    schema = source.dataset.get_field_schema(ftype=[fo.VectorField, fo.ArrayField, fo.ListField], flat=True)
    paths = [path for path, field in schema.items() if _may_hold_vectors(field)]
    own = no_embeddings(source.dataset)
    known = [path.removeprefix(prefix) for path in paths if path.startswith(prefix) and path not in own]
    # fields inside labels, and values of a DICOM header, are no embeddings
    known = [name for name in known if "." not in name and name not in _OF_OBJECTS]
    return [name for name in known if not name.startswith(DICOM_PREFIX)]


def _may_hold_vectors(field: fo.Field) -> bool:
    """Whether a field holds vectors, arrays, or lists that can be lists of numbers."""
    import fiftyone as fo

    if not isinstance(field, fo.ListField):
        return True
    return field.field is None or isinstance(field.field, fo.FloatField | fo.IntField)
