"""Import DICOM files as samples: a PNG for display, the original file for training, no patient identities.

``samples`` lists the fields.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator

from fiftyone_deepcluster.core.given_values import GivenValues
from fiftyone_deepcluster.core.option_errors import explain
from fiftyone_deepcluster.core.progress import check_observer
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.dataset.dicom.samples import (
    DicomSummary,
    find_target,
    hashed_by,
    known_images,
    make_target,
    take_in,
)
from fiftyone_deepcluster.dataset.runs import lock
from fiftyone_deepcluster.dataset.runs.database import database_needed
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
# Files per job of a worker.
_JOB_FILES = 8
# With fewer files, starting processes takes longer than they save.
_FEW = 64


class DicomOptions(GivenValues):
    """Options of the DICOM import."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: Literal["all", "first", "start"] = Field(
        "all",
        description="all: every image becomes a sample; first: only the first image of a multi-frame file; start: "
        "also only the first image of each slice of a recording stored in several files.",
    )
    keywords: tuple[str, ...] = Field(
        SAFE_KEYWORDS,
        description="DICOM keywords to read into fields; the default keywords contain no patient identities.",
    )
    folder: Path | None = Field(
        None,
        description="Folder for the PNG files; empty: a folder named after the dataset in FiftyOne's default folder.",
    )
    side: int = Field(1024, ge=16, le=16_384, description="Maximum length of the longer PNG side, in pixels.")
    key: str | None = Field(
        None,
        min_length=16,
        repr=False,
        description="Secret key of the hashes; with the same key, two datasets have the same ids. Empty: random.",
    )
    workers: int | None = Field(
        None, ge=1, description="Number of worker processes; empty: one per core, at most 16."
    )

    @field_validator("folder", mode="before")
    @classmethod
    def _blank_is_none(cls, folder: object) -> object:
        """Treat an empty string as None; otherwise it would mean the current working directory."""
        return None if isinstance(folder, str) and not folder.strip() else folder


@dataclass(frozen=True)
class Step:
    """Progress of an import.

    Attributes:
        done: number of files processed.
        total: number of files in all.
        summary: summary so far; the same object in every step.
    """

    done: int
    total: int
    summary: DicomSummary


@database_needed("repeat the call, which skips the files that were added")
def add_dicom(
    files: Files,
    dataset: fo.Dataset | str,
    *,
    observer: Observer | None = None,
    progress: bool = True,
    **options: Any,
) -> DicomSummary:
    """Add the images of DICOM files to a dataset.

    DICOM files are recognized by content. Unreadable files are reported and skipped. Images that the dataset
    already has (same file, same frame) are unchanged, so repeating the call adds new images only; a missing or
    empty PNG is created again, with the options of this call.

    Args:
        files: a folder, which is searched recursively; a file; a DICOMDIR; or a list of these.
        dataset: a dataset of images, or the name of one, which is created if it does not exist.
        observer: receives progress events; can cancel, which keeps the samples imported so far.
        progress: show a progress bar on stderr if no observer is given.
        **options: see ``DicomOptions``: ``frames``, ``keywords``, ``folder``, ``side``, ``key``, ``workers``.

    Returns:
        What was imported, and what was skipped and why; can be printed.

    Raises:
        InputError: invalid options, paths or dataset.
        RunLockedError: another process is importing into the dataset.
        CancelledError: the observer cancelled the import.
    """
    from tqdm.auto import tqdm

    check_observer(observer)
    steps = import_steps(files, dataset, parse_dicom_options(options))
    first = next(steps)
    summary, done, announced = first.summary, 0, -1
    hidden = observer is not None or not progress or not first.total
    with tqdm(desc="import", unit="file", total=first.total, disable=hidden) as bar:
        for step in chain([first], steps):
            if observer is not None and step.total != announced:
                observer.phase("import", step.total)
                announced = step.total
            bar.total = step.total  # decreases once the files excluded by frames="start" are known
            bar.update(step.done - done)
            if observer is not None:
                observer.advance(step.done - done)
                if observer.cancelled():
                    steps.close()  # type: ignore[attr-defined]
                    raise CancelledError(
                        f"cancelled; {_so_far(step.summary.imported)} kept; to continue, repeat the call"
                    )
            summary, done = step.summary, step.done
    return summary


def _so_far(n: int) -> str:
    return counted(n, "image imported so far is", "images imported so far are")


def parse_dicom_options(values: dict[str, Any]) -> DicomOptions:
    """Validate options.

    Raises:
        OptionsError: an unknown option, or a value out of range.
        InputError: an unknown DICOM keyword.
    """
    try:
        options = DicomOptions.model_validate(values)
    except ValidationError as error:
        raise OptionsError(explain(error, "add_dicom", DicomOptions)) from error
    check_keywords(options.keywords)
    return options


def import_steps(files: Files, dataset: fo.Dataset | str, options: DicomOptions) -> Iterator[Step]:
    """Import step by step; closing the iterator stops the import and keeps the samples imported so far.

    Raises:
        InputError: an invalid path or dataset; raised before anything is written.
        RunLockedError: another process is importing into the dataset.
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
    is_new = target is None
    if target is None:
        target = make_target(str(dataset))
    with _import_lock(target) as held:
        try:
            target.reload()
            yield from _import(found, target, options, summary, held)
        finally:
            if is_new and not summary.imported and not len(target):
                target.delete()  # leave no empty dataset behind


def _import_lock(target: fo.Dataset) -> lock.RunLock:
    """Acquire the lock for imports into a dataset."""
    try:
        return lock.acquire(target, _LOCK)
    except RunLockedError:
        raise RunLockedError(
            f"{lock.holder(target, _LOCK) or 'another process'} is importing images into {target.name!r}; wait "
            "until it has finished, then repeat the call to add the missing images"
        ) from None


def _import(
    found: Found, target: fo.Dataset, options: DicomOptions, summary: DicomSummary, held: lock.RunLock
) -> Iterator[Step]:
    from fiftyone_deepcluster.images.cache.worker_pool import run_jobs

    if options.frames == "start":
        yield from _keep_starts(found, options, summary)
    known = known_images(target)
    _check_secret(target, known, options)
    jobs = _jobs(found, target, known, options)
    done, total = 0, len(found.files)
    results = run_jobs(jobs, workers=options.workers, processes_from=_FEW)
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
    """Pass results through; convert write errors into an ImagesError that names the folder."""
    try:
        yield from results
    except OSError as error:
        raise ImagesError(
            f"PNG files cannot be written to {folder}: {error.strerror or error}; give a writable folder"
        ) from error


def _keep_starts(found: Found, options: DicomOptions, summary: DicomSummary) -> Iterator[Step]:
    """Keep only those files in ``found`` that show a slice at the start of its recording."""
    from fiftyone_deepcluster.images.cache.worker_pool import run_jobs
    from fiftyone_deepcluster.images.dicom.cine import MomentJob, at_start

    files = found.files
    jobs = [MomentJob(tuple(files[at : at + _JOB_FILES])) for at in range(0, len(files), _JOB_FILES)]
    moments: list[tuple[str, Any]] = []
    for result in run_jobs(jobs, workers=options.workers, processes_from=_FEW):
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
    """Secret key of the dataset's hashes.

    It is kept in FiftyOne's execution store, not in the dataset, so that an export does not contain it.
    """
    if options.key is not None:
        return options.key.encode()
    store = run_store(dataset)
    store.set_if_absent(_KEY_NAME, secrets.token_hex(_KEY_BYTES))
    return bytes.fromhex(store.get(_KEY_NAME))


def _check_secret(dataset: fo.Dataset, known: KnownImages, options: DicomOptions) -> None:
    """Raise InputError if existing images were hashed with a different secret, or with one that is not available.

    With a different secret, new images of a known patient would get another patient id. The secret is checked on
    some of the known files; if none of them can be read, it is accepted.
    """
    if not (known.shown or known.lost):
        return
    if options.key is None and run_store(dataset).get(_KEY_NAME) is None:
        raise InputError(
            f"{dataset.name!r} has DICOM images, but not the secret of their patient hashes: it was cloned or imported "
            "from elsewhere. With a new secret, the same patients would get different ids. Import into the original "
            "dataset and clone that; or, if the first import used a key, give that key"
        )
    if not hashed_by(dataset, _key(dataset, options), [*known.shown, *known.lost]):
        secret = "a key" if options.key is None else "no key, or another one"
        raise InputError(
            f"the images in {dataset.name!r} were hashed with another secret: their import used {secret}. One patient "
            "would get two ids; give the key of the first import, or import into another dataset"
        )


def _folder(dataset: fo.Dataset, options: DicomOptions) -> Path:
    import fiftyone as fo

    return _absolute(options.folder or Path(fo.config.default_dataset_dir) / dataset.slug / "dicom")


def _check_folder(folder: Path) -> None:
    """Create the folder of the PNG files, so that errors are raised before a dataset is created."""
    try:
        _absolute(folder).mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:  # also an unknown user, or an invalid name
        reason = getattr(error, "strerror", None) or error
        raise ImagesError(
            f"folder={str(folder)!r}: PNG files cannot be written there ({reason}); give a writable "
            "folder, or none for FiftyOne's default folder"
        ) from error


def _absolute(folder: Path) -> Path:
    return folder.expanduser().absolute()
