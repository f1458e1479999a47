"""Inputs of a run that are read from the dataset besides its images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from fiftyone_deepcluster.api.fit_arguments import check_varied
from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.words import all_of, counted
from fiftyone_deepcluster.dataset.io.read_fields import read_truth
from fiftyone_deepcluster.dataset.io.side_fields import read_known
from fiftyone_deepcluster.dataset.io.vectors import check_single, stored_vectors
from fiftyone_deepcluster.errors import InputError, OptionsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.types import Known
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.methods.base import Options


@dataclass(frozen=True)
class Inputs:
    """Values of the N images of a source, in the same order.

    Attributes:
        known: groups and initial labels.
        truth: N known classes, for evaluation only; None if not requested.
        features: (N, D) or (N, V, D) float32 vectors, instead of network features or together with them; None if not
            given.
        missing: row -> reason why that row of ``features`` has no vector.
    """

    known: Known
    truth: list[object | None] | None = None
    features: NDArray[np.float32] | None = None
    missing: dict[int, str] = field(default_factory=dict)


def check_number(options: Options, n: int) -> None:
    """Raise OptionsError if there are more clusters than the ``n`` images."""
    if options.n_clusters is not None and options.n_clusters > n:
        raise OptionsError(
            f"n_clusters={options.n_clusters} is more than the {counted(n, 'image')}; lower it or add images"
        )


def _known_classes(source: SampleSource, field: str) -> list[object | None]:
    truth = read_truth(source, field)
    if all(known is None for known in truth):
        raise InputError(
            f"truth_field={field!r} is empty for {all_of(len(source), 'image')}; give a field with classes of these "
            "images, or none"
        )
    return truth


def read_inputs(source: SampleSource, options: Options, settings: dict[str, object]) -> Inputs:
    """Read and validate the fields named in options and settings (``truth_field``, ``embeddings_field``).

    Raises:
        OptionsError: more clusters than images, or an option that needs a field that is not given.
        InputError: no such field, or its values cannot be used.
    """
    check_number(options, len(source))
    known = read_known(source, options)
    truth_field, vectors_field = settings["truth_field"], settings["embeddings_field"]
    truth = None if truth_field is None else _known_classes(source, cast("str", truth_field))
    if vectors_field is None:
        return Inputs(known, truth)
    features, missing = stored_vectors(source, cast("str | list[str]", vectors_field))
    if options.joins_vectors:
        check_single(features, cast("str | list[str]", vectors_field))
    check_varied(features, f"embeddings_field={short(vectors_field)}")
    return Inputs(known, truth, features, missing)
