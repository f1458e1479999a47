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
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.io.fields import changing
from fiftyone_deepcluster.dataset.io.read_images import DICOM_FRAME, DICOM_PATH
from fiftyone_deepcluster.errors import ImagesError, InputError
from fiftyone_deepcluster.images.dicom.header import DicomHeader, field_kind, read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import fiftyone as fo

    from fiftyone_deepcluster.images.dicom.render import Rendered, Rendition

GROUPING = ("dicom_patient", "dicom_study", "dicom_series")
"""Fields that say which images belong together, from the widest to the narrowest."""

_SHOWN_REASONS = 10
_LOOKED_AT = 200  # files, if all of them are gone
_TRIED = 5  # files that a secret is tried on: one alone may have been replaced
_SHOWN_PLACES = 3


@dataclass
class DicomSummary:
    """What an import did.

    Attributes:
        imported: samples that were added.
        known: images that the dataset had already.
        restored: of these, images whose PNG was gone and was made again.
        lost: images whose PNG is gone still: their files, or with ``frames`` these images, were not asked for, or
            cannot be read.
        skipped: file (and frame) -> why it is not in the dataset.
        others: files in the folders that are not DICOM.
        later: files that show a slice later than at its start, where only that is wanted.
        looked_in: the places, where none of them holds a DICOM file; otherwise empty.
    """

    imported: int = 0
    known: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    others: int = 0
    later: int = 0
    looked_in: tuple[str, ...] = ()
    restored: int = 0
    lost: int = 0

    @property
    def nothing(self) -> bool:
        """Whether the dataset has none of the images, neither now nor from before."""
        return not self.imported and not self.known

    def __str__(self) -> str:
        again = f" ({self.restored} with a new PNG in place of a lost one)" if self.restored else ""
        imported = f"{self.imported} images imported, {self.known} known already{again}"
        lines = [f"{imported}, {len(self.skipped)} skipped"]
        if self.looked_in:
            lines[0] = f"no DICOM file was found in {_some(self.looked_in)}; {lines[0]}"
        if self.lost:
            lines[0] += (
                f", {self.lost} still without a PNG (import their files too, and frames='all' of them)"
            )
        if self.others:
            lines[0] += f", {self.others} files are not DICOM"
        if self.later:
            lines[0] += f", {self.later} are later in their recordings"
        shown = list(self.skipped.items())[:_SHOWN_REASONS]
        lines += [f"  {path}: {reason}" for path, reason in shown]
        if len(self.skipped) > len(shown):
            lines.append(f"  and {len(self.skipped) - len(shown)} more, all in .skipped")
        return "\n".join(lines)


def _some(places: tuple[str, ...]) -> str:
    more = len(places) - _SHOWN_PLACES
    return ", ".join(map(repr, places[:_SHOWN_PLACES])) + (f" and {more} more" if more > 0 else "")


def field_name(keyword: str) -> str:
    """``BodyPartExamined`` -> ``dicom_body_part_examined``."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", keyword)
    return "_".join(["dicom", *(word.lower() for word in words)])


def find_target(dataset: fo.Dataset | str, keywords: tuple[str, ...]) -> fo.Dataset | None:
    """The dataset to add to, checked; None where the name is new, see ``make_target``.

    Raises:
        InputError: it is no dataset and no name, or one that images cannot be added to.
    """
    import fiftyone as fo

    if isinstance(dataset, str):
        if not dataset.strip():
            raise InputError(f"dataset={dataset!r} is no name; give a FiftyOne dataset or a name for one")
        if not fo.dataset_exists(dataset):
            return None
        dataset = fo.load_dataset(dataset)
    if not isinstance(dataset, fo.Dataset):
        raise InputError(f"dataset is a {type(dataset).__name__}; give a FiftyOne dataset or a name for one")
    if dataset.deleted:
        raise InputError(f"the dataset {dataset.name!r} is deleted; give another, or a new name")
    if dataset.media_type not in (None, "image"):
        raise InputError(
            f"{dataset.name!r} holds media of type {dataset.media_type!r}; give a dataset of images, or a new name"
        )
    _check_fields(dataset, keywords)
    return dataset


def make_target(name: str) -> fo.Dataset:
    """A new dataset that lasts."""
    import fiftyone as fo

    try:
        return fo.Dataset(name, persistent=True)
    except ValueError as error:
        raise InputError(f"no dataset can be named {name!r} ({error}); give another name") from error


def _check_fields(dataset: fo.Dataset, keywords: tuple[str, ...]) -> None:
    """Raise InputError where a field that will be written is there already and of another kind."""
    import fiftyone as fo

    for name, (kind, subfield) in _fields(keywords).items():
        there = dataset.get_field(name)
        fits = there is None or isinstance(there, kind)
        if fits and subfield is not None and isinstance(there, fo.ListField):
            fits = there.field is None or isinstance(there.field, subfield)
        if not fits:
            way = "rename it first" if name in _fields(()) else "rename it first, or leave its keyword out"
            raise InputError(
                f"{dataset.name!r} has a field {name!r} of another kind ({there}); "
                f"{kind.__name__} is needed; {way}"
            )


def _fields(keywords: Iterable[str]) -> dict[str, tuple[type[fo.Field], type[fo.Field] | None]]:
    """Name -> kind, and kind of what a list holds: of the fields that every image has and those of keywords."""
    import fiftyone as fo

    kinds: dict[type, type[fo.Field]] = {
        str: fo.StringField, int: fo.IntField, float: fo.FloatField, list: fo.ListField,
    }  # fmt: skip
    own = {**dict.fromkeys((DICOM_PATH, *GROUPING), str), DICOM_FRAME: int}
    plain = own | {field_name(keyword): field_kind(keyword) for keyword in keywords}
    return {name: (kinds[kind], fo.FloatField if kind is list else None) for name, kind in plain.items()}


@dataclass
class KnownImages:
    """The images of DICOM files that a dataset has: path of the file -> number of the image -> ids of its samples.

    Attributes:
        shown: those with a PNG.
        lost: those that have a sample whose PNG is gone.
    """

    shown: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    lost: dict[str, dict[int, list[str]]] = field(default_factory=dict)

    @property
    def n_lost(self) -> int:
        """Samples whose PNG is gone."""
        return sum(len(ids) for frames in self.lost.values() for ids in frames.values())


def known_images(dataset: fo.Dataset) -> KnownImages:
    """What the dataset has already."""
    known = KnownImages()
    if not (dataset.has_field(DICOM_PATH) and dataset.has_field(DICOM_FRAME)):
        return known
    fields = ["id", "filepath", DICOM_PATH, DICOM_FRAME]
    for sample_id, png, path, number in zip(*dataset.values(fields), strict=True):
        if path is not None:
            group = known.lost if _is_gone(png) else known.shown
            group.setdefault(path, {}).setdefault(number or 0, []).append(sample_id)
    for path, frames in known.lost.items():
        for number in frames:
            known.shown.get(path, {}).pop(number, None)  # one of two samples of an image is reason enough
    return known


def _is_gone(png: str) -> bool:
    """Whether there is no such file, or an empty one. What cannot be looked at is not gone."""
    try:
        found = Path(png).stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return not stat.S_ISREG(found.st_mode) or not found.st_size


def hashed_by(dataset: fo.Dataset, key: bytes, paths: Sequence[str]) -> bool:
    """Whether a secret gives the hashes that the dataset has of its files; True where none of some can be read.

    Args:
        dataset: with images from DICOM.
        key: of the hashes.
        paths: of files whose images it has; a few are tried.
    """
    from fiftyone import ViewField

    tried = 0
    for header, path in ((_header(path, key), path) for path in paths[:_LOOKED_AT]):
        if tried == _TRIED:
            break
        if header is None:
            continue
        images = dataset.match(ViewField(DICOM_PATH) == path)
        hashes = zip(GROUPING, (header.patient, header.study, header.series), strict=True)
        pairs = [(own, images.distinct(name)) for name, own in hashes if own and dataset.has_field(name)]
        if any(own in theirs for own, theirs in pairs):
            return True
        tried += any(theirs for _, theirs in pairs)
    return not tried


def _header(path: str, key: bytes) -> DicomHeader | None:
    try:
        return read_header(path, (), key)
    except Exception:
        # Gone or damaged: pydicom raises anything.
        return None


def take_in(
    dataset: fo.Dataset,
    rendered: list[Rendered],
    lost: dict[str, dict[int, list[str]]],
    summary: DicomSummary,
) -> None:
    """Add the samples of some files, give those with a lost PNG their new one, and count."""
    samples = []
    for file in rendered:
        summary.known += file.known
        for frame, reason in file.failed.items():
            summary.skipped[file.path if frame < 0 else f"{file.path} (frame {frame})"] = reason
        without = lost.get(file.path, {})
        samples += [_sample(file, image) for image in file.images if image.frame not in without]
        made = {name: image for image in file.images for name in without.get(image.frame, ())}
        _restore(dataset, made, summary)
    if samples:
        _declare(dataset, rendered)
        dataset.add_samples(samples, dynamic=False, progress=False)
        summary.imported += len(samples)


def _restore(dataset: fo.Dataset, images: dict[str, Rendition], summary: DicomSummary) -> None:
    """Let samples show a new PNG; all else of them stays."""
    if not images:
        return
    dataset.set_values("filepath", {name: image.png for name, image in images.items()}, key_field="id")
    dataset.set_values("metadata", {name: _metadata(image) for name, image in images.items()}, key_field="id")
    summary.known += len(images)
    summary.restored += len(images)


def _sample(file: Rendered, image: Rendition) -> fo.Sample:
    import fiftyone as fo

    header = file.header
    if header is None:
        raise ImagesError(f"{file.path} was rendered without a header")
    return fo.Sample(
        filepath=image.png,
        metadata=_metadata(image),
        **{DICOM_PATH: file.path, DICOM_FRAME: image.frame},
        **dict(zip(GROUPING, (header.patient, header.study, header.series), strict=True)),
        **{field_name(keyword): value for keyword, value in header.values.items()},
    )


def _metadata(image: Rendition) -> fo.ImageMetadata:
    import fiftyone as fo

    return fo.ImageMetadata(
        size_bytes=image.size_bytes,
        mime_type="image/png",
        width=image.width,
        height=image.height,
        num_channels=image.channels,
    )


def _declare(dataset: fo.Dataset, rendered: list[Rendered]) -> None:
    """Fields that these files are the first to need."""
    seen = {keyword for file in rendered if file.header is not None for keyword in file.header.values}
    wanted = _fields(sorted(seen))
    if all(map(dataset.has_field, wanted)):
        return
    with changing(dataset):
        for name, (kind, subfield) in wanted.items():
            if not dataset.has_field(name):
                dataset.add_sample_field(name, kind, subfield=subfield)
