"""Fields of a person, to which labels of clusters are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.io.fields import check_key, marked
from fiftyone_deepcluster.dataset.runs import storage
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun


def own_field(run: KeptRun, field: str, *, texts: bool = False) -> tuple[str, bool]:
    """Path of a person's field, and whether the field is missing.

    Args:
        run: the run whose images have the field.
        field: name of the field; for patches, of an attribute.
        texts: whether a field of plain strings is accepted for whole images, too.

    Raises:
        InputError: the field belongs to a run, or has another type.
    """
    names, dataset = run.fields, run.dataset
    arguments.one_name("field", field, "ground_truth")
    path = names.prefix + field.removeprefix(names.prefix)
    runs = [*marked(dataset), *(storage.fields_of(dataset, key) for key in storage.keys(dataset))]
    if any(path in other.roots() for other in runs):
        raise InputError(
            f"field={arguments.short(field)} belongs to a run; choose a field of your own, or a new name"
        )
    known = dataset.get_field(path)
    if known is None:
        check_key(path.removeprefix(names.prefix), "field")
    elif not _fits(known, names, texts):
        kind = getattr(known, "document_type", type(known)).__name__
        need = "a string attribute" if names.patches_field else "a Classification field"
        need += " or a string field" if texts and not names.patches_field else ""
        raise InputError(
            f"field={arguments.short(field)} is a {kind}; {need} is needed: choose such a field, or a new name"
        )
    return path, known is None


def _fits(field: fo.Field, names: FieldNames, texts: bool) -> bool:
    import fiftyone as fo

    if names.patches_field is not None or (texts and isinstance(field, fo.StringField)):
        return isinstance(field, fo.StringField)
    return isinstance(field, fo.EmbeddedDocumentField) and issubclass(field.document_type, fo.Classification)
