"""What a run is given from the dataset besides its images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from fiftyone_deepcluster.dataset.io.read_images import read_truth
from fiftyone_deepcluster.dataset.io.side_fields import read_known
from fiftyone_deepcluster.dataset.io.vectors import stored_vectors
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.types import Known
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.methods.base import Options


@dataclass(frozen=True)
class Inputs:
    """Values of the N images of a source, in its order.

    Attributes:
        known: groups and first labels.
        truth: N known classes, to measure only; None: not asked for.
        features: (N, D) float32 vectors in place of a network's; None: there are none.
        missing: row -> why that row of ``features`` has no vector.
    """

    known: Known
    truth: list[object | None] | None = None
    features: NDArray[np.float32] | None = None
    missing: dict[int, str] = field(default_factory=dict)


def read_inputs(source: SampleSource, options: Options, settings: dict[str, object]) -> Inputs:
    """The fields that options and settings name (``truth_field``, ``embeddings_field``), checked.

    Raises:
        OptionsError: more clusters than images, or an option that needs a field that is not named.
        InputError: no such field, or its values are of no use.
    """
    if options.n_clusters is not None and options.n_clusters > len(source):
        raise OptionsError(
            f"n_clusters={options.n_clusters} is more than the {len(source)} images; lower it or add images"
        )
    known = read_known(source, options)
    truth_field, vectors_field = settings["truth_field"], settings["embeddings_field"]
    truth = None if truth_field is None else read_truth(source, cast("str", truth_field))
    if vectors_field is None:
        return Inputs(known, truth)
    features, missing = stored_vectors(source, cast("str", vectors_field))
    return Inputs(known, truth, features, missing)
