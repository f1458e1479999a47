"""The samples that DICOM files become, and their fields.

===================== ======= ==============================================================================
field                 type    meaning
===================== ======= ==============================================================================
``filepath``                  PNG of the image as a viewer would first show it, for the App
``dicom_path``        string  the DICOM file, which ``cluster`` reads instead of the PNG
``dicom_frame``       int     number of the image in that file, from 0
``dicom_patient``     string  keyed hash of the patient's number: for keeping a patient's images together
``dicom_study``       string  keyed hash of the study's UID
``dicom_series``      string  keyed hash of the series' UID
``dicom_modality`` …          the elements on the list of keywords, each under its name
===================== ======= ==============================================================================

The paths of the files are kept as they are: where folders or files are named after patients, so are they.
What is burned into pixels stays there (``dicom_burned_in_annotation`` says YES in files that own up to it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.dataset.source import DICOM_FRAME, DICOM_PATH
from fiftyone_deepcluster.errors import ImagesError, InputError
from fiftyone_deepcluster.images.dicom_header import field_kind

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.images.renditions import Rendered, Rendition

GROUPING = ("dicom_patient", "dicom_study", "dicom_series")
"""Fields that say which images belong together, from the widest to the narrowest."""

_SHOWN_REASONS = 10


@dataclass
class DicomSummary:
    """What an import did.

    Attributes:
        imported: samples that were added.
        known: images that the dataset had already.
        skipped: file (and frame) -> why it is not in the dataset.
        others: files in the folders that are not DICOM.
        later: files that show a slice later than at its start, where only that is wanted.
    """

    imported: int = 0
    known: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    others: int = 0
    later: int = 0

    def __str__(self) -> str:
        lines = [f"{self.imported} images imported, {self.known} known already, {len(self.skipped)} skipped"]
        if self.others:
            lines[0] += f", {self.others} files are not DICOM"
        if self.later:
            lines[0] += f", {self.later} are later in their recordings"
        shown = list(self.skipped.items())[:_SHOWN_REASONS]
        lines += [f"  {path}: {reason}" for path, reason in shown]
        if len(self.skipped) > len(shown):
            lines.append(f"  and {len(self.skipped) - len(shown)} more, all in .skipped")
        return "\n".join(lines)


def field_name(keyword: str) -> str:
    """``BodyPartExamined`` -> ``dicom_body_part_examined``."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", keyword)
    return "_".join(["dicom", *(word.lower() for word in words)])


def find_target(dataset: fo.Dataset | str) -> fo.Dataset:
    """The dataset to add to; a name that is new makes one that lasts."""
    import fiftyone as fo

    if isinstance(dataset, str):
        known = fo.dataset_exists(dataset)
        dataset = fo.load_dataset(dataset) if known else fo.Dataset(dataset, persistent=True)
    if not isinstance(dataset, fo.Dataset):
        raise InputError(f"dataset is a {type(dataset).__name__}; give a FiftyOne dataset or a name for one")
    if dataset.media_type not in (None, "image"):
        raise InputError(
            f"{dataset.name!r} holds media of type {dataset.media_type!r}; give a dataset of images, or a new name"
        )
    for name, kind in _own_fields().items():
        there = dataset.get_field(name)
        if there is not None and not isinstance(there, kind):
            raise InputError(
                f"{dataset.name!r} has a field {name!r} of another kind ({type(there).__name__}); rename it first"
            )
    return dataset


def _own_fields() -> dict[str, type[fo.Field]]:
    import fiftyone as fo

    texts = dict.fromkeys((DICOM_PATH, *GROUPING), fo.StringField)
    return {**texts, DICOM_FRAME: fo.IntField}


def known_frames(dataset: fo.Dataset) -> dict[str, list[int]]:
    """DICOM file -> numbers of its images that the dataset has."""
    known: dict[str, list[int]] = {}
    if dataset.has_field(DICOM_PATH) and dataset.has_field(DICOM_FRAME):
        for path, frame in zip(*dataset.values([DICOM_PATH, DICOM_FRAME]), strict=True):
            if path is not None:
                known.setdefault(path, []).append(frame or 0)
    return known


def take_in(dataset: fo.Dataset, rendered: list[Rendered], summary: DicomSummary) -> None:
    """Add the samples of some files, and count."""
    samples = []
    for file in rendered:
        summary.known += file.known
        for frame, reason in file.failed.items():
            summary.skipped[file.path if frame < 0 else f"{file.path} (frame {frame})"] = reason
        samples += [_sample(file, image) for image in file.images]
    if samples:
        _declare(dataset, rendered)
        dataset.add_samples(samples, dynamic=False, progress=False)
        summary.imported += len(samples)


def _sample(file: Rendered, image: Rendition) -> fo.Sample:
    import fiftyone as fo

    header = file.header
    if header is None:
        raise ImagesError(f"{file.path} was rendered without a header")
    return fo.Sample(
        filepath=image.png,
        metadata=fo.ImageMetadata(
            size_bytes=image.size_bytes,
            mime_type="image/png",
            width=image.width,
            height=image.height,
            num_channels=image.channels,
        ),
        **{DICOM_PATH: file.path, DICOM_FRAME: image.frame},
        **dict(zip(GROUPING, (header.patient, header.study, header.series), strict=True)),
        **{field_name(keyword): value for keyword, value in header.values.items()},
    )


def _declare(dataset: fo.Dataset, rendered: list[Rendered]) -> None:
    """Fields that these files are the first to need."""
    import fiftyone as fo

    kinds: dict[type, Any] = {str: fo.StringField, int: fo.IntField, float: fo.FloatField}
    for name, kind in _own_fields().items():
        if not dataset.has_field(name):
            dataset.add_sample_field(name, kind)
    seen = {keyword for file in rendered if file.header is not None for keyword in file.header.values}
    for keyword in sorted(seen):
        name, plain = field_name(keyword), field_kind(keyword)
        if dataset.has_field(name):
            continue
        if plain is list:
            dataset.add_sample_field(name, fo.ListField, subfield=fo.FloatField)
        else:
            dataset.add_sample_field(name, kinds[plain])
