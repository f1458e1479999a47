"""The public calls on FiftyOne collections: ``cluster``, ``resume``, ``assign``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.runs import Run
    from fiftyone_deepcluster.observer import Observer
    from fiftyone_deepcluster.recipes.base import Options


def cluster(
    samples: fo.core.collections.SampleCollection,
    method: str | Options = "deepcluster",
    key: str = "dc",
    *,
    overwrite: bool = False,
    truth_field: str | None = None,
    patches_field: str | None = None,
    embeddings_field: str | None = None,
    model: Any = None,
    half_precision: bool = False,
    observer: Observer | None = None,
    progress: bool = True,
    compute_brain: bool = True,
    **options: Any,
) -> Run:
    """Cluster the images of a collection and write the clusters to it.

    Args:
        samples: dataset, view, patches view (``to_patches``) or group slice of images.
        method: a method's name (``list_methods()``) or an Options object.
        key: name of the run and of its fields; a Python identifier.
        overwrite: replace the run under this key; its fields and edits go. It stays as it was where
            the new run fails.
        truth_field: known classes, measured in the record and never used.
        patches_field: a Detections field whose objects are the images.
        embeddings_field: vectors to cluster in place of a network's, for ``frozen``.
        model: a FiftyOne model or the name of one in its zoo, for ``frozen``.
        half_precision: store embeddings as float16.
        observer: told of progress; may cancel.
        progress: a progress bar on stderr where no observer is given.
        compute_brain: also make the 2-D map and the similarity index.
        **options: of the method.

    Returns:
        The run, as ``load_run`` gives it.

    Raises:
        InputError: options, images or fields that cannot work, before anything is done.
        RunExistsError: the key is taken and ``overwrite`` is not set.
        RunLockedError: another process works on this key.
        RunError: cancelled before the first round was done; ``resume`` goes on.
    """
    raise NotImplementedError


def resume(
    samples: fo.core.collections.SampleCollection,
    key: str = "dc",
    *,
    observer: Observer | None = None,
    progress: bool = True,
    compute_brain: bool = True,
    **changes: Any,
) -> Run:
    """Go on with a run that was cancelled, ran out of time, or whose process died.

    Args:
        samples: the dataset, or any view of it: the run remembers its samples.
        key: of the run.
        observer: told of progress; may cancel.
        progress: a progress bar on stderr where no observer is given.
        compute_brain: also make the 2-D map and the similarity index.
        **changes: options that may differ from the first call: ``rounds``, ``max_minutes``, ``device``.

    Raises:
        RunNotFoundError: neither a run nor a checkpoint under this key.
    """
    raise NotImplementedError


def assign(
    new_samples: fo.core.collections.SampleCollection,
    key: str,
    *,
    from_dataset: fo.core.collections.SampleCollection | None = None,
    patches_field: str | None = None,
    observer: Observer | None = None,
) -> int:
    """Give images that a finished run never saw the clusters of that run.

    Args:
        new_samples: images of any dataset.
        key: of the run; the same fields are written on the new samples.
        from_dataset: where the run is kept; the new samples' own dataset by default.
        patches_field: a Detections field whose objects are the images.
        observer: told of progress; may cancel.

    Returns:
        Number of images that were given a cluster.
    """
    raise NotImplementedError
