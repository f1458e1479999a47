"""One run from fitting to fields: everything is written, or nothing is left but the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.progress import Fanout
from fiftyone_deepcluster.core.record import StopReason
from fiftyone_deepcluster.core.types import Known
from fiftyone_deepcluster.dataset.display.brain import add_brain_runs
from fiftyone_deepcluster.dataset.display.sidebar import add_group
from fiftyone_deepcluster.dataset.io.fields import FieldNames, check_free
from fiftyone_deepcluster.dataset.io.vectors import model_vectors
from fiftyone_deepcluster.dataset.io.write import columns, write
from fiftyone_deepcluster.dataset.runs import lock, status, storage
from fiftyone_deepcluster.dataset.runs.interrupted import clear_remains, declared_fields, erase
from fiftyone_deepcluster.dataset.runs.processes import rank, wait_for_all
from fiftyone_deepcluster.dataset.runs.run import Run, load_run
from fiftyone_deepcluster.errors import CancelledError, InputError, RunExistsError
from fiftyone_deepcluster.metrics.matching import cluster_names

if TYPE_CHECKING:
    from pathlib import Path

    import fiftyone as fo
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.api.fit import FitResult
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.core.record import RunRecord
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.methods.base import Options


@dataclass(frozen=True)
class CheckedCall:
    """A checked call, ready to be carried out.

    Attributes:
        source: the images.
        key: of the run.
        options: of the method.
        header: what the run will be stored under.
        truth: known classes, or None.
        features: (N, D) vectors in place of a network's, or None.
        missing: row -> why that row has no vector.
        model: a FiftyOne model, or the name of one, that gives the vectors; or None.
        replaces: whether a run under this key may be there, to be replaced.
        folder: with the checkpoint to go on from; None for a run from the start.
        observers: told of progress, beside the live state.
        compute_brain: whether to make the brain runs.
        known: groups and first labels read from the dataset.
    """

    source: SampleSource
    key: str
    options: Options
    header: storage.RunHeader
    truth: list[object | None] | None = None
    features: NDArray[np.float32] | None = None
    missing: dict[int, str] = field(default_factory=dict)
    model: Any = None
    replaces: bool = False
    folder: Path | None = None
    observers: tuple[Observer, ...] = ()
    compute_brain: bool = True
    known: Known = field(default_factory=Known)

    @property
    def dataset(self) -> fo.Dataset:
        """That the run is kept on."""
        return self.source.dataset

    @property
    def names(self) -> FieldNames:
        """Where its values will lie."""
        return FieldNames(self.key, self.source.patches_field)


def execute(plan: CheckedCall) -> Run:
    """Carry a plan out under the key's lock.

    Where several processes share the work, the first holds the lock and writes; the others only fit.
    """
    if rank():
        return _follow(plan)
    with lock.acquire(plan.dataset, plan.key) as held:
        _keep_interrupted(plan)
        clear_remains(plan.dataset, plan.key)
        plan.dataset.reload()
        replacing = _check_key_free(plan)
        observer = status.LiveObserver(plan.dataset, plan.key, plan.options.name, plan.options.rounds)
        with _end_recorded(observer):
            stop_reason = _fit_and_write(plan, held, observer, replacing)
            observer.finish("cancelled" if stop_reason == StopReason.CANCELLED else "done")
    wait_for_all()
    return load_run(plan.dataset, plan.key)


def _follow(plan: CheckedCall) -> Run:
    """What every process but the first does: its share of the fitting, once the folder is prepared."""
    wait_for_all()
    replacing = plan.key in storage.keys(plan.dataset)
    _fit(plan, plan.folder or _folder(plan, replacing), Fanout(plan.observers))
    wait_for_all()
    plan.dataset.reload()
    return load_run(plan.dataset, plan.key)


def _keep_interrupted(plan: CheckedCall) -> None:
    """Refuse to begin other work over rounds that broke off and could go on.

    Raises:
        RunExistsError: there are such rounds, and ``overwrite`` is not set.
    """
    dataset, key = plan.dataset, plan.key
    if plan.replaces or plan.folder is not None or key in storage.keys(dataset):
        return
    folder = storage.run_dir(dataset, key)
    left, state = storage.load_job(folder), status.read_states(dataset).get(key)
    if left is None or left.same_work(_job(plan)) or not (folder / checkpoints.CHECKPOINT).exists():
        return
    if state is None or not state.round:
        return  # nothing was learned that could be lost
    raise RunExistsError(
        f"{dataset.name!r} has a run {key!r} ({left.header.method}) that broke off after round {state.round} and "
        f"can go on: resume(samples, {key!r}). To give it up, delete_run(samples, {key!r}) or overwrite=True; or "
        "choose another key"
    )


def _job(plan: CheckedCall) -> storage.ClusterJob:
    return storage.ClusterJob(plan.header, plan.source.ids)


def _check_key_free(plan: CheckedCall) -> bool:
    """Whether a run under the key is to be replaced.

    Raises:
        RunExistsError: the key is taken by something that may not be replaced.
    """
    dataset, key = plan.dataset, plan.key
    if key not in storage.keys(dataset):
        check_free(dataset, plan.names)
        return False
    if not plan.replaces:
        raise RunExistsError(
            f"{dataset.name!r} already has a run {key!r}; choose another key, or overwrite=True to replace it"
        )
    check_free(dataset, plan.names, but=storage.fields_of(dataset, key))
    return True


@contextmanager
def _end_recorded(observer: status.LiveObserver) -> Iterator[None]:
    """Let the live state say how it ended."""
    try:
        yield
    except (CancelledError, KeyboardInterrupt):
        observer.finish("cancelled")
        raise
    except BaseException as error:
        observer.finish("failed", f"{type(error).__name__}: {error}")
        raise


def _fit_and_write(
    plan: CheckedCall, held: lock.RunLock, observer: status.LiveObserver, replacing: bool
) -> StopReason | None:
    """Fit, then write.

    The fields are declared before the fitting, which reserves their names. A run that is replaced stays
    as it is until the new one has been fitted.
    """
    before = None if plan.folder is None else storage.load_job(plan.folder)
    folder = _prepare_folder(plan, replacing)
    listeners = Fanout([observer, *plan.observers])
    try:
        if replacing:
            result = _fit(plan, folder, listeners)
            held.check()
            erase(plan.dataset, plan.key)
            with declared_fields(plan.dataset, plan.names):
                _store(plan, result, listeners)
        else:
            with declared_fields(plan.dataset, plan.names):
                result = _fit(plan, folder, listeners)
                held.check()
                _store(plan, result, listeners)
    except BaseException as error:
        if not (folder / checkpoints.CHECKPOINT).exists():
            storage.clean_dir(folder)
        elif before is not None and isinstance(error, InputError):
            storage.save_job(folder, before)  # a change that was refused is none
        raise
    storage.move_dir(folder, storage.run_dir(plan.dataset, plan.key))
    return result.record.stop_reason


def _prepare_folder(plan: CheckedCall, replacing: bool) -> Path:
    """Where the checkpoint goes; one that another call left there is removed."""
    job = _job(plan)
    folder = plan.folder or _folder(plan, replacing)
    if plan.folder is None:
        left = storage.load_job(folder)
        if left is None or not left.same_work(job):
            storage.clean_dir(folder)
    storage.save_job(folder, job)
    wait_for_all()
    return folder


def _folder(plan: CheckedCall, replacing: bool) -> Path:
    return (storage.next_dir if replacing else storage.run_dir)(plan.dataset, plan.key)


def _fit(plan: CheckedCall, folder: Path, observer: Observer) -> FitResult:
    from fiftyone_deepcluster.api.fit import fit

    features, missing = plan.features, plan.missing
    if plan.model is not None:
        observer.phase("embeddings", 1)
        features, missing = model_vectors(plan.source, plan.model)
        observer.advance(1)
    result = fit(
        plan.source.images,
        plan.options,
        truth=plan.truth,
        observer=observer,
        run_dir=folder,
        features=features,
        known=plan.known,
    )
    return replace(result, errors={**result.errors, **missing})


def _store(plan: CheckedCall, result: FitResult, observer: Observer) -> None:
    """Fields, sidebar, brain runs, and last the run itself."""
    import numpy as np

    names = names_of_clusters(result.record, result.labels)
    observer.phase("write", 1)
    filled = columns(result, names, half_precision=bool(plan.header.settings["half_precision"]))
    write(plan.source, plan.names, filled)
    observer.advance(1)
    add_group(plan.dataset, plan.names)
    # Whoever cancels wants to be done; the maps come when the run is resumed.
    if plan.compute_brain and result.record.stop_reason is not StopReason.CANCELLED:
        observer.phase("brain", 1)
        readable = np.setdiff1d(np.arange(len(plan.source)), list(result.errors))
        add_brain_runs(plan.source, plan.names, readable, result.embeddings)
        observer.advance(1)
    storage.register_run(plan.source, plan.key, plan.header, result.record)


def names_of_clusters(record: RunRecord, labels: NDArray[np.int64]) -> list[str]:
    """Names by cluster number: numbers of clusters that fell empty are kept free."""
    asked = record.resolved.get("n_clusters")
    most = max(int(labels.max(initial=0)) + 1, record.n_clusters, asked if isinstance(asked, int) else 0)
    return cluster_names(most)
