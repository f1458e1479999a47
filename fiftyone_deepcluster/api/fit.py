"""Deep clustering of a plain list of images, without FiftyOne: ``fit``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.api import notes
from fiftyone_deepcluster.api.assembly import NoPixels, Spread, assemble, environment, open_store
from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.progress import Silent, check_observer
from fiftyone_deepcluster.core.record import RunRecord, StopReason
from fiftyone_deepcluster.core.types import Known
from fiftyone_deepcluster.errors import CancelledError, CheckpointError, ImagesError, OptionsError
from fiftyone_deepcluster.methods.base import Options, parse_options
from fiftyone_deepcluster.metrics.matching import numbered

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.api.assembly import ImageInput
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.images.cache.open_images import ImageStore
    from fiftyone_deepcluster.methods.base import Parts
    from fiftyone_deepcluster.training.loop import Keep, Progress

LARGEST = 1e15
"""Features beyond it have no distances in float32."""

MAY_CHANGE = ("rounds", "max_minutes", "device", "precision", "baselines")
"""Options that a resumed run may give anew."""


@dataclass(frozen=True)
class FitResult:
    """Clusters of N images, row by row as they were given.

    Attributes:
        labels: (N,) int64; -1 for an image that could not be read (or noise of a density method).
        confidence: (N,) float32 in 0..1, NaN for an image that could not be read.
        distance: (N,) float32 to the cluster's center in ``embeddings``; NaN likewise.
        margin: (N,) float32, distance to the second nearest center less ``distance``; NaN likewise.
        embeddings: (N, D) float32, the vectors that were clustered; zeros for unreadable images.
        round_labels: (N, R) int32, the cluster in every round; ids mean the same cluster throughout.
        round_losses: (N, R) float32, mean training loss in every round; NaN where it was not drawn.
        errors: row -> why that image could not be read.
        record: figures, options, why it stopped.
        run_dir: where checkpoint and model lie, if they were asked for.
    """

    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]
    distance: NDArray[np.float32]
    margin: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    round_labels: NDArray[np.int32]
    round_losses: NDArray[np.float32]
    errors: dict[int, str]
    record: RunRecord
    run_dir: Path | None = None


@dataclass(frozen=True)
class _Job:
    """A fit under way: what was asked for, and what it was settled to."""

    options: Options
    resolved: Options
    store: ImageStore
    observer: Observer
    run_dir: Path | None
    truth: NDArray[np.int64] | None
    given: torch.Tensor | None
    groups: NDArray[np.int64] | None = None
    initial: NDArray[np.int64] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to fit: options but for a few, and the images read."""
        options = {k: v for k, v in self.options.model_dump(mode="json").items() if k not in MAY_CHANGE}
        rows = hashlib.sha256(self.store.kept.tobytes())
        for known in (self.groups, self.initial):
            rows.update(b"" if known is None else known.tobytes())
        return {"options": options, "images": rows.hexdigest(), "shape": list(self.store.shape)}


def fit(
    images: ImageInput,
    options: Options | str = "deepcluster",
    *,
    truth: Sequence[object] | None = None,
    observer: Observer | None = None,
    run_dir: str | Path | None = None,
    features: NDArray[np.float32] | None = None,
    known: Known | None = None,
) -> FitResult:
    """Cluster images by deep clustering.

    Args:
        images: paths, ``ImageRef`` (a path and a box), or a uint8 array (N, H, W) or (N, H, W, C).
        options: an Options object, or a method's name for its defaults.
        truth: N class names or numbers, None where unknown. Measured in the record, never used.
        observer: told of progress; may cancel.
        run_dir: keep a checkpoint after every round there and the model at the end; where it holds
            a checkpoint of the same images and options, the run goes on from it.
        features: (N, D) float32 in place of a network's, for ``frozen`` only; rows that are not finite
            count as unreadable.
        known: who belongs together, and labels to start from, for the methods that ask for them.

    Raises:
        OptionsError: options that do not fit each other or the images.
        ImagesError: no image can be read.
        CheckpointError: ``run_dir`` belongs to other options or images.
        CancelledError: cancelled before there was anything to return.
    """
    from fiftyone_deepcluster.images.inspect import image_facts

    options = parse_options(options)
    check_observer(observer)
    observer, known = observer or Silent(), Known() if known is None else known
    if not isinstance(known, Known):
        raise OptionsError(f"known={short(known)} is no Known; give Known(groups=..., initial=...)")
    directory = None if run_dir is None else Path(run_dir)
    if features is not None:
        return _fit_features(options, (images, features), truth, observer, directory)
    facts = image_facts(images)
    resolved = options.resolve(facts)
    _check_early(resolved, directory)
    with open_store(images, resolved, observer) as store:
        numbers = {
            name: None if values is None else _numbers(values, store, name)
            for name, values in (("truth", truth), ("groups", known.groups), ("initial", known.initial))
        }
        remarks = tuple(options.remarks(facts))
        job = _Job(options, resolved, store, observer, directory, given=None, remarks=remarks, **numbers)
        _check_sizes(job)
        return _run(job)


def _fit_features(
    options: Options,
    given_for: tuple[ImageInput, NDArray[np.float32]],
    truth: Sequence[object] | None,
    observer: Observer,
    run_dir: Path | None,
) -> FitResult:
    import torch

    from fiftyone_deepcluster.images.inspect import ImageFacts

    images, features = given_for[0], _as_features(given_for[1])
    if images is not None and len(images) != len(features):
        raise OptionsError(
            f"features has {len(features)} rows for {len(images)} images; give one row an image, NaN where unknown"
        )
    store = NoPixels(features)
    if not len(store.kept):
        raise ImagesError(f"none of the {len(features)} rows of features is finite; compute embeddings first")
    classes = None if truth is None else _numbers(truth, store, "truth")
    facts = ImageFacts(n=len(store.kept), side=8, gray=True, height=8, width=8)
    resolved = options.resolve(facts)
    _check_early(resolved, run_dir)
    given = torch.from_numpy(features[store.kept])
    remarks = tuple(options.remarks(facts))
    job = _Job(options, resolved, store, observer, run_dir, classes, given, remarks=remarks)
    _check_sizes(job)
    return _run(job)


def _as_features(given: Any) -> NDArray[np.float32]:
    """The given numbers as float32; their shape and size are checked."""
    try:
        features = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise OptionsError(
            f"features={short(given)} are no numbers; give an array (images, dimensions)"
        ) from error
    if features.ndim != 2 or 0 in features.shape:
        raise OptionsError(f"features has shape {features.shape}; give (images, dimensions), both 1 or more")
    largest = np.abs(features, where=np.isfinite(features), out=np.zeros_like(features)).max()
    if largest > LARGEST:
        raise OptionsError(
            f"features reach {largest:.1e}, beyond what distances can be measured in; scale them below {LARGEST:.0e}"
        )
    return features


def _run(job: _Job) -> FitResult:
    from fiftyone_deepcluster.training.loop import LoopSettings, run

    corpus, parts = assemble(job.resolved, job.store, job.observer, job.given)
    corpus.groups, corpus.initial = job.groups, job.initial
    first = _first_features(job, corpus)
    options = job.resolved
    schedule = LoopSettings(options.rounds, options.seed, options.max_minutes, job.truth)
    progress = run(parts.training_spec, corpus, schedule, state=_load(job), keep=_keeper(job))
    if progress.assignment is None or (not progress.rounds and progress.stop_reason == StopReason.CANCELLED):
        raise CancelledError("cancelled before the first round was done; nothing was written")
    record = _record(job, corpus, progress)
    if options.baselines and progress.stop_reason != StopReason.CANCELLED:
        _measure_baselines(job, record, progress, first)
    _save_model(job, corpus, parts, progress)
    return _result(job, progress, record)


def _check_early(options: Options, run_dir: Path | None) -> None:
    """What can be known to fail before an image is read."""
    from fiftyone_deepcluster.core.devices import choose_compute

    if run_dir is not None and run_dir.exists() and not run_dir.is_dir():
        raise OptionsError(
            f"run_dir={str(run_dir)!r} is a file; give a folder, which is made where it is missing"
        )
    choose_compute(options.device, options.precision)


def _check_sizes(job: _Job) -> None:
    n, options = job.store.shape[0], job.resolved
    for name in ("n_clusters", "pseudo_clusters", "pixel_clusters"):
        wanted = getattr(options, name, None)
        if wanted is not None and wanted > n:
            raise OptionsError(
                f"{name}={wanted} is more than the {n} images that can be read; lower it or add images"
            )
    if job.given is not None and options.name != "frozen":
        raise OptionsError(
            f"features were given, but the method {options.name!r} learns its own; use method='frozen'"
        )


def _numbers(values: Sequence[object], store: ImageStore, what: str) -> NDArray[np.int64]:
    """(M,) numbers for the values of the readable images, -1 for None."""
    n = len(store.kept) + len(store.errors)
    need = "give one an image, None where unknown"
    if (
        isinstance(values, str | dict | set)
        or not hasattr(values, "__len__")
        or not getattr(values, "ndim", 1)
    ):
        raise OptionsError(f"{what}={short(values)} is no list for {n} images; {need}")
    if len(values) != n:
        raise OptionsError(f"{what} has {len(values)} entries for {n} images; {need}")
    numbers = numbered(values)[0][store.kept]
    if (numbers < 0).all():
        raise OptionsError(
            f"{what} is known of none of the {len(numbers)} images that can be read; leave it out"
        )
    return numbers


def _first_features(job: _Job, corpus: Corpus) -> torch.Tensor | None:
    """What the baselines start from: pixels, or the features of the weights that were given."""
    import torch

    from fiftyone_deepcluster.analysis.baselines import baseline_rows, pixel_features

    if not job.resolved.baselines or job.resolved.name == "frozen":
        return None
    rows = baseline_rows(len(corpus), job.resolved.seed)
    if not job.resolved.starts_from_pixels:
        return torch.nn.functional.normalize(corpus.features()[torch.from_numpy(rows)]).cpu()
    return pixel_features(job.store.read, rows)


def _load(job: _Job) -> dict[str, Any] | None:
    """The checkpoint in ``run_dir``, if there is one.

    Raises:
        CheckpointError: it belongs to other options or images.
    """
    if job.run_dir is None or not (job.run_dir / checkpoints.CHECKPOINT).exists():
        return None
    state = checkpoints.load(job.run_dir / checkpoints.CHECKPOINT)
    theirs, ours = state["fingerprint"], job.fingerprint
    if theirs == ours:
        return state
    options = {**theirs["options"], **ours["options"]}
    changed = [name for name in options if theirs["options"].get(name) != ours["options"].get(name)]
    what = f"other options ({', '.join(changed)})" if changed else "other images"
    way = "choose another run_dir, or delete it"
    if not changed and job.store.errors:
        way = f"{notes.unread(job.store)[0]}. Bring them back if the run had them; else {way}"
    raise CheckpointError(f"{job.run_dir} holds the checkpoint of a run with {what}; {way}")


def _keeper(job: _Job) -> Keep | None:
    if job.run_dir is None:
        return None
    path, fingerprint = job.run_dir / checkpoints.CHECKPOINT, job.fingerprint
    return lambda state: checkpoints.save(path, {**state, "fingerprint": fingerprint})


def _record(job: _Job, corpus: Corpus, progress: Progress) -> RunRecord:
    labels = progress.assignment.labels if progress.assignment is not None else np.zeros(0)
    return RunRecord(
        method=job.options.name,
        options=job.options.model_dump(mode="json"),
        resolved=job.resolved.model_dump(mode="json"),
        rounds=progress.rounds,
        stop_reason=progress.stop_reason,
        n_images=len(corpus),
        n_failed=len(job.store.errors),
        n_clusters=len(np.unique(labels[labels >= 0])),
        environment=environment(corpus),
        notes=_notes(job, progress),
    )


def _notes(job: _Job, progress: Progress) -> list[str]:
    """What a reader of the record should know."""
    messages = [*job.remarks, *notes.unread(job.store)]
    if progress.assignment is not None:
        messages += notes.in_no_cluster(progress.assignment.labels)
    held_out = 1 - getattr(job.resolved, "training_share", 1) - getattr(job.resolved, "validation_share", 0)
    if job.groups is not None and held_out > 0:
        messages += notes.not_held_out(job.groups, progress.rounds)
    return [*messages, *progress.notes, *notes.doubts(progress.rounds, progress.stop_reason)]


def _measure_baselines(job: _Job, record: RunRecord, progress: Progress, first: torch.Tensor | None) -> None:
    """k-means and UMAP + GMM on the first and the last features, and in words who is ahead."""
    import torch

    from fiftyone_deepcluster.analysis.baselines import Bench, baseline_rows, measure, verdict

    assignment = progress.assignment
    if assignment is None:
        return
    rows = baseline_rows(len(assignment.labels), job.resolved.seed)
    truth = None if job.truth is None else job.truth[rows]
    bench = Bench(max(2, record.n_clusters), job.resolved.seed, truth)
    last = assignment.embeddings[rows]
    job.observer.phase("baselines", 1 if first is None else 2)
    if first is not None:
        record.baselines += measure(first, "first", bench)
        job.observer.advance(1)
    record.baselines += measure(torch.from_numpy(last), "last", bench)
    job.observer.advance(1)
    record.verdict, record.beaten = verdict(record, last, assignment.labels[rows], job.resolved.seed)


def _save_model(job: _Job, corpus: Corpus, parts: Parts, progress: Progress) -> None:
    """What ``predict`` needs."""
    import torch

    assignment = progress.assignment
    if job.run_dir is None or assignment is None or job.given is not None or corpus.compute.rank:
        return
    ids = np.flatnonzero(np.isfinite(assignment.centers).all(axis=1))
    model = {
        "options": job.resolved.model_dump(mode="json"),
        "network": {name: value.cpu() for name, value in corpus.network.state_dict().items()},
        "reduction": parts.training_spec.task.state_dict().get("reduction"),
        "ids": torch.from_numpy(ids),
        "centers": torch.from_numpy(assignment.centers[ids]),
    }
    checkpoints.save(job.run_dir / checkpoints.MODEL, model)


def _result(job: _Job, progress: Progress, record: RunRecord) -> FitResult:
    found, spread = progress.assignment, Spread(job.store)
    if found is None:
        raise CancelledError("cancelled before there was anything to return")
    columns = np.stack(progress.labels, 1) if progress.labels else np.zeros((len(found.labels), 0), np.int32)
    losses = np.stack(progress.losses, 1) if progress.losses else np.zeros((len(found.labels), 0), np.float32)
    return FitResult(
        labels=spread(found.labels, -1),
        confidence=spread(found.confidence, np.nan),
        distance=spread(found.distance, np.nan),
        margin=spread(found.margin, np.nan),
        embeddings=spread(found.embeddings, 0),
        round_labels=spread(columns, -1),
        round_losses=spread(losses, np.nan),
        errors=dict(job.store.errors),
        record=record,
        run_dir=job.run_dir,
    )
