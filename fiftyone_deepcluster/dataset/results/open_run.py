"""Load the images and the network of a stored run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.words import none_of
from fiftyone_deepcluster.dataset.io.read_fields import read_values
from fiftyone_deepcluster.dataset.io.read_images import all_images, collect_images, media_field_of
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.dataset.review.edit_lock import hold
from fiftyone_deepcluster.dataset.runs import own_files, run_files, storage
from fiftyone_deepcluster.dataset.runs.given_weights import check_weights, lost_weights
from fiftyone_deepcluster.dataset.runs.references import names_kept
from fiftyone_deepcluster.errors import CheckpointError, InputError, RunError, RunLockedError

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone as fo
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.api.trained_run import TrainedRun
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.dataset.runs.run import Run

logger = logging.getLogger(__name__)

Saved = TypeVar("Saved")

_MUST_STORE: ContextVar[bool] = ContextVar("_MUST_STORE", default=False)


def images_of(run: Run) -> SampleSource:
    """Images of a run: first those of the fit in their order, then those assigned to it later.

    The order matters because the cache of decoded images depends on it.

    Raises:
        RunNotFoundError: the run was deleted since it was loaded.
        RunError: its label field was deleted since it was loaded.
    """
    check_there(run)
    everything = all_images(run.dataset, run.patches_field)
    ids = everything.values("id")
    existing = set(ids)
    job = own_files.own_job(run.dataset, run.key, run.uid)
    fitted = [name for name in (job.ids if job else []) if name in existing]
    known = set(fitted)
    labels = everything.values(run.fields.view_path("label"))
    later = [name for name, label in zip(ids, labels, strict=True) if label is not None and name not in known]
    return collect_images(everything, media_field=media_field_of(run.settings), ids=[*fitted, *later])


def chosen_rows(source: SampleSource, samples: fo.core.collections.SampleCollection) -> NDArray[np.int64]:
    """Rows of the images in ``samples``: a patches view selects by patch id, other collections by sample id.

    Raises:
        InputError: none of the images is in ``samples``.
    """
    import fiftyone as fo
    import numpy as np
    from fiftyone.core.patches import PatchesView

    if isinstance(samples, fo.Dataset):
        return np.arange(len(source))
    wanted = set(samples.values("id"))
    names = source.ids if isinstance(samples, PatchesView) else source.sample_ids
    rows = np.flatnonzero([name in wanted for name in names])
    if not len(rows):
        raise InputError(
            f"{none_of(len(source), 'image')} of the run is in the view; give another view, or the dataset"
        )
    return rows


def has_initial(run: Run) -> bool:
    """Whether the run's network before training can be built on this machine; a damaged file is also a warning."""
    file = run_files.run_dir(run.dataset, run.key) / checkpoints.MODEL
    try:
        known = own_files.has_network(run.dataset, run.key, run.uid)
        return known and not lost_weights(run.resolved_options, file, initial=True)
    except CheckpointError as error:
        logger.warning("run %r is without its features before training: %s", run.key, error)
        return False


@contextmanager
def open_run(
    run: Run, source: SampleSource, observer: Observer | None, *, initial: bool = False
) -> Iterator[TrainedRun]:
    """Open the run's network and the decoded images of ``source``; ``initial``: its network before training, too.

    Raises:
        RunError: the run has no network on this machine, or files that a network is built from are gone; the message
            says which.
    """
    from fiftyone_deepcluster.api.trained_run import reopen

    run = _as_named_now(run)
    if run.only_vectors:
        raise RunError(
            f"run {run.key!r} clustered precomputed vectors, so it has no network; choose a run of a "
            "method that trains a network, or of 'frozen' with a backbone"
        )
    folder = own_files.network_folder(run.dataset, run.key, run.uid)
    check_weights(run.key, run.resolved_options, folder / checkpoints.MODEL, initial=initial)
    with reopen(folder, source.images, observer) as trained_run:
        yield trained_run


def _as_named_now(run: Run) -> Run:
    """The run with its key of now, after a rename that is in progress; unchanged if it was deleted."""
    with names_kept(run.dataset):
        return replace(run, key=storage.key_of_run(run.dataset, run.uid) or run.key)


@contextmanager
def storing(run: Run) -> Iterator[Run]:
    """The run with its key of now, locked: to store a result that took long, during which it may have been renamed.

    Raises:
        RunNotFoundError: the run was deleted or replaced meanwhile.
        RunLockedError: it is being resumed, or images are being assigned to it.
    """
    while True:
        now = _as_named_now(run)
        with hold(now):
            key = storage.key_of_run(run.dataset, run.uid)
            if key in (now.key, None):  # else it was renamed before it was locked
                check_there(now)
                yield now
                return


def store(run: Run, call: str, save: Callable[[Run], Saved]) -> Saved | None:
    """Store a result that the caller returns, too: if the run is locked, only log a warning.

    Args:
        run: the run, which may have been renamed since it was loaded.
        call: name of the function that computed it, for the warning.
        save: stores it, with the run as it is named now.

    Returns:
        What ``save`` returns; None if the run is locked.

    Raises:
        RunNotFoundError: the run was deleted or replaced meanwhile.
        RunLockedError: the run is locked, within ``must_store``.
    """
    try:
        with storing(run) as now:
            return save(now)
    except RunLockedError as error:
        if _MUST_STORE.get():
            raise
        logger.warning(
            "the result of %s for run %r is returned, but not stored; repeat the call to store it: %s",
            call,
            run.key,
            error,
        )
        return None


@contextmanager
def must_store() -> Iterator[None]:
    """A block in which ``store`` raises RunLockedError, as nobody sees what is returned."""
    token = _MUST_STORE.set(True)
    try:
        yield
    finally:
        _MUST_STORE.reset(token)


def embedded(run: Run, source: SampleSource) -> list[object | None]:
    """Stored embedding of every image, None if there is none.

    Raises:
        RunError: the embedding field was deleted.
    """
    check_there(run, "embedding")
    return read_values(source, run.fields.view_path("embedding"))
