"""Linear probes of the layers of a trained network: ``probe``, ``list_layers``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fiftyone_deepcluster.analysis.linear_probe import ProbeResult
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.progress import check_observer
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.dataset.io.read_fields import read_truth
from fiftyone_deepcluster.dataset.results.open_run import chosen_rows, images_of, open_run, store
from fiftyone_deepcluster.dataset.results.results_cache import Findings
from fiftyone_deepcluster.dataset.runs.database import database_needed
from fiftyone_deepcluster.dataset.runs.run import Run, load_run
from fiftyone_deepcluster.errors import ImagesError, InputError

if TYPE_CHECKING:
    import fiftyone as fo
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.api.trained_run import TrainedRun
    from fiftyone_deepcluster.backbones.layers import Layer
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.features.corpus import Corpus

logger = logging.getLogger(__name__)

_PROBE = "probe"

_LAYERS = "layers"

_FIRST_IMAGES = 16
_MOST_IMAGES = 10**9


@database_needed("repeat the call")
def probe(
    samples: fo.core.collections.SampleCollection,
    key: str,
    label_field: str,
    *,
    layers: str | Sequence[str] | None = None,
    folds: int = 3,
    max_images: int | None = 2_000,
    observer: Observer | None = None,
) -> ProbeResult:
    """Linear classifiers on every layer of a run's network, after and before training.

    If the file of the given weights is gone, only after training, with a warning.

    Multinomial logistic regression and a linear support vector machine on frozen features; accuracy on images
    held out by stratified cross-validation. The result is stored with the run, for the Clusters panel.

    Args:
        samples: the dataset, or a view whose images are used.
        key: key of the run.
        label_field: field with known classes; images without one are excluded, and so are classes with fewer images
            than folds.
        layers: one or several names, see ``list_layers``; by default all layers and ``embedding``, the vectors that
            the run clusters (LDPO's linear classification of the learned representation).
        folds: number of cross-validation folds, 2 to 10.
        max_images: maximum number of images, 20 or more, drawn at random; None: all.
        observer: receives progress events; can cancel.

    Raises:
        RunNotFoundError: no such run.
        RunError: its network is not stored on this machine.
        InputError: no such field or layer, or too few images with a class.
        ImagesError: too few images with a class can be read.
    """
    from fiftyone_deepcluster.analysis.linear_probe import ProbeRequest, choose_rows, probe_networks
    from fiftyone_deepcluster.metrics.matching import numbered

    folds = arguments.whole_number("folds", folds, 2, 10)
    if max_images is not None:
        max_images = arguments.whole_number("max_images", max_images, 20, _MOST_IMAGES)
    wanted = None if layers is None else arguments.names("layers", layers, "conv1")
    check_observer(observer)
    run = load_run(samples, key)
    source = images_of(run)
    classes = numbered(read_truth(source, label_field, "label_field"))[0]
    _leave_out(classes, source, samples)
    request = ProbeRequest(wanted, folds, max_images, run.options.seed)
    choose_rows(classes, request)  # fail before images are decoded
    with open_run(run, source, observer) as trained_run:
        known = classes[trained_run.store.kept]
        try:
            choose_rows(known, request)
        except InputError as error:
            raise _images_lost(source, trained_run.store.errors, error) from error
        clustered = (trained_run.vectors, trained_run.initial_vectors) if trained_run.encodes else None
        found = probe_networks(trained_run.trained, _initial_of(trained_run, key), known, request, clustered)
        units = units_by_layer(layers_of_run(trained_run))
    found = found.model_copy(update={"label_field": label_field})

    def save(now: Run) -> None:
        save_layers(now, units)
        Findings(now).save(_PROBE, found.model_dump(mode="json"))

    store(run, "probe", save)
    return found


@database_needed("repeat the call")
def list_layers(samples: fo.core.collections.SampleCollection, key: str) -> dict[str, int]:
    """Names of the layers of a run's network, in order, and the number of units of each.

    Raises:
        RunNotFoundError: no such run.
        RunError: its network is not stored on this machine.
    """
    run = load_run(samples, key)
    known = stored_layers(run)
    if known is not None:
        return known
    source = images_of(run)
    with open_run(run, _first(source), None) as trained_run:
        units = units_by_layer(layers_of_run(trained_run))
    store(run, "list_layers", lambda now: save_layers(now, units))
    return units


def stored_probe(run: Run) -> ProbeResult | None:
    """Stored result of ``probe``; None if there is none."""
    found = Findings(run).load(_PROBE)
    return None if found is None else ProbeResult.model_validate(found)


def stored_layers(run: Run) -> dict[str, int] | None:
    """Stored layers of a run's network; None if there are none."""
    return Findings(run).load(_LAYERS)


def layers_of_run(trained_run: TrainedRun) -> list[Layer]:
    """Layers of the run's network, in order."""
    import numpy as np

    from fiftyone_deepcluster.backbones.layers import layers_of

    first = next(trained_run.trained.plain_batches(np.arange(1))).images
    return layers_of(trained_run.trained.network, first)


def units_by_layer(layers: Sequence[Layer]) -> dict[str, int]:
    """The number of units of each layer by name."""
    return {layer.name: layer.units for layer in layers}


def save_layers(run: Run, units: dict[str, int]) -> None:
    """Store the number of units of each layer by name, for the App; within ``storing``."""
    Findings(run).save(_LAYERS, units)


def _initial_of(trained_run: TrainedRun, key: str) -> Corpus | None:
    """The network before training; None, with a warning, if files that it is built from are gone."""
    lost = trained_run.lost_initial
    if not lost:
        return trained_run.initial
    logger.warning(
        "the probe of run %r is of its trained network only, as the run was made with %s, which is gone",
        key, lost,
    )  # fmt: skip
    return None


def _leave_out(
    classes: NDArray[np.int64], source: SampleSource, samples: fo.core.collections.SampleCollection
) -> None:
    """Remove the classes of images outside the view, in place."""
    import numpy as np

    classes[np.setdiff1d(np.arange(len(source)), chosen_rows(source, samples))] = -1


def _images_lost(source: SampleSource, errors: Mapping[int, str], reason: InputError) -> ImagesError:
    """Error for too few readable images; ``errors`` by the index of the image in ``source``."""
    first = min(errors)
    return ImagesError(
        f"{len(errors):,} of {counted(len(source), 'image')} can no longer be read, such as "
        f"{source.images[first].path!r} ({errors[first]}); restore the files. For the remaining images: {reason}"
    )


def _first(source: SampleSource) -> SampleSource:
    """The first images: a few, in case some cannot be read."""
    return source.rows(range(len(source))[:_FIRST_IMAGES])
