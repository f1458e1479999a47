"""``refine``: continue a reviewed run as a new run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.api.fit_arguments import MOST_WEIGHT, check_keeps_labels
from fiftyone_deepcluster.api.given_weights import check_named_files
from fiftyone_deepcluster.core import arguments, checkpoints
from fiftyone_deepcluster.core.progress import check_observer
from fiftyone_deepcluster.dataset.io.fields import check_key
from fiftyone_deepcluster.dataset.io.inputs import read_inputs
from fiftyone_deepcluster.dataset.io.read_images import root_dataset
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.dataset.runs import run_files, storage
from fiftyone_deepcluster.dataset.runs.checked_call import CheckedCall
from fiftyone_deepcluster.dataset.runs.database import database_needed
from fiftyone_deepcluster.dataset.runs.given_weights import check_weights
from fiftyone_deepcluster.dataset.runs.own_files import is_own
from fiftyone_deepcluster.dataset.runs.references import RunNames
from fiftyone_deepcluster.dataset.runs.refine_job import REFINES, REVIEWED_WEIGHT, network_of, read_decided
from fiftyone_deepcluster.dataset.runs.run import free_key, load_run
from fiftyone_deepcluster.dataset.runs.run_job import run_call
from fiftyone_deepcluster.errors import OptionsError, RunExistsError
from fiftyone_deepcluster.methods.base import Options, parse_options

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.runs.run import Run

DEFAULT_WEIGHT = 20.0
"""Weight of the reviewed images in the loss."""

_FROM_REVIEW = ("n_clusters", "pseudo_clusters", "method")


@database_needed("continue with resume(samples, new_key), or repeat the call if nothing was stored yet")
def refine(
    samples: fo.core.collections.SampleCollection,
    key: str = "dc",
    *,
    new_key: str | None = None,
    observer: Observer | None = None,
    progress: bool = True,
    compute_brain: bool = True,
    reviewed_weight: float = DEFAULT_WEIGHT,
    **changes: Any,
) -> Run:
    """Continue from the review of a run: a new run in which the reviewed images keep their clusters.

    The clusters are those of the review, with their names. Images of reviewed clusters, and images that were moved,
    keep their cluster as the target of training; rejected images are in no cluster; all others are clustered anew.
    Training starts from the network of the run. The run itself is unchanged:
    ``compare_runs(samples, key, new_key)`` compares the two.

    Args:
        samples: the dataset, or any view of it; all images of the run take part, and those assigned to it.
        key: key of the reviewed run.
        new_key: key of the new run; by default the next free one, such as ``dc2``.
        observer: receives progress events; can cancel.
        progress: show a progress bar on stderr if no observer is given.
        compute_brain: also compute the 2-D map and the similarity index.
        reviewed_weight: weight of the reviewed images in the loss, relative to that of all others.
        **changes: options of the method that differ from the run's, such as ``rounds`` or ``clusterer``.

    Returns:
        The new run; its notes say how many images kept and how many changed their cluster.

    Raises:
        RunNotFoundError: no finished run ``key``.
        InputError: nothing of the run was reviewed, or it has fewer than two clusters.
        OptionsError: the method or its clusterer cannot keep labels, or an option that follows from the review.
        RunError: the network of the run is not on this machine.
        RunExistsError: ``new_key`` is taken.
        RunLockedError: another process works on one of the keys.
        DatabaseAwayError: FiftyOne's database was stopped, or cannot be reached.
        CancelledError: cancelled before the first round was completed; ``resume(samples, new_key)`` continues.
    """
    dataset = root_dataset(samples)
    check_observer(observer)
    arguments.yes_or_no(progress=progress, compute_brain=compute_brain)
    others, run = RunNames.read_with(dataset, lambda: load_run(dataset, key))
    check_there(run)
    new_key = free_key(dataset, key) if new_key is None else new_key
    check_key(new_key, "new_key")
    if new_key in storage.keys(dataset):
        raise RunExistsError(f"{dataset.name!r} already has a run {new_key!r}; choose another new_key")
    resolved = run.resolved_options
    check_refine(run, {**changes, REVIEWED_WEIGHT: reviewed_weight})
    settings = _settings(run) | {REVIEWED_WEIGHT: float(reviewed_weight)}
    if resolved.trains:
        network_of(dataset, settings)
    source, decided = read_decided(run, by_number=not resolved.trains)
    options = _changed(resolved, len(decided.names), changes)
    call = CheckedCall(
        source,
        new_key,
        options,
        settings,
        inputs=read_inputs(source, options, settings),
        others=others,
        compute_brain=compute_brain,
        decided=decided,
    )
    return run_call(call, observer, progress)


def check_refine(run: Run, changes: dict[str, Any]) -> None:
    """Check the options of a call, without a look at the images and their review.

    Args:
        run: the run to refine.
        changes: options that differ from the run's, and ``reviewed_weight``.

    Raises:
        OptionsError, InputError, RunError: an option is refused, the method keeps no labels, or its network cannot be
            built.
    """
    changes = dict(changes)
    weight = changes.pop(REVIEWED_WEIGHT, DEFAULT_WEIGHT)
    options = _changed(run.resolved_options, 2, changes)
    check_keeps_labels(options)
    arguments.positive(REVIEWED_WEIGHT, weight, MOST_WEIGHT)
    folder = run_files.run_dir(run.dataset, run.key)
    if changes.keys() & {"weights", "backbone"} or not is_own(folder, run.uid):
        check_named_files(options)
    else:
        check_weights(run.key, run.resolved_options, folder / checkpoints.MODEL)


def _changed(resolved: Options, n_clusters: int, changes: dict[str, Any]) -> Options:
    """Options of the new run."""
    refused = [name for name in changes if name in _FROM_REVIEW]
    if refused:
        raise OptionsError(
            f"{', '.join(refused)} cannot be chosen: the clusters are those of the review, and the method is that of "
            "the run; leave it out, or cluster again"
        )
    return parse_options(resolved.going_on(n_clusters), changes)


def _settings(run: Run) -> dict[str, object]:
    """Arguments of the call: those of the run; vectors of a model are not computed again."""
    names = ("truth_field", "media_field", "embeddings_field", "half_precision")
    settings = {name: run.settings.get(name) for name in names} | {"model": None, REFINES: run.uid}
    if run.settings.get("model") is not None:
        settings["embeddings_field"] = f"{run.key}_embedding"
    return settings
