"""Deep clustering of a plain list of images, without FiftyOne: ``fit``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.api import notes
from fiftyone_deepcluster.api.assembly import NoPixels, Spread, assemble, environment, open_store
from fiftyone_deepcluster.api.baselines import add_baselines, baseline_features, clusters_first
from fiftyone_deepcluster.api.fit_arguments import (
    CONTINUED,
    OTHER_RUN_DIR,
    KnownNumbers,
    as_features,
    check_early,
    check_fits_images,
    check_varied,
    known_numbers,
    numbers_of,
)
from fiftyone_deepcluster.api.given_weights import (
    StoredNetwork,
    configuration_of,
    lost_file_named,
    lost_files,
    options_to_build,
    stored_network,
)
from fiftyone_deepcluster.api.resuming import START_ANEW, check_same, compared, resolve
from fiftyone_deepcluster.api.trained_run import load_network
from fiftyone_deepcluster.core import arguments, checkpoints
from fiftyone_deepcluster.core.history import RoundHistory
from fiftyone_deepcluster.core.progress import observer_or_silent, report_resumed
from fiftyone_deepcluster.core.record import Round, RunRecord, StopReason
from fiftyone_deepcluster.core.types import Known
from fiftyone_deepcluster.core.words import counted, none_of
from fiftyone_deepcluster.errors import CancelledError, CheckpointError, ImagesError, OptionsError
from fiftyone_deepcluster.methods.base import Options, parse_options

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.api.assembly import ImageInput
    from fiftyone_deepcluster.core.devices import Compute
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.core.types import Assignment
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.images.cache.open_images import ImageStore
    from fiftyone_deepcluster.methods.base import Parts
    from fiftyone_deepcluster.training.run_state import Keep, RunState


@dataclass(frozen=True)
class FitResult:
    """Clusters of N images, in the order of the input.

    Attributes:
        assignment: the clusters of the last round, including unreadable images.
        history: cluster and loss in every round, read from ``run_dir`` when they are used.
        record: metrics, options and stop reason.
        run_dir: folder of checkpoint and model, if given.
    """

    assignment: Assignment
    history: RoundHistory
    record: RunRecord
    run_dir: Path | None = None

    @property
    def round_labels(self) -> NDArray[Any]:
        """(N, R) cluster in every round, as the smallest signed integers; an id is the same cluster in all rounds."""
        return self.history.labels()

    @property
    def round_losses(self) -> NDArray[np.float32]:
        """(N, R) float32, mean training loss in every round; NaN for images not sampled."""
        return self.history.losses()

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) int64; -1 for an unreadable image, or for noise of a density-based clusterer."""
        return self.assignment.labels

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(N,) float32 in 0..1; NaN for an unreadable image."""
        return self.assignment.confidence

    @property
    def distance(self) -> NDArray[np.float32]:
        """(N,) float32, distance to the cluster's center in ``embeddings``; NaN for an unreadable image."""
        return self.assignment.distance

    @property
    def margin(self) -> NDArray[np.float32]:
        """(N,) float32, distance to the second nearest center minus ``distance``; NaN for an unreadable image."""
        return self.assignment.margin

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """(N, D) float32, the vectors that were clustered; zeros for unreadable images. D is 0 if none were kept."""
        return self.assignment.embeddings

    @property
    def errors(self) -> dict[int, str]:
        """Row -> why that image could not be read."""
        return self.assignment.errors


@dataclass(frozen=True)
class _Job:
    """The inputs of a fit, checked and resolved."""

    options: Options
    resolved: Options
    store: ImageStore
    observer: Observer
    run_dir: Path | None
    truth: NDArray[np.int64] | None
    given: torch.Tensor | None
    known: KnownNumbers = field(default_factory=KnownNumbers)
    network: Path | None = None
    remarks: tuple[str, ...] = ()
    images: ImageInput = None
    stored: StoredNetwork | None = None
    lost: str = ""  # files that the baselines of a continued run need

    @cached_property
    def configuration(self) -> dict[str, dict[str, str]]:
        """See ``configuration_of``; read once, before training, as the folder may be gone at its end."""
        return configuration_of(self.resolved, self.stored)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What must equal a checkpoint's to resume it: options in ``compared``, images, known labels, given vectors."""
        options = compared(self.options)
        rows = hashlib.sha256(self.store.kept.tobytes())
        for known in self.known.bytes():
            rows.update(known)
        found = {"options": options, "images": rows.hexdigest(), "shape": list(self.store.shape)}
        others = self.known.other_vectors
        return found if others is None else {**found, "vectors": hashlib.sha256(others.tobytes()).hexdigest()}


def fit(
    images: ImageInput,
    options: Options | str = "deepcluster",
    *,
    truth: Sequence[object] | None = None,
    observer: Observer | None = None,
    run_dir: str | Path | None = None,
    features: NDArray[np.float32] | Mapping[str, NDArray[np.float32]] | None = None,
    known: Known | None = None,
) -> FitResult:
    """Cluster images by deep clustering.

    Args:
        images: paths, ``ImageRef`` (a path with a box or a frame), or a uint8 array (N, H, W) or (N, H, W, C).
        options: an Options object, or a method's name for its defaults.
        truth: N class names or numbers, None where unknown. Only used for metrics in the record.
        observer: receives progress; may cancel.
        run_dir: folder for a checkpoint after the first clustering and every round, and for the final model. A
            checkpoint of the same images and options is resumed.
        features: (N, D) float32 instead of a network's, for methods that accept them (``frozen``); (N, V, D) of V
            views of every image, for the encoder ``view-whitened``; or several (N, D) by name, which get the same
            weight. Rows that are not finite count as unreadable.
        known: groups of images, initial labels, labels to keep, a trained network, and vectors of another source, for
            methods that use them.

    Raises:
        OptionsError: options that are incompatible with each other or with the images.
        ImagesError: no image can be read.
        CheckpointError: ``run_dir`` belongs to other options or images.
        CancelledError: cancelled before there was a result.
    """
    from fiftyone_deepcluster.images.inspect import image_facts

    options = parse_options(options)
    observer, known = observer_or_silent(observer), Known() if known is None else known
    if not isinstance(known, Known):
        raise OptionsError(
            f"known={arguments.short(known)} is not a Known object; give Known(groups=..., initial=...)"
        )
    directory = None if run_dir is None else arguments.path_of("run_dir", run_dir)
    if features is not None:
        return _fit_features(options, (images, features), truth, observer, run_dir=directory, known=known)
    facts = image_facts(images)
    resolved, remarks = resolve(options, facts, directory)
    network = None if known.network is None else arguments.path_of("network", known.network)
    stored = stored_network(
        directory and directory / checkpoints.CHECKPOINT, network and network / checkpoints.MODEL
    )
    check_early(resolved, directory, stored)
    with open_store(images, resolved, observer) as store:
        classes = None if truth is None else numbers_of(truth, store, "truth")
        numbers = known_numbers(known, store, resolved)
        job = _Job(
            options, resolved, store, observer, directory, classes, None, numbers, network, remarks, images, stored,
            lost_files(resolved, stored) if stored is not None and clusters_first(resolved) else "",
        )  # fmt: skip
        check_fits_images(job.store.shape[0], job.resolved, features=job.given is not None)
        return _run(job)


def _fit_features(
    options: Options,
    given_for: tuple[ImageInput, NDArray[np.float32] | Mapping[str, NDArray[np.float32]]],
    truth: Sequence[object] | None,
    observer: Observer,
    *,
    run_dir: Path | None,
    known: Known,
) -> FitResult:
    import torch

    from fiftyone_deepcluster.images.inspect import ImageFacts

    images, features = given_for[0], as_features(given_for[1])
    if images is not None and not arguments.is_sequence(images):
        raise ImagesError(f"images={arguments.short(images)} is not a list of images; give a list, or None")
    if images is not None and len(images) != len(features):
        raise OptionsError(
            f"features has {counted(len(features), 'row')}, but images has {counted(len(images), 'entry', 'entries')}; "
            "give one row per image, NaN where unknown"
        )
    store = NoPixels(features)
    check_varied(features, "features")
    if not len(store.kept):
        raise ImagesError(f"{none_of(len(features), 'row')} of features is finite; compute them again")
    classes = None if truth is None else numbers_of(truth, store, "truth")
    facts = ImageFacts(n=len(store.kept), side=8, gray=True, height=8, width=8)
    resolved, remarks = resolve(options, facts, run_dir)
    check_early(resolved, run_dir)
    given = torch.from_numpy(features[store.kept])
    numbers = known_numbers(known, store, resolved)
    job = _Job(options, resolved, store, observer, run_dir, classes, given, numbers, remarks=remarks)
    check_fits_images(job.store.shape[0], job.resolved, features=job.given is not None)
    return _run(job)


def _run(job: _Job) -> FitResult:
    from fiftyone_deepcluster.training.loop import LoopSettings, run

    state = _load(job)
    _check_kept(state, job)
    corpus, parts = _assembled(job)
    _announce(state, job)
    options = job.resolved
    first = None if job.lost else baseline_features(options, corpus)
    settings = LoopSettings(options.rounds, options.seed, options.max_minutes, job.truth)
    n, kept = len(job.store.kept) + len(job.store.errors), job.store.kept
    history = RoundHistory(n, job.run_dir, kept=kept, writes=corpus.compute.rank == 0)
    if state is None and job.network is not None:
        load_network(corpus.network, job.network)
    _check_shared(state, job, corpus.compute)
    run_state = run(
        parts.training_spec, corpus, settings, history=history, state=state, keep=_checkpoint_writer(job)
    )
    corpus.compute.wait_for_all()  # until the first process has written the last round, which the others read
    if run_state.assignment is None or (
        not run_state.rounds and run_state.stop_reason == StopReason.CANCELLED
    ):
        raise CancelledError("cancelled before the first round was complete; there is no result")
    record = _record(job, corpus, run_state)
    if options.baselines and not job.lost and run_state.stop_reason != StopReason.CANCELLED:
        add_baselines(record, run_state.assignment, first, job.truth, job.observer)
    _save_model(job, corpus, parts, run_state)
    return _result(job, run_state, record)


def _assembled(job: _Job) -> tuple[Corpus, Parts]:
    """Corpus and parts; of a continued run, values of weights are read only if the baselines need them."""
    values = clusters_first(job.resolved) and not job.lost
    with (
        lost_file_named(CONTINUED, job.resolved, OTHER_RUN_DIR),
        options_to_build(job.resolved, job.stored, values=values) as built_with,
    ):
        corpus, parts = assemble(built_with, job.store, job.observer, job.given, job.images)
    corpus.groups, corpus.initial, corpus.fixed = job.known.groups, job.known.initial, job.known.fixed
    corpus.weights, corpus.other_vectors = job.known.weights, job.known.other_vectors
    return corpus, parts


def _load(job: _Job) -> dict[str, Any] | None:
    """The checkpoint in ``run_dir``, if there is one.

    Raises:
        CheckpointError: it belongs to other options or images.
    """
    if job.run_dir is None or not (job.run_dir / checkpoints.CHECKPOINT).exists():
        return None
    state = checkpoints.load(job.run_dir / checkpoints.CHECKPOINT)
    remedy = START_ANEW
    if job.store.errors:
        remedy = f"{notes.unread(job.store, job.images)[0]}. Restore these files if the run read them; else {remedy}"
    check_same(state["fingerprint"], job.fingerprint, job.run_dir, remedy)
    return state


def _check_kept(state: dict[str, Any] | None, job: _Job) -> None:
    """Raise CheckpointError if the network is to be built without values, and nothing is left that has them."""
    if state is None and job.network is None and job.stored is not None:
        raise CheckpointError(
            f"{job.run_dir} lost its checkpoint while the images were read: another process deleted it; fit again"
        )


def _announce(state: dict[str, Any] | None, job: _Job) -> None:
    """Report the last round of a resumed run, so that progress starts at the next one."""
    if state is not None and state["rounds"]:
        report_resumed(job.observer, Round.model_validate(state["rounds"][-1]), job.resolved.rounds)


def _check_shared(state: dict[str, Any] | None, job: _Job, compute: Compute) -> None:
    """Raise CheckpointError in all processes unless they loaded the same checkpoint."""
    rounds = -1 if state is None else len(state["rounds"])
    least, most = compute.all_reduce_min(rounds), -compute.all_reduce_min(-rounds)
    if least != most:
        raise CheckpointError(
            f"process {compute.rank} found {'no checkpoint' if rounds < 0 else counted(rounds, 'round')} in "
            f"{job.run_dir}, and another process a different one; give a run_dir on a file system that all hosts share"
        )


def _checkpoint_writer(job: _Job) -> Keep | None:
    if job.run_dir is None:
        return None
    path, more = job.run_dir / checkpoints.CHECKPOINT, {"fingerprint": job.fingerprint}
    more |= {"resolved": compared(job.resolved), **job.configuration}
    return lambda state: checkpoints.save(path, {**state, **more})


def _record(job: _Job, corpus: Corpus, run_state: RunState) -> RunRecord:
    labels = run_state.assignment.labels if run_state.assignment is not None else np.zeros(0)
    return RunRecord(
        method=job.options.name,
        options=job.options.as_given(),
        resolved=job.resolved.model_dump(mode="json"),
        rounds=run_state.rounds,
        stop_reason=run_state.stop_reason,
        n_images=len(corpus),
        n_failed=len(job.store.errors),
        n_clusters=len(np.unique(labels[labels >= 0])),
        environment=environment(corpus),
        notes=_notes(job, run_state),
    )


def _notes(job: _Job, run_state: RunState) -> list[str]:
    """Notes for the run record."""
    messages = [*job.remarks, *notes.unread(job.store, job.images)]
    options = job.resolved.model_dump(mode="json")
    if run_state.assignment is not None:
        messages += notes.in_no_cluster(run_state.assignment.labels, options)
        messages += notes.in_one_cluster(run_state.assignment.labels, job.resolved.n_clusters)
    groups, initial, fixed = job.known.groups, job.known.initial, job.known.fixed
    if groups is not None and job.resolved.held_out_share > 0:
        messages += notes.not_held_out(groups, run_state.rounds)
    if fixed is not None and run_state.assignment is not None:
        messages += notes.kept(initial, fixed, run_state.assignment.labels)
    messages += notes.without_vectors(job.known.other_vectors)
    messages += notes.without_baselines(job.lost)
    messages += notes.of_rounds(run_state.rounds)
    settled = notes.not_settled(run_state.rounds, run_state.stop_reason, options)
    return [*messages, *run_state.notes, *settled]


def _save_model(job: _Job, corpus: Corpus, parts: Parts, run_state: RunState) -> None:
    """Save what ``predict`` needs."""
    import torch

    assignment = run_state.assignment
    if job.run_dir is None or assignment is None or job.given is not None or corpus.compute.rank:
        return
    ids = np.flatnonzero(np.isfinite(assignment.centers).all(axis=1))
    model = {
        "options": job.resolved.model_dump(mode="json"),
        **job.configuration,
        "network": {name: value.cpu() for name, value in corpus.network.state_dict().items()},
        "reduction": parts.training_spec.task.state_dict().get("reduction"),
        "ids": torch.from_numpy(ids),
        "centers": torch.from_numpy(assignment.centers[ids]),
    }
    checkpoints.save(job.run_dir / checkpoints.MODEL, model)


def _result(job: _Job, run_state: RunState, record: RunRecord) -> FitResult:
    found, spread = run_state.assignment, Spread(job.store)
    if found is None:
        raise CancelledError("cancelled before there was a result")
    return FitResult(spread.assignment(found), run_state.history, record, job.run_dir)
