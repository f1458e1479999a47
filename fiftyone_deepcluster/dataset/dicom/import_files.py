"""DICOM files become samples: a PNG to look at, the original for the networks, and nobody's name.

``samples`` lists the fields.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fiftyone_deepcluster.core.option_errors import explain
from fiftyone_deepcluster.core.progress import check_observer
from fiftyone_deepcluster.dataset.dicom.samples import (
    DicomSummary,
    find_target,
    hashed_by,
    known_images,
    make_target,
    take_in,
)
from fiftyone_deepcluster.dataset.runs import lock
from fiftyone_deepcluster.dataset.runs.kv import run_store
from fiftyone_deepcluster.errors import CancelledError, ImagesError, InputError, OptionsError, RunLockedError
from fiftyone_deepcluster.images.dicom.header import SAFE_KEYWORDS, check_keywords

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.dicom.samples import KnownImages
    from fiftyone_deepcluster.images.dicom.find import Files, Found
    from fiftyone_deepcluster.images.dicom.render import RenderJob

_LOCK = "import-dicom"
_KEY_NAME = "dicom:key"
_KEY_BYTES = 32
# Files told to a worker at once.
_JOB_FILES = 8
# Below this many files starting processes takes longer than they save.
_FEW = 64


class DicomOptions(BaseModel):
    """How DICOM files are imported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: Literal["all", "first", "start"] = Field(
        "all",
        description="all: every image is a sample; first: of a file with several only the first; start: also of "
        "a recording in many files only the first image of every slice.",
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

    @field_validator("folder", mode="before")
    @classmethod
    def _none_is_not_here(cls, folder: object) -> object:
        """An empty text would otherwise be the folder the process happens to be in."""
        return None if isinstance(folder, str) and not folder.strip() else folder


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
    that the dataset has already (same file, same frame) are left alone, so the same call adds what is new; only where
    the PNG of one is gone (or empty) it is made again, by the options of this call.

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

    check_observer(observer)
    steps = import_steps(files, dataset, parse_dicom_options(options))
    summary, done, announced = DicomSummary(), 0, -1
    with tqdm(desc="import", unit="file", disable=observer is not None or not progress) as bar:
        for step in steps:
            if observer is not None and step.total != announced:
                observer.phase("import", step.total)
                announced = step.total
            bar.total = step.total  # fewer once those that are not wanted are known
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
    from fiftyone_deepcluster.images.dicom.find import check_paths, find_dicom

    places = check_paths(files)
    target = find_target(dataset, options.keywords)
    found = find_dicom(places)
    summary = DicomSummary(0, 0, dict(found.skipped), found.others)
    summary.looked_in = () if found.files else tuple(places)
    yield Step(0, len(found.files), summary)
    if not found.files:
        return
    if options.folder is not None:
        _check_folder(options.folder)
    made = target is None
    if target is None:
        target = make_target(str(dataset))
    with _alone(target) as held:
        try:
            target.reload()
            yield from _import(found, target, options, summary, held)
        finally:
            if made and not summary.imported and not len(target):
                target.delete()  # nobody asked for an empty one


def _alone(target: fo.Dataset) -> lock.RunLock:
    """The lock of imports into a dataset."""
    try:
        return lock.acquire(target, _LOCK)
    except RunLockedError as error:
        raise RunLockedError(
            f"images are imported into {target.name!r} by {lock.holder(target, _LOCK) or 'another process'}; wait "
            "until it is done, and the same call adds what is then missing"
        ) from error


def _import(
    found: Found, target: fo.Dataset, options: DicomOptions, summary: DicomSummary, held: lock.RunLock
) -> Iterator[Step]:
    from fiftyone_deepcluster.images.cache.worker_pool import carry_out

    if options.frames == "start":
        yield from _keep_starts(found, options, summary)
    known = known_images(target)
    _check_secret(target, known, options)
    jobs = _jobs(found, target, known, options)
    done, total = 0, len(found.files)
    results = carry_out(jobs, workers=options.workers, processes_from=_FEW)
    try:
        for result in _written(results, jobs[0].render.folder):
            if result is not None:
                held.check()
                take_in(target, result[1], known.lost, summary)
                done += len(result[0])
            yield Step(done, total, summary)
    finally:
        results.close()  # type: ignore[attr-defined]
    summary.lost = known.n_lost - summary.restored
    yield Step(done, total, summary)


def _written(results: Iterator[Any], folder: str) -> Iterator[Any]:
    """The same results; that one cannot be written is said with the folder."""
    try:
        yield from results
    except OSError as error:
        raise ImagesError(f"PNG files cannot be written to {folder}: {error.strerror or error}") from error


def _keep_starts(found: Found, options: DicomOptions, summary: DicomSummary) -> Iterator[Step]:
    """Leave only those files in ``found`` that show a slice at its start."""
    from fiftyone_deepcluster.images.cache.worker_pool import carry_out
    from fiftyone_deepcluster.images.dicom.cine import MomentJob, at_start

    files = found.files
    jobs = [MomentJob(tuple(files[at : at + _JOB_FILES])) for at in range(0, len(files), _JOB_FILES)]
    moments: list[tuple[str, Any]] = []
    for result in carry_out(jobs, workers=options.workers, processes_from=_FEW):
        if result is not None:
            moments += zip(result[0].paths, result[1], strict=False)
        yield Step(0, len(files), summary)
    kept = at_start(moments)
    found.files = [path for path in files if path in kept]
    summary.later = len(files) - len(found.files)


def _jobs(found: Found, dataset: fo.Dataset, known: KnownImages, options: DicomOptions) -> list[RenderJob]:
    from fiftyone_deepcluster.images.dicom.render import Render, RenderJob

    render = Render(
        frames="all" if options.frames == "all" else "first",
        keywords=options.keywords,
        key=_key(dataset, options).hex(),
        folder=str(_folder(dataset, options)),
        side=options.side,
    )
    chunks = [found.files[at : at + _JOB_FILES] for at in range(0, len(found.files), _JOB_FILES)]
    return [
        RenderJob(tuple(paths), tuple(tuple(known.shown.get(path, ())) for path in paths), render)
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


def _check_secret(dataset: fo.Dataset, known: KnownImages, options: DicomOptions) -> None:
    """Raise InputError where images are there and were hashed by another secret, or by one that is not here.

    By another secret the next images of a patient would be those of somebody else. A secret is tried on some of the
    files that are known; where none of them can be read, it is believed.
    """
    if not (known.shown or known.lost):
        return
    if options.key is None and run_store(dataset).get(_KEY_NAME) is None:
        raise InputError(
            f"{dataset.name!r} holds images from DICOM without the secret that their patients were hashed by: it is a "
            "clone, or came from elsewhere. With a new one the next images would seem to be of other patients. Import "
            "into the dataset that it was made from, and clone that; or give key, if the first import had one"
        )
    if not hashed_by(dataset, _key(dataset, options), [*known.shown, *known.lost]):
        secret = "a key" if options.key is None else "none, or another key"
        raise InputError(
            f"the images in {dataset.name!r} were hashed by another secret: their import had {secret}. By two secrets "
            "one patient would seem to be two; give the key of the first import, or import into another dataset"
        )


def _folder(dataset: fo.Dataset, options: DicomOptions) -> Path:
    import fiftyone as fo

    return _absolute(options.folder or Path(fo.config.default_dataset_dir) / dataset.slug / "dicom")


def _check_folder(folder: Path) -> None:
    """Make the folder of the PNG files, so that what cannot be is said before there is a dataset."""
    try:
        _absolute(folder).mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:  # also no such user, and no such name
        reason = getattr(error, "strerror", None) or error
        raise ImagesError(
            f"folder={str(folder)!r}: PNG files cannot be written there ({reason}); give a folder "
            "that may be written to, or none for FiftyOne's own"
        ) from error


def _absolute(folder: Path) -> Path:
    return folder.expanduser().absolute()
