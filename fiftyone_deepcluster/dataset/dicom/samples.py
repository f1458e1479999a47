"""Samples created from DICOM files, and their fields.

===================== ======= ==============================================================================
field                 type    meaning
===================== ======= ==============================================================================
``filepath``                  PNG with the default display settings of the image, for the App
``dicom_path``        string  path of the DICOM file, which ``cluster`` reads instead of the PNG
``dicom_frame``       int     index of the image in that file, from 0
``dicom_patient``     string  keyed hash of the patient id, to keep the images of a patient together
``dicom_study``       string  keyed hash of the study UID
``dicom_series``      string  keyed hash of the series UID
``dicom_modality`` …          the elements selected by ``keywords``, one field each
===================== ======= ==============================================================================

File paths are stored unchanged, including patient names in folder or file names. Text burned into the pixels is
not removed (``dicom_burned_in_annotation`` is YES in files that declare it).
"""

from __future__ import annotations

import re
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.dataset.io.fields import changing
from fiftyone_deepcluster.dataset.io.read_images import DICOM_FRAME, DICOM_PATH, DICOM_PREFIX
from fiftyone_deepcluster.errors import ImagesError, InputError
from fiftyone_deepcluster.images.dicom.header import DicomHeader, field_kind, read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import fiftyone as fo

    from fiftyone_deepcluster.images.dicom.render import Rendered, Rendition

GROUPING = ("dicom_patient", "dicom_study", "dicom_series")
"""Fields that group images, from the widest to the narrowest."""

_SHOWN_REASONS = 10
_LOOKED_AT = 200  # maximum number of files opened to check a secret
_TRIED = 5  # files that a secret is checked on: a single file may have been replaced
_SHOWN_PLACES = 3


@dataclass
class DicomSummary:
    """Result of an import.

    Attributes:
        imported: number of samples added.
        known: number of images that the dataset already had.
        restored: how many of the known images had no PNG and got a new one.
        lost: number of images that still have no PNG: their files or frames were not part of this import, or cannot
            be read.
        skipped: file (and frame) -> reason why it is not in the dataset.
        others: number of files in the folders that are not DICOM.
        later: with ``frames="start"``, number of files that show a later moment of a recording.
        looked_in: the paths searched, if they hold no DICOM file; otherwise empty.
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
        """Whether the dataset has none of the images."""
        return not self.imported and not self.known

    def __str__(self) -> str:
        again = f" ({self.restored:,} with a new PNG for a missing one)" if self.restored else ""
        imported = f"{counted(self.imported, 'image')} imported, {self.known:,} known already{again}"
        lines = [f"{imported}, {len(self.skipped):,} skipped"]
        if self.looked_in:
            lines[0] = f"no DICOM file was found in {_some(self.looked_in)}; {lines[0]}"
        if self.lost:
            lines[0] += f", {self.lost:,} still without a PNG (import their files as well, with frames='all')"
        if self.others:
            lines[0] += f", {counted(self.others, 'file is', 'files are')} not DICOM"
        if self.later:
            lines[0] += f", {self.later:,} not at the start of a recording"
        shown = list(self.skipped.items())[:_SHOWN_REASONS]
        lines += [f"  {path}: {reason}" for path, reason in shown]
        if len(self.skipped) > len(shown):
            lines.append(f"  and {len(self.skipped) - len(shown):,} more, all in .skipped")
        return "\n".join(lines)


def _some(places: tuple[str, ...]) -> str:
    more = len(places) - _SHOWN_PLACES
    return ", ".join(map(repr, places[:_SHOWN_PLACES])) + (f" and {more:,} more" if more > 0 else "")


def field_name(keyword: str) -> str:
    """``BodyPartExamined`` -> ``dicom_body_part_examined``."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", keyword)
    return DICOM_PREFIX + "_".join(word.lower() for word in words)


def find_target(dataset: fo.Dataset | str, keywords: tuple[str, ...]) -> fo.Dataset | None:
    """Return the dataset to add to, validated; None if the name is new, see ``make_target``.

    Raises:
        InputError: neither a dataset nor a name, or a dataset that images cannot be added to.
    """
    import fiftyone as fo

    if isinstance(dataset, str):
        if not dataset.strip():
            raise InputError(
                f"dataset={short(dataset)} is not a name; give a FiftyOne dataset or a dataset name"
            )
        if not fo.dataset_exists(dataset):
            _check_new_name(dataset)
            return None
        dataset = fo.load_dataset(dataset)
    if not isinstance(dataset, fo.Dataset):
        raise InputError(f"dataset is a {type(dataset).__name__}; give a FiftyOne dataset or a dataset name")
    if dataset.deleted:
        raise InputError(f"the dataset {dataset.name!r} was deleted; give another dataset, or a new name")
    if dataset.media_type not in (None, "image"):
        raise InputError(
            f"{dataset.name!r} has media of type {dataset.media_type!r}; give a dataset of images, or a new name"
        )
    _check_fields(dataset, keywords)
    return dataset


def _check_new_name(name: str) -> None:
    """Raise InputError unless a new dataset can have the name, before files are searched."""
    from fiftyone.core.dataset import _validate_dataset_name

    with _valid_name(name):
        _validate_dataset_name(name)


def make_target(name: str) -> fo.Dataset:
    """Create a persistent dataset."""
    import fiftyone as fo

    with _valid_name(name):
        return fo.Dataset(name, persistent=True)


@contextmanager
def _valid_name(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise InputError(f"{name!r} is not a valid dataset name ({error}); give another name") from error


def _check_fields(dataset: fo.Dataset, keywords: tuple[str, ...]) -> None:
    """Raise InputError if a field that will be written already exists with another type."""
    import fiftyone as fo

    for name, (kind, subfield) in _fields(keywords).items():
        there = dataset.get_field(name)
        fits = there is None or isinstance(there, kind)
        if fits and subfield is not None and isinstance(there, fo.ListField):
            fits = there.field is None or isinstance(there.field, subfield)
        if not fits:
            way = "rename it first" if name in _fields(()) else "rename it first, or omit its keyword"
            raise InputError(
                f"{dataset.name!r} has a field {name!r} of another type ({there}); "
                f"{kind.__name__} is needed; {way}"
            )


def _fields(keywords: Iterable[str]) -> dict[str, tuple[type[fo.Field], type[fo.Field] | None]]:
    """Name -> (field type, element type of lists) of the fields of every image and of the keywords."""
    import fiftyone as fo

    kinds: dict[type, type[fo.Field]] = {
        str: fo.StringField, int: fo.IntField, float: fo.FloatField, list: fo.ListField,
    }  # fmt: skip
    own = {**dict.fromkeys((DICOM_PATH, *GROUPING), str), DICOM_FRAME: int}
    plain = own | {field_name(keyword): field_kind(keyword) for keyword in keywords}
    return {name: (kinds[kind], fo.FloatField if kind is list else None) for name, kind in plain.items()}


@dataclass
class KnownImages:
    """Images of DICOM files in a dataset: path of the file -> frame index -> sample ids.

    Attributes:
        shown: images with a PNG.
        lost: images with a sample whose PNG is missing.
    """

    shown: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    lost: dict[str, dict[int, list[str]]] = field(default_factory=dict)

    @property
    def n_lost(self) -> int:
        """Number of samples whose PNG is missing."""
        return sum(len(ids) for frames in self.lost.values() for ids in frames.values())


def known_images(dataset: fo.Dataset) -> KnownImages:
    """Images of DICOM files that the dataset already has."""
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
            known.shown.get(path, {}).pop(number, None)  # an image is lost if any of its samples is
    return known


def _is_gone(png: str) -> bool:
    """Whether the file is missing or empty. A file that cannot be accessed counts as present."""
    try:
        found = Path(png).stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return not stat.S_ISREG(found.st_mode) or not found.st_size


def hashed_by(dataset: fo.Dataset, key: bytes, paths: Sequence[str]) -> bool:
    """Whether a secret reproduces the hashes in the dataset; True if none of the files tried can be read.

    Args:
        dataset: dataset with images from DICOM.
        key: secret key of the hashes.
        paths: paths of files whose images are in the dataset; a few of them are tried.
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
        # Missing or damaged file: pydicom can raise any exception.
        return None


def take_in(
    dataset: fo.Dataset,
    rendered: list[Rendered],
    lost: dict[str, dict[int, list[str]]],
    summary: DicomSummary,
) -> None:
    """Add the samples of some files, replace missing PNGs, and update the summary."""
    samples = []
    for file in rendered:
        summary.known += file.known
        for frame, reason in file.failed.items():
            summary.skipped[file.path if frame < 0 else f"{file.path} (frame {frame})"] = reason
        without = lost.get(file.path, {})
        samples += [_sample(file, image) for image in file.images if image.frame not in without]
        restored = {name: image for image in file.images for name in without.get(image.frame, ())}
        _restore(dataset, restored, summary)
    if samples:
        _declare(dataset, rendered)
        dataset.add_samples(samples, dynamic=False, progress=False)
        summary.imported += len(samples)


def _restore(dataset: fo.Dataset, images: dict[str, Rendition], summary: DicomSummary) -> None:
    """Set the new PNG of samples; their other values are kept."""
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
    """Declare the fields of these files that the dataset does not have yet."""
    seen = {keyword for file in rendered if file.header is not None for keyword in file.header.values}
    wanted = _fields(sorted(seen))
    if all(map(dataset.has_field, wanted)):
        return
    with changing(dataset):
        for name, (kind, subfield) in wanted.items():
            if not dataset.has_field(name):
                dataset.add_sample_field(name, kind, subfield=subfield)
