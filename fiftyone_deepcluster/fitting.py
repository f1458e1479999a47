"""Deep clustering of a plain list of images, without FiftyOne: ``fit`` and ``predict``."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster import checkpoint
from fiftyone_deepcluster.assignments import numbered
from fiftyone_deepcluster.errors import CancelledError, CheckpointError, ImagesError, OptionsError
from fiftyone_deepcluster.observer import Silent
from fiftyone_deepcluster.recipes.base import Options, parse_options
from fiftyone_deepcluster.record import RunRecord, StopReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.corpus import Corpus
    from fiftyone_deepcluster.images.cache import ImageStore
    from fiftyone_deepcluster.images.source import ImageRef
    from fiftyone_deepcluster.loop import Keep, Progress
    from fiftyone_deepcluster.observer import Observer
    from fiftyone_deepcluster.recipes.base import Parts

Images = Sequence["str | Path | ImageRef"] | Any
"""Paths, refs, or a uint8 array (N, H, W) or (N, H, W, C)."""

_MAY_CHANGE = ("rounds", "max_minutes", "device", "precision", "baselines")
"""Options that a resumed run may give anew."""

_BASELINE_SIDE = 32


@dataclass(frozen=True)
class FitResult:
    """Clusters of N images, row by row as they were given.

    Attributes:
        labels: (N,) int64; -1 for an image that could not be read (or noise of a density method).
        confidence: (N,) float32 in 0..1, NaN for an image that could not be read.
        distance: (N,) float32 to the cluster's centre in ``embeddings``; NaN likewise.
        margin: (N,) float32, distance to the second nearest centre less ``distance``; NaN likewise.
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
class Prediction:
    """Clusters of N images that a finished run never saw.

    Attributes:
        labels: (N,) int64, cluster ids of the run; -1 for an image that could not be read.
        confidence: (N,) float32, 1 - d1/d2 of the distances to the nearest two centres; NaN likewise.
        distance: (N,) float32; NaN likewise.
        margin: (N,) float32; NaN likewise.
        embeddings: (N, D) float32; zeros likewise.
        errors: row -> why that image could not be read.
    """

    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]
    distance: NDArray[np.float32]
    margin: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    errors: dict[int, str]


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

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to fit: options but for a few, and the images read."""
        options = {k: v for k, v in self.options.model_dump(mode="json").items() if k not in _MAY_CHANGE}
        rows = hashlib.sha256(self.store.kept.tobytes()).hexdigest()
        return {"options": options, "images": rows, "shape": list(self.store.shape)}


def fit(
    images: Images,
    options: Options | str = "deepcluster",
    *,
    truth: Sequence[object] | None = None,
    observer: Observer | None = None,
    run_dir: str | Path | None = None,
    features: NDArray[np.float32] | None = None,
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

    Raises:
        OptionsError: options that do not fit each other or the images.
        ImagesError: no image can be read.
        CheckpointError: ``run_dir`` belongs to other options or images.
        CancelledError: cancelled before there was anything to return.
    """
    from fiftyone_deepcluster.images.source import probe

    options = parse_options(options)
    observer = observer or Silent()
    directory = None if run_dir is None else Path(run_dir)
    if features is not None:
        return _fit_features(options, features, truth, observer, directory)
    resolved = options.resolve(probe(images))
    with _open(images, resolved, observer) as store:
        classes = None if truth is None else _classes(truth, store)
        job = _Job(options, resolved, store, observer, directory, classes, None)
        _check_sizes(job)
        return _run(job)


def _fit_features(
    options: Options, features: NDArray[np.float32], truth: Sequence[object] | None, observer: Observer, run_dir: Path | None
) -> FitResult:
    import torch

    from fiftyone_deepcluster.images.source import Facts

    features = np.asarray(features, dtype=np.float32)
    if features.ndim != 2 or 0 in features.shape:
        raise OptionsError(f"features has shape {features.shape}; give (images, dimensions), both 1 or more")
    store = _NoPixels(features)
    if not len(store.kept):
        raise ImagesError(f"none of the {len(features)} rows of features is finite; compute embeddings first")
    classes = None if truth is None else _classes(truth, store)
    resolved = options.resolve(Facts(n=len(store.kept), side=8, grey=True, height=8, width=8))
    given = torch.from_numpy(features[store.kept])
    job = _Job(options, resolved, store, observer, run_dir, classes, given)
    _check_sizes(job)
    return _run(job)


def predict(run_dir: str | Path, images: Images, *, observer: Observer | None = None) -> Prediction:
    """Apply a finished run to images it never saw: its network, its reduction, its nearest centre.

    Args:
        run_dir: of a ``fit`` that was given one.
        images: as for ``fit``.
        observer: told of progress; may cancel.

    Raises:
        CheckpointError: no finished run lies there.
        ImagesError: no image can be read.
    """
    from fiftyone_deepcluster.clusterers.geometry import confidence_of, nearest_two
    from fiftyone_deepcluster.encoders.reduce import Reduction

    model = checkpoint.load(Path(run_dir) / checkpoint.MODEL)
    resolved = parse_options(str(model["options"]["name"]), model["options"])
    observer = observer or Silent()
    with _open(images, resolved, observer) as store:
        corpus, _ = _assemble(resolved, store, observer, None)
        corpus.network.load_with_head(model["network"])
        vectors = Reduction.from_state(model["reduction"]).apply(corpus.features())
        nearest, own, other = (part.cpu() for part in nearest_two(vectors, model["centers"].to(vectors)))
        own, other = own.sqrt(), other.sqrt()
        spread = _Spread(store)
        return Prediction(
            labels=spread(model["ids"].numpy()[nearest.numpy()], -1),
            confidence=spread(confidence_of(own, other).numpy(), np.nan),
            distance=spread(own.numpy(), np.nan),
            margin=spread((other - own).nan_to_num(0.0, 0.0, 0.0).numpy(), np.nan),
            embeddings=spread(vectors.cpu().numpy(), 0),
            errors=dict(store.errors),
        )


class _Spread:
    """Values of the readable images at their places among all images."""

    def __init__(self, store: ImageStore) -> None:
        self._kept = store.kept
        self._n = len(store.kept) + len(store.errors)

    def __call__(self, values: NDArray[Any], missing: float) -> NDArray[Any]:
        """(M, ...) -> (N, ...), ``missing`` elsewhere."""
        if len(self._kept) == self._n:
            return values
        found = np.full((self._n, *values.shape[1:]), missing, dtype=values.dtype)
        found[self._kept] = values
        return found


class _NoPixels:
    """A store for given features: rows, but no pixels."""

    def __init__(self, features: NDArray[np.float32]) -> None:
        finite = np.isfinite(features).all(axis=1)
        self.kept = np.flatnonzero(finite)
        self.errors = {int(row): "it has no embedding, or one that is not finite" for row in np.flatnonzero(~finite)}
        self.shape = (len(self.kept), 1, 1, 1)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Black images of one pixel: nobody looks at them."""
        return np.zeros((len(rows), 1, 1, 1), np.uint8)

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def _open(images: Images, resolved: Options, observer: Observer) -> Iterator[ImageStore]:
    """The decoded images, closed at the end."""
    from fiftyone_deepcluster.images.cache import Decode, open_images

    decode = Decode(size=resolved.decoded_side, color="grey" if resolved.color == "grey" else "rgb")
    store = open_images(images, decode, observer=observer)
    try:
        yield store
    finally:
        store.close()


def _assemble(
    resolved: Options, store: ImageStore, observer: Observer, given: torch.Tensor | None
) -> tuple[Corpus, Parts]:
    """Network and lesson for the images, with weights drawn from the run's seed."""
    import torch

    from fiftyone_deepcluster.compute import choose
    from fiftyone_deepcluster.corpus import Corpus
    from fiftyone_deepcluster.seeds import derive

    compute = choose(resolved.device, resolved.precision)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(resolved.seed, "weights"))
        parts = resolved.build()
    corpus = Corpus(
        store, parts.network, compute, size=resolved.image_size or store.shape[1],
        batch_size=parts.batch_size, observer=observer, given=given,
    )  # fmt: skip
    return corpus, parts


def _run(job: _Job) -> FitResult:
    from fiftyone_deepcluster.loop import Schedule, run

    corpus, parts = _assemble(job.resolved, job.store, job.observer, job.given)
    first = _first_features(job, corpus)
    options = job.resolved
    schedule = Schedule(options.rounds, options.seed, options.max_minutes, job.truth)
    progress = run(parts.lesson, corpus, schedule, state=_load(job), keep=_keeper(job))
    if progress.assignment is None or (not progress.rounds and progress.stop_reason == StopReason.CANCELLED):
        raise CancelledError("cancelled before the first round was done; nothing was written")
    record = _record(job, corpus, progress)
    if options.baselines and progress.stop_reason != StopReason.CANCELLED:
        _measure_baselines(job, record, progress, first)
    _save_model(job, corpus, parts, progress)
    return _result(job, progress, record)


def _check_sizes(job: _Job) -> None:
    n, options = job.store.shape[0], job.resolved
    for name in ("n_clusters", "pseudo_clusters"):
        wanted = getattr(options, name, None)
        if wanted is not None and wanted > n:
            raise OptionsError(f"{name}={wanted} is more than the {n} images that can be read; lower it or add images")
    if job.given is not None and options.name != "frozen":
        raise OptionsError(
            f"features were given, but the method {options.name!r} learns its own; use method='frozen'"
        )


def _classes(truth: Sequence[object], store: ImageStore) -> NDArray[np.int64]:
    n = len(store.kept) + len(store.errors)
    if len(truth) != n:
        raise OptionsError(f"truth has {len(truth)} entries for {n} images; give one an image, None where unknown")
    return numbered(truth)[0][store.kept]


def _first_features(job: _Job, corpus: Corpus) -> torch.Tensor | None:
    """What the baselines start from: pixels, or the features of the weights that were given."""
    import torch

    from fiftyone_deepcluster.analysis.baselines import sample_rows

    if not job.resolved.baselines or job.resolved.name == "frozen":
        return None
    rows = sample_rows(len(corpus), job.resolved.seed)
    if not job.resolved.starts_from_pixels:
        return torch.nn.functional.normalize(corpus.features()[torch.from_numpy(rows)]).cpu()
    return _pixel_features(job.store, rows)


def _pixel_features(store: ImageStore, rows: NDArray[np.int64]) -> torch.Tensor:
    """(M, D) float32 pixels at 32 x 32 at most, mean 0 and deviation 1 within every image."""
    import torch

    parts = []
    for at in range(0, len(rows), 1024):
        pixels = torch.from_numpy(store.read(rows[at : at + 1024])).permute(0, 3, 1, 2).float()
        if pixels.shape[-1] > _BASELINE_SIDE:
            pixels = torch.nn.functional.adaptive_avg_pool2d(pixels, _BASELINE_SIDE)
        flat = pixels.flatten(1)
        parts.append((flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True).clamp_min(1.0))
    return torch.cat(parts)


def _load(job: _Job) -> dict[str, Any] | None:
    """The checkpoint in ``run_dir``, if there is one.

    Raises:
        CheckpointError: it belongs to other options or images.
    """
    if job.run_dir is None or not (job.run_dir / checkpoint.CHECKPOINT).exists():
        return None
    state = checkpoint.load(job.run_dir / checkpoint.CHECKPOINT)
    theirs, ours = state["fingerprint"], job.fingerprint
    if theirs == ours:
        return state
    options = {**theirs["options"], **ours["options"]}
    changed = [name for name in options if theirs["options"].get(name) != ours["options"].get(name)]
    what = f"other options ({', '.join(changed)})" if changed else "other images"
    raise CheckpointError(
        f"{job.run_dir} holds the checkpoint of a run with {what}; choose another run_dir, or delete it"
    )


def _keeper(job: _Job) -> Keep | None:
    if job.run_dir is None:
        return None
    path, fingerprint = job.run_dir / checkpoint.CHECKPOINT, job.fingerprint
    return lambda state: checkpoint.save(path, {**state, "fingerprint": fingerprint})


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
        environment=_environment(corpus),
        notes=progress.notes,
    )


def _environment(corpus: Corpus) -> dict[str, str]:
    packages = ("fiftyone-deepcluster", "torch", "torchvision", "scikit-learn", "umap-learn", "numpy")
    found = {name: version(name) for name in packages if _installed(name)}
    device = corpus.compute.device
    found["python"] = platform.python_version()
    found["device"] = str(device)
    found["precision"] = str(corpus.compute.precision).removeprefix("torch.")
    return found


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _measure_baselines(job: _Job, record: RunRecord, progress: Progress, first: torch.Tensor | None) -> None:
    """k-means and UMAP + GMM on the first and the last features, and in words who is ahead."""
    import torch

    from fiftyone_deepcluster.analysis.baselines import Bench, measure, sample_rows, verdict

    assignment = progress.assignment
    if assignment is None:
        return
    rows = sample_rows(len(assignment.labels), job.resolved.seed)
    truth = None if job.truth is None else job.truth[rows]
    bench = Bench(max(2, record.n_clusters), job.resolved.seed, truth)
    last = assignment.embeddings[rows]
    job.observer.phase("baselines", 1 if first is None else 2)
    if first is not None:
        record.baselines += measure(first, "first", bench)
        job.observer.advance(1)
    record.baselines += measure(torch.from_numpy(last), "last", bench)
    job.observer.advance(1)
    record.verdict = verdict(record, last, assignment.labels[rows], job.resolved.seed)


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
        "reduction": parts.lesson.task.state_dict()["reduction"],
        "ids": torch.from_numpy(ids),
        "centers": torch.from_numpy(assignment.centers[ids]),
    }
    checkpoint.save(job.run_dir / checkpoint.MODEL, model)


def _result(job: _Job, progress: Progress, record: RunRecord) -> FitResult:
    found, spread = progress.assignment, _Spread(job.store)
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
