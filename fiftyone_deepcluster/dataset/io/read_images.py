"""Read the images of a FiftyOne collection: validated first, read in bulk, joined by id."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.disk import is_refused
from fiftyone_deepcluster.core.words import none_of, part_of
from fiftyone_deepcluster.dataset.io.source import SampleSource
from fiftyone_deepcluster.dataset.runs import storage
from fiftyone_deepcluster.errors import ImagesError, InputError
from fiftyone_deepcluster.images.inspect import why_no_images
from fiftyone_deepcluster.images.refs import ImageRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    import fiftyone as fo

DICOM_PREFIX = "dicom_"
"""Beginning of the names of all fields of ``add_dicom``."""

DICOM_PATH, DICOM_FRAME = "dicom_path", "dicom_frame"
"""Fields with the original of a sample's image: path of the file, and index of the frame in it."""

_DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
_UNKNOWN = "unknown"
_IMAGES = ("image", _UNKNOWN, None)
"""Media types of files that can be images."""

_PICTURES = "filepath"


def collect_images(
    samples: fo.core.collections.SampleCollection,
    patches_field: str | None = None,
    media_field: str | None = None,
    ids: Sequence[str] | None = None,
) -> SampleSource:
    """Collect the images of a dataset, a view, a patches view or a group slice.

    Args:
        samples: the collection. A patches view (``to_patches``) gives one image per object.
        patches_field: a Detections field whose objects are the images, for a collection of whole images.
        media_field: field with the paths of the files to read. None: ``dicom_path`` for samples with a value
            there, ``filepath`` for all others; ``"filepath"``: ``filepath`` for all samples.
        ids: only the images with these ids, in this order; those that do not exist are left out. None: all.

    Raises:
        ImagesError: not a FiftyOne collection, an empty one, media that are not images, or missing original files.
        InputError: ``patches_field`` is not a Detections field of the collection, or ``media_field`` has no paths.
    """
    from fiftyone.core.patches import PatchesView

    dataset = root_dataset(samples)
    _check_media(samples)
    if patches_field is not None and not isinstance(samples, PatchesView):
        check_patches_field(samples, patches_field)
        samples = samples.to_patches(patches_field)
    source = (
        _collect_patches(dataset, samples) if isinstance(samples, PatchesView) else _collect_samples(samples)
    )
    source = source if ids is None else source.choose(ids)
    _check_images(source)
    field = _media_field(dataset, media_field)
    source = source if field == _PICTURES else _with_originals(source, field)
    _check_contents(source)
    return source


def media_field_of(settings: dict[str, object]) -> str | None:
    """The ``media_field`` in the settings of a run; None for runs stored by older versions."""
    field = settings.get("media_field")
    return field if isinstance(field, str) else None


def root_dataset(samples: fo.core.collections.SampleCollection) -> fo.Dataset:
    """The dataset that contains the samples of a collection.

    Raises:
        ImagesError: not a FiftyOne collection, or its dataset was deleted.
    """
    import fiftyone as fo
    from fiftyone.core.collections import SampleCollection

    if not isinstance(samples, SampleCollection):
        raise ImagesError(
            f"samples is a {type(samples).__name__}; give a FiftyOne dataset or view "
            "(for a list of paths or an array, use fiftyone_deepcluster.fit)"
        )
    root = samples if isinstance(samples, fo.Dataset) else samples._root_dataset
    if not storage.in_database(root):
        raise ImagesError(f"dataset {root.name!r} was deleted; load or create another dataset")
    return root


def check_patches_field(samples: fo.core.collections.SampleCollection, field: str) -> None:
    """Raise InputError unless ``field`` is a Detections field."""
    import fiftyone as fo

    field = arguments.one_name("patches_field", field, "ground_truth")
    known = list(samples.get_field_schema(embedded_doc_type=fo.Detections))
    if field not in known:
        choice = f"choose one of: {', '.join(known)}" if known else (
            "it has none; leave patches_field empty to cluster whole images"
        )  # fmt: skip
        raise InputError(
            f"patches_field={arguments.short(field)} is not a Detections field of {samples.name!r}; {choice}"
        )


def flat(dataset: fo.Dataset) -> fo.core.collections.SampleCollection:
    """All samples of a dataset; for a grouped dataset, the samples of all slices with images.

    Raises:
        ImagesError: a view that is grouped by a field.
    """
    _check_not_grouped(dataset)
    if dataset.media_type != "group":
        return dataset
    return dataset.select_group_slices(image_slices(dataset), _allow_mixed=True)


def all_images(dataset: fo.Dataset, patches_field: str | None) -> fo.core.collections.SampleCollection:
    """All images of a dataset: its samples, see ``flat``, or as patches the objects in a Detections field."""
    samples = flat(dataset)
    return samples if patches_field is None else samples.to_patches(patches_field)


def image_slices(dataset: fo.Dataset) -> list[str]:
    """Slices of a grouped dataset with images or media of unknown type."""
    return [name for name, kind in dataset.group_media_types.items() if kind in _IMAGES]


def _media_field(dataset: fo.Dataset, asked: str | None) -> str:
    """Field with the paths of the files to read."""
    import fiftyone as fo

    if asked is None:
        return DICOM_PATH if isinstance(dataset.get_field(DICOM_PATH), fo.StringField) else _PICTURES
    asked = arguments.one_name("media_field", asked, _PICTURES)
    if not isinstance(dataset.get_field(asked), fo.StringField):
        known = [name for name in dataset.get_field_schema(ftype=fo.StringField) if "path" in name]
        raise InputError(
            f"media_field={arguments.short(asked)} is not a field of {dataset.name!r} with paths; choose one of: "
            f"{', '.join(known)}"
        )
    return asked


def _with_originals(source: SampleSource, field: str) -> SampleSource:
    """Replace the image paths with those in a field; images without a value are unchanged."""
    dataset = source.dataset
    numbered = field == DICOM_PATH and dataset.has_field(DICOM_FRAME)
    paths = ["id", field, *([DICOM_FRAME] if numbered else [])]
    ids, *columns = flat(dataset).values(paths)
    known = {name: values for name, *values in zip(ids, *columns, strict=True) if values[0] is not None}
    images = [
        replace(image, path=known[name][0], frame=int(known[name][1] or 0) if numbered else 0)
        if name in known else image
        for name, image in zip(source.sample_ids, source.images, strict=True)
    ]  # fmt: skip
    originals = {known[name][0] for name in source.sample_ids if name in known}
    if originals and not any(is_refused(Path(path)) or Path(path).exists() for path in originals):
        raise ImagesError(
            f"{none_of(len(originals), 'file')} in {field!r} exists, such as {min(originals)}; restore "
            "them, or give media_field='filepath' to read the images shown in the App"
        )
    return replace(source, images=images)


def _collect_samples(samples: fo.core.collections.SampleCollection) -> SampleSource:
    ids, paths = samples.values(["id", "filepath"])
    return SampleSource(samples._root_dataset, samples, ids, ids, [ImageRef(path) for path in paths])


def _collect_patches(dataset: fo.Dataset, samples: fo.core.collections.SampleCollection) -> SampleSource:
    fields = samples._label_fields
    if len(fields) != 1:
        raise ImagesError("evaluation patches have two labels each; use to_patches on the field to cluster")
    field = fields[0]
    check_patches_field(samples._source_collection, field)
    samples = _one_label_each(samples, field)
    ids, sample_ids, paths, boxes = samples.values(
        ["id", "sample_id", "filepath", f"{field}.bounding_box"]
    )  # fmt: skip
    images = [ImageRef(path, tuple(box or ())) for path, box in zip(paths, boxes, strict=True)]
    return SampleSource(dataset, samples, ids, sample_ids, images, field)


def _one_label_each(
    samples: fo.core.collections.SampleCollection, field: str
) -> fo.core.collections.SampleCollection:
    """The patches with their label itself; ``to_patches(keep_label_lists=True)`` wraps it in a list."""
    import fiftyone as fo

    if samples._get_label_field_type(field) is not fo.Detections:
        return samples
    single = samples._source_collection.to_patches(field)
    ids = samples.values("id")
    return single if single.values("id") == ids else single.select(ids, ordered=True)


def _check_not_grouped(samples: fo.core.collections.SampleCollection) -> None:
    if samples._is_dynamic_groups:
        raise ImagesError("the view is dynamically grouped by a field; give the view without group_by(...)")


def _check_media(samples: fo.core.collections.SampleCollection) -> None:
    kind = samples.media_type
    _check_not_grouped(samples)
    if kind == "group":
        slices = image_slices(samples._root_dataset)
        if not slices:
            raise ImagesError(f"no slice of the grouped dataset {samples.name!r} has images; add one")
        raise ImagesError(
            f"{samples._root_dataset.name!r} is a grouped dataset; select the slices: "
            f"samples.select_group_slices({slices[0]!r}), with one or more of {', '.join(slices)}"
        )
    if samples._is_frames or samples._is_clips:
        raise ImagesError(
            "views of frames and clips cannot be clustered; create an image dataset from the frames"
        )
    if kind == "video":
        raise ImagesError("videos cannot be clustered; sample their frames into an image dataset first")


def _check_images(source: SampleSource) -> None:
    if not source.ids:
        what = f"no objects in {source.patches_field!r}" if source.patches_field else "no samples"
        raise ImagesError(f"there are {what}; give a collection with images")
    if len(set(source.ids)) < len(source.ids):
        raise ImagesError("the view contains a sample more than once; include each sample once")
    kinds = _media_types(source)
    wrong = [image.path for image, kind in zip(source.images, kinds, strict=True) if kind not in _IMAGES]
    if wrong:
        raise ImagesError(f"{_not_images(source, wrong)}; give a view of images")


def _check_contents(source: SampleSource) -> None:
    """Raise ImagesError if files whose media type FiftyOne does not know are no images by their content, either.

    FiftyOne knows media by the suffix of the file name. Files with a suffix of DICOM are not looked at here.
    """
    unknown = [
        image.path
        for image, kind in zip(source.images, _media_types(source), strict=True)
        if kind == _UNKNOWN and PurePath(image.path).suffix.lower() not in _DICOM_SUFFIXES
    ]
    reason = why_no_images(unknown)
    if reason is not None:
        raise ImagesError(
            f"{_not_images(source, unknown)}: {reason}; give a view of images. Add DICOM files with add_dicom, and "
            "images with a suffix that FiftyOne does not know as Sample(filepath=..., media_type='image')"
        )


def _not_images(source: SampleSource, paths: list[str]) -> str:
    kind = source.samples.media_type
    what = part_of(len(paths), len(source), "file", "is no image", "are not images")
    return f"{what} (media type {kind!r}), such as {paths[0]}"


def _media_types(source: SampleSource) -> list[str | None]:
    """Media type of the sample of every image."""
    kind = source.samples.media_type
    if kind != "mixed":
        return [kind] * len(source)
    # A view of group slices has them in the documents, but not among its fields
    found = source.dataset._sample_collection.find({}, {"_media_type": 1})
    known = {str(document["_id"]): document.get("_media_type") for document in found}
    return [known.get(sample_id) for sample_id in source.sample_ids]
