"""DICOM files become samples: a PNG to look at, the original for the networks, and nobody's name.

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
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fiftyone_deepcluster.dataset import lock
from fiftyone_deepcluster.dataset.source import DICOM_FRAME, DICOM_PATH
from fiftyone_deepcluster.dataset.store import run_store
from fiftyone_deepcluster.errors import CancelledError, ImagesError, InputError, OptionsError
from fiftyone_deepcluster.images.dicom_header import SAFE_KEYWORDS, check_keywords, field_kind
from fiftyone_deepcluster.registry import explain

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.images.dicom_files import Files, Found
    from fiftyone_deepcluster.images.renditions import Rendered, RenderJob, Rendition
    from fiftyone_deepcluster.observer import Observer

GROUPING = ("dicom_patient", "dicom_study", "dicom_series")
"""Fields that say which images belong together, from the widest to the narrowest."""

_LOCK = "import-dicom"
_KEY_NAME = "dicom:key"
_KEY_BYTES = 32
# Files told to a worker at once.
_JOB_FILES = 8
# Below this many files starting processes takes longer than they save.
_FEW = 64
_SHOWN_REASONS = 10


class DicomOptions(BaseModel):
    """How DICOM files are imported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: Literal["all", "first"] = Field(
        "all", description="Of a file with several images: every one is a sample, or only the first."
    )
    keywords: tuple[str, ...] = Field(
        SAFE_KEYWORDS,
        description="DICOM keywords to read into fields; the default ones hold no identities.",
    )
    folder: Path | None = Field(
        None, description="Where the PNG files go; empty: a folder of the dataset's name in FiftyOne's own."
    )
    side: int = Field(1024, ge=16, le=16_384, description="Longer side of the PNG files in pixels, at most.")
    key: str | None = Field(
        None,
        min_length=16,
        repr=False,
        description="Secret of the hashes; the same on two datasets gives the same ids. Empty: a random one.",
    )
    workers: int | None = Field(None, ge=1, description="Processes; empty: one a core, 16 at most.")


@dataclass
class DicomSummary:
    """What an import did.

    Attributes:
        imported: samples that were added.
        known: images that the dataset had already.
        skipped: file (and frame) -> why it is not in the dataset.
        others: files in the folders that are not DICOM.
    """

    imported: int = 0
    known: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    others: int = 0

    def __str__(self) -> str:
        lines = [f"{self.imported} images imported, {self.known} known already, {len(self.skipped)} skipped"]
        if self.others:
            lines[0] += f", {self.others} files are not DICOM"
        shown = list(self.skipped.items())[:_SHOWN_REASONS]
        lines += [f"  {path}: {reason}" for path, reason in shown]
        if len(self.skipped) > len(shown):
            lines.append(f"  and {len(self.skipped) - len(shown)} more, all in .skipped")
        return "\n".join(lines)


@dataclass(frozen=True)
class Step:
    """How far an import is.

    Attributes:
        done: files dealt with.
        total: files there are.
        summary: so far; the same object in every step.
    """

    done: int
    total: int
    summary: DicomSummary


def add_dicom(
    files: Files,
    dataset: fo.Dataset | str,
    *,
    observer: Observer | None = None,
    progress: bool = True,
    **options: Any,
) -> DicomSummary:
    """Add the images of DICOM files to a dataset.

    What is DICOM is told by content. A file that cannot be read is reported and the rest goes on. Images
    that the dataset has already (same file, same frame) are left alone, so the same call adds what is new.

    Args:
        files: a folder, which is walked; a file; a DICOMDIR; or a list of such.
        dataset: a dataset of images, or the name of one, which is made where there is none.
        observer: told of progress; may cancel, which keeps what was imported.
        progress: a progress bar on stderr where no observer is given.
        **options: see ``DicomOptions``: ``frames``, ``keywords``, ``folder``, ``side``, ``key``, ``workers``.

    Returns:
        What was imported, and what was not, with reasons; print it.

    Raises:
        InputError: options, a path or a dataset that cannot work.
        RunLockedError: another process imports into the dataset.
        CancelledError: the observer asked to stop.
    """
    from tqdm.auto import tqdm

    steps = import_steps(files, dataset, parse_dicom_options(options))
    summary, done = DicomSummary(), 0
    with tqdm(desc="import", unit="file", disable=observer is not None or not progress) as bar:
        for step in steps:
            if observer is not None and not done:
                observer.phase("import", step.total)
            bar.total = step.total
            bar.update(step.done - done)
            if observer is not None:
                observer.advance(step.done - done)
                if observer.cancelled():
                    steps.close()  # type: ignore[attr-defined]
                    raise CancelledError(
                        f"cancelled; the {step.summary.imported} images imported so far stay, and the same "
                        "call goes on"
                    )
            summary, done = step.summary, step.done
    return summary


def parse_dicom_options(values: dict[str, Any]) -> DicomOptions:
    """Checked options.

    Raises:
        OptionsError: an unknown option, or a value out of range.
        InputError: a keyword that is none.
    """
    try:
        options = DicomOptions.model_validate(values)
    except ValidationError as error:
        raise OptionsError(explain(error, "add_dicom", DicomOptions)) from error
    check_keywords(options.keywords)
    return options


def import_steps(files: Files, dataset: fo.Dataset | str, options: DicomOptions) -> Iterator[Step]:
    """The import itself, step by step; closing the iterator stops it and keeps what was imported.

    Raises:
        InputError: a path or a dataset that cannot work, before anything is written.
        RunLockedError: another process imports into the dataset.
        ImagesError: PNG files cannot be written.
    """
    from fiftyone_deepcluster.images.crew import carry_out
    from fiftyone_deepcluster.images.dicom_files import find_dicom

    found = find_dicom(files)
    target = _target(dataset)
    with lock.acquire(target, _LOCK) as held:
        target.reload()
        jobs = _jobs(found, target, options)
        summary = DicomSummary(0, 0, dict(found.skipped), found.others)
        done, total = 0, len(found.files)
        yield Step(done, total, summary)
        results = carry_out(jobs, workers=options.workers, processes_from=_FEW)
        try:
            for result in results:
                if result is not None:
                    held.check()
                    _take_in(target, result[0].rendered(result[1]), summary)
                    done += len(result[0])
                yield Step(done, total, summary)
        except OSError as error:
            raise ImagesError(
                f"PNG files cannot be written to {jobs[0].render.folder}: {error.strerror}"
            ) from error
        finally:
            results.close()  # type: ignore[attr-defined]


def field_name(keyword: str) -> str:
    """``BodyPartExamined`` -> ``dicom_body_part_examined``."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", keyword)
    return "_".join(["dicom", *(word.lower() for word in words)])


def _target(dataset: fo.Dataset | str) -> fo.Dataset:
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


def _jobs(found: Found, dataset: fo.Dataset, options: DicomOptions) -> list[RenderJob]:
    from fiftyone_deepcluster.images.renditions import Render, RenderJob

    render = Render(
        frames=options.frames,
        keywords=options.keywords,
        key=_key(dataset, options).hex(),
        folder=str(_folder(dataset, options)),
        side=options.side,
    )
    known = _known_frames(dataset)
    chunks = [found.files[at : at + _JOB_FILES] for at in range(0, len(found.files), _JOB_FILES)]
    return [
        RenderJob(tuple(paths), tuple(tuple(known.get(path, ())) for path in paths), render)
        for paths in chunks
    ]


def _key(dataset: fo.Dataset, options: DicomOptions) -> bytes:
    """The secret of the dataset's hashes.

    It lies in FiftyOne's store and not in the dataset, so that exporting the dataset does not give it away.
    """
    if options.key is not None:
        return options.key.encode()
    store = run_store(dataset)
    store.set_if_absent(_KEY_NAME, secrets.token_hex(_KEY_BYTES))
    return bytes.fromhex(store.get(_KEY_NAME))


def _folder(dataset: fo.Dataset, options: DicomOptions) -> Path:
    import fiftyone as fo

    folder = options.folder or Path(fo.config.default_dataset_dir) / dataset.slug / "dicom"
    return folder.expanduser().absolute()


def _known_frames(dataset: fo.Dataset) -> dict[str, list[int]]:
    """DICOM file -> numbers of its images that the dataset has."""
    known: dict[str, list[int]] = {}
    if dataset.has_field(DICOM_PATH) and dataset.has_field(DICOM_FRAME):
        for path, frame in zip(*dataset.values([DICOM_PATH, DICOM_FRAME]), strict=True):
            if path is not None:
                known.setdefault(path, []).append(frame or 0)
    return known


def _take_in(dataset: fo.Dataset, rendered: list[Rendered], summary: DicomSummary) -> None:
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
