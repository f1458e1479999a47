"""Vectors that are there already, for the method that clusters fixed features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.dataset.io.read_images import read_embeddings
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.dataset.io.source import SampleSource

_METHOD = "frozen"


def check_given(method: str, embeddings_field: str | None, model: Any) -> None:
    """Raise OptionsError where vectors are given to a method that learns its own."""
    if embeddings_field is not None and model is not None:
        raise OptionsError(f"embeddings_field={embeddings_field!r} and model={model!r}: give one of the two")
    for name, value in (("embeddings_field", embeddings_field), ("model", model)):
        if value is not None and method != _METHOD:
            raise OptionsError(
                f"{name}={value!r} goes with method={_METHOD!r} only; {method!r} learns its own features"
            )
    if isinstance(model, str):
        import fiftyone.zoo as foz

        if model not in foz.list_zoo_models():
            raise OptionsError(
                f"model={model!r} is not in FiftyOne's zoo; see fiftyone.zoo.list_zoo_models()"
            )
    elif model is not None and not getattr(model, "has_embeddings", False):
        raise OptionsError(
            f"model={model_name(model)} gives no embeddings; choose a FiftyOne model that does"
        )


def stored_vectors(source: SampleSource, field: str) -> tuple[NDArray[np.float32], dict[int, str]]:
    """The vectors of a field.

    Returns:
        (N, D) float32 with rows of NaN for images without one; and row -> reason of those rows.

    Raises:
        InputError: see ``read_images.read_embeddings``.
    """
    return _stack(read_embeddings(source, field), f"no vector in {field!r}")


def model_vectors(source: SampleSource, model: Any) -> tuple[NDArray[np.float32], dict[int, str]]:
    """The embeddings that a FiftyOne model, or the one of that name in its zoo, gives.

    Returns:
        As ``stored_vectors``.
    """
    import fiftyone.zoo as foz

    loaded = foz.load_zoo_model(model) if isinstance(model, str) else model
    return _stack(_from_model(source, loaded), f"{model_name(model)} gave no vector")


def model_name(model: Any) -> str | None:
    """What to call a model in the record: its name in the zoo, or its class."""
    return model if model is None or isinstance(model, str) else type(model).__name__


def _from_model(source: SampleSource, model: Any) -> list[NDArray[np.float32] | None]:
    if source.patches_field is None:
        return list(source.samples.compute_embeddings(model, skip_failures=True, progress=False))
    whole, field = source.samples._source_collection, source.patches_field
    by_sample = whole.compute_patch_embeddings(model, field, skip_failures=True, progress=False)
    known: dict[str, NDArray[np.float32]] = {}
    for sample_id, objects in zip(*whole.values(["id", f"{field}.detections.id"]), strict=True):
        vectors = by_sample.get(sample_id)
        known.update(zip(objects or [], vectors if vectors is not None else [], strict=False))
    return [known.get(name) for name in source.ids]


def _stack(
    found: list[NDArray[np.float32] | None], reason: str
) -> tuple[NDArray[np.float32], dict[int, str]]:
    import numpy as np

    width = next((len(vector) for vector in found if vector is not None), 1)
    vectors = np.full((len(found), width), np.nan, np.float32)
    missing = {}
    for row, vector in enumerate(found):
        if vector is None:
            missing[row] = reason
        else:
            vectors[row] = vector
    return vectors, missing
