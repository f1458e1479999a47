"""Precomputed vectors, for methods that cluster them instead of, or together with, their own features."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.api.fit_arguments import check_range, check_varied, joined
from fiftyone_deepcluster.backbones.downloads import download_problem
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.progress import observer_or_silent, stop_if_cancelled
from fiftyone_deepcluster.core.words import any_of
from fiftyone_deepcluster.dataset.io.read_fields import read_embeddings
from fiftyone_deepcluster.dataset.io.read_images import collect_images
from fiftyone_deepcluster.errors import DeepClusterError, InputError, OptionsError
from fiftyone_deepcluster.methods.base import methods_that

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import fiftyone as fo
    import numpy as np
    from fiftyone.core.utils import ProgressBar
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.methods.base import Options


def check_given(options: Options, embeddings_field: str | Sequence[str] | None, model: Any) -> None:
    """Raise OptionsError if vectors are given to a method that does not use any, or if both arguments are given."""
    if embeddings_field is not None and model is not None:
        raise OptionsError(
            f"embeddings_field={arguments.short(embeddings_field)} and model={arguments.short(model)}: give one of "
            "the two"
        )
    for name, value in (("embeddings_field", embeddings_field), ("model", model)):
        if value is not None and not (options.accepts_features or options.joins_vectors):
            raise OptionsError(
                f"{name}={arguments.short(value)} works with {methods_that('accepts_features', 'joins_vectors')} only; "
                f"{options.name!r} learns its own features"
            )
    if isinstance(model, type):
        raise OptionsError(f"model={model.__name__} is a class; give a model, such as {model.__name__}()")
    if isinstance(model, str):
        import fiftyone.zoo as foz

        if model not in foz.list_zoo_models():
            raise OptionsError(
                f"model={arguments.short(model)} is not in FiftyOne's zoo; see fiftyone.zoo.list_zoo_models()"
            )
    elif model is not None and not getattr(model, "has_embeddings", False):
        raise OptionsError(
            f"model={model_name(model)} has no embeddings; choose a FiftyOne model with embeddings, or name a model of "
            "torchvision, timm or transformers as backbone"
        )


def field_names(embeddings_field: Any) -> str | list[str] | None:
    """The argument ``embeddings_field``: the name of a field as it is, several as a list, which JSON can hold.

    Raises:
        InputError: neither, a name that is there twice, or a set.
    """
    if embeddings_field is None or isinstance(embeddings_field, str):
        return embeddings_field
    return arguments.names("embeddings_field", embeddings_field, "embedding", once=True, ordered=True)


def stored_vectors(
    source: SampleSource, field: str | Sequence[str]
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Vectors of a field, or of several fields, which get the same weight.

    Returns:
        (N, D) float32, or (N, V, D) of a field with V vectors for each image, with rows of NaN for images without a
        vector, or with one of zeros; and row -> reason for those rows.

    Raises:
        InputError: see ``read_fields.read_embeddings``; all vectors are zeros; or several fields, of which one has
        several vectors for each image.
        OptionsError: too large values; or several fields, of which one has the same vector for all images.
    """
    if not isinstance(field, str):
        names = arguments.names("embeddings_field", field, "embedding", once=True, ordered=True)
        found = [stored_vectors(source, name) for name in names]
        both = joined([vectors for vectors, _ in found], names)
        for name, (vectors, _) in zip(names, found, strict=True):
            check_varied(vectors, f"embeddings_field={name!r}")
        return both, {row: reason for _, missing in reversed(found) for row, reason in missing.items()}
    vectors, missing = _stack(
        read_embeddings(source, field), f"no vector in {field!r}", f"embeddings_field={field!r}"
    )
    check_range(vectors, f"embeddings_field={field!r}")
    return vectors, missing


def check_single(vectors: NDArray[np.float32], field: str | Sequence[str]) -> None:
    """Raise InputError if the vectors of a field are several for each image, (N, V, D)."""
    if vectors.ndim > 2:
        raise InputError(
            f"embeddings_field={arguments.short(field)} has {vectors.shape[1]:,} vectors for each image, but one is "
            "used here; give a field with one vector for each image"
        )


def missing_vectors(
    samples: fo.core.collections.SampleCollection,
    field: str | Sequence[str],
    at_most: int,
    *,
    single: bool = False,
) -> Counter[str]:
    """How many images of a collection have no vector, by reason; reads as ``stored_vectors`` does, but not all images.

    Args:
        samples: a collection of whole images.
        field: a field, or several.
        at_most: maximum number of vectors to read; images without a value are counted in the whole collection.
        single: refuse several vectors for each image.

    Raises:
        ImagesError: see ``collect_images``.
        InputError: see ``stored_vectors`` and ``check_single``.
    """
    names = arguments.names("embeddings_field", field, "embedding", once=True, ordered=True)
    known, missing, left = samples, Counter[str](), samples.count()
    for name in names:
        if samples.has_field(name):
            known, before = known.exists(name), left
            left = known.count()
            missing[f"no vector in {name!r}"] = before - left
    vectors, read = stored_vectors(collect_images((known if left else samples).limit(at_most)), field)
    if single:
        check_single(vectors, field)
    missing.update(read.values() if left else ())
    return +missing


def model_vectors(
    source: SampleSource, model: Any, observer: Observer | None = None
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Embeddings computed by a FiftyOne model, or by the model of that name in its zoo.

    Args:
        source: the images.
        model: the model, or its name.
        observer: receives the progress of the phase ``embeddings``; can cancel.

    Returns:
        As in ``stored_vectors``.

    Raises:
        CancelledError: the observer requested cancellation.
        InputError: the model failed, or gave no vectors of finite numbers of one length.
        OptionsError: the zoo's model cannot be loaded, or the vectors are too large, or the same for all images.
    """
    import numpy as np

    loaded = _from_zoo(model) if isinstance(model, str) else model
    name = model_name(model)
    try:
        found = _from_model(source, loaded, observer_or_silent(observer))
        vectors, missing = _stack(found, f"{name} gave no vector", f"model={arguments.short(name)}")
    except (ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, DeepClusterError):
            raise
        raise InputError(
            f"model={arguments.short(name)} gave no embeddings that can be used ({error}); a model gives one vector of "
            "numbers for each image, all of the same length"
        ) from error
    if not np.isfinite(vectors).reshape(len(vectors), -1).all(axis=1).any():
        raise InputError(
            f"model={arguments.short(name)} gave no vector of finite numbers for "
            f"{any_of(len(vectors), 'image')}; "
            "FiftyOne logs the error of each image on which a model fails. Check the model on one image, or choose "
            "another one"
        )
    check_range(vectors, f"model={arguments.short(name)}")
    check_varied(vectors, f"model={arguments.short(name)}")
    return vectors, missing


def _from_zoo(name: str) -> Any:
    """The model of that name in FiftyOne's zoo, downloaded where it is not yet on this computer.

    Raises:
        OptionsError: it cannot be downloaded or loaded.
    """
    import fiftyone as fo
    import fiftyone.zoo as foz

    try:
        return foz.load_zoo_model(name)
    except Exception as error:  # whatever the connection, the file or the model's library raises
        raise OptionsError(
            f"model={arguments.short(name)} of FiftyOne's zoo could not be loaded ({download_problem(error)}); it is "
            "downloaded once, which needs internet. Without it, copy its files from another computer's folder of zoo "
            f"models into {fo.config.model_zoo_dir!r}, or choose another model"
        ) from error


def model_name(model: Any) -> str | None:
    """Name of a model for the record: its name in the zoo, or the name of its class."""
    if isinstance(model, str):
        return str(model)
    return None if model is None else type(model).__name__


class _NoBars:
    """Turns FiftyOne's progress bars off while any thread is inside; the last one to leave restores the setting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside, self._found = 0, True

    def __enter__(self) -> None:
        import fiftyone as fo

        with self._lock:
            if not self._inside:
                self._found = fo.config.show_progress_bars
                fo.config.show_progress_bars = False
            self._inside += 1

    def __exit__(self, *raised: object) -> None:
        import fiftyone as fo

        with self._lock:
            self._inside -= 1
            if not self._inside:
                fo.config.show_progress_bars = self._found


_NO_BARS = _NoBars()


def _from_model(source: SampleSource, model: Any, observer: Observer) -> list[NDArray[np.float32] | None]:
    field = source.patches_field
    whole = source.samples if field is None else source.samples._source_collection
    observer.phase("embeddings", len(whole))
    watched: dict[str, Any] = {"skip_failures": True, "progress": _forward_to(observer)}
    with _NO_BARS:  # FiftyOne draws a bar even if it calls a function
        if field is None:
            return list(whole.compute_embeddings(model, **watched))
        by_sample = whole.compute_patch_embeddings(model, field, **watched)
    known: dict[str, NDArray[np.float32]] = {}
    for sample_id, objects in zip(*whole.values(["id", f"{field}.detections.id"]), strict=True):
        vectors = by_sample.get(sample_id)
        known.update(zip(objects or [], vectors if vectors is not None else [], strict=False))
    return [known.get(name) for name in source.ids]


def _forward_to(observer: Observer) -> Callable[[ProgressBar], None]:
    """Function for FiftyOne's ``progress`` that forwards to an observer."""
    done = 0

    def forward(bar: ProgressBar) -> None:
        nonlocal done
        stop_if_cancelled(observer, "cancelled while the embeddings were computed")
        observer.advance(bar.iteration - done)
        done = bar.iteration

    return forward


def _stack(
    found: list[NDArray[np.float32] | None], reason: str, name: str
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Vectors as an array; a vector of zeros, as failed computations leave them, counts as none."""
    import numpy as np

    shape = next((vector.shape for vector in found if vector is not None), (1,))
    vectors = np.full((len(found), *shape), np.nan, np.float32)
    missing = {}
    for row, vector in enumerate(found):
        if vector is None:
            missing[row] = reason
        elif not vector.any():
            missing[row] = f"{name} has a vector of zeros"
        else:
            vectors[row] = vector
    if len(missing) == len(found) and any(vector is not None for vector in found):
        raise InputError(f"{name} has vectors of zeros only, for all images; compute the embeddings again")
    return vectors, missing
