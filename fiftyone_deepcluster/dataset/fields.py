"""The fields of a run: their names, declaring, writing and removing them.

For key ``dc`` on samples:

=================== =============== ====================================================================
field               type            meaning
=================== =============== ====================================================================
``dc``              Classification  ``label``, ``confidence``; attributes ``cluster`` (int, as the run
                                    numbered it; edits leave it), ``distance`` to the cluster's centre,
                                    ``margin`` to the second nearest
``dc_embedding``    VectorField     last features, float32 (float16 on request)
``dc_round_labels`` VectorField     its cluster in every round
``dc_round_losses`` VectorField     its loss in every round, NaN where it was not drawn
``dc_changes``      int             how often it moved between rounds
``dc_stability``    float           share of its final cluster-mates kept over the last rounds
``dc_loss``         float           last loss
``dc_error``        string          only on images that could not be read: why
=================== =============== ====================================================================

For patches the same values lie on the objects, as plain attributes of each Detection: ``dc`` (the label,
a string), ``dc_confidence``, ``dc_cluster``, ``dc_distance``, ``dc_margin``, and the others as above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.source import Source
    from fiftyone_deepcluster.fitting import FitResult


@dataclass(frozen=True)
class FieldNames:
    """Where the values of a run lie: paths as ``values()`` and ``set_values()`` take them.

    Attributes:
        key: of the run.
        patches_field: the Detections field, or None for whole images.
    """

    key: str
    patches_field: str | None = None

    def path(self, name: str) -> str:
        """The path of ``label``, ``confidence``, ``cluster``, ``distance``, ``margin``, ``embedding``,
        ``round_labels``, ``round_losses``, ``changes``, ``stability``, ``loss`` or ``error``.
        """
        raise NotImplementedError

    @property
    def id_path(self) -> str:
        """The path of the images' ids: ``id``, or that of the objects."""
        raise NotImplementedError

    def roots(self) -> list[str]:
        """The fields (or attributes) to declare and to delete."""
        raise NotImplementedError

    @property
    def viz_key(self) -> str:
        """The brain key of the 2-D map."""
        return f"{self.key}_viz"

    @property
    def sim_key(self) -> str:
        """The brain key of the similarity index."""
        return f"{self.key}_sim"


def declare(dataset: fo.Dataset, names: FieldNames) -> None:
    """Add all fields of a run to the schema, with descriptions, before anything is written.

    On failure the fields added so far are removed again.
    """
    raise NotImplementedError


def write(source: Source, names: FieldNames, result: FitResult, *, half_precision: bool = False) -> None:
    """Write the result of every image, by id, in batches; declared fields only.

    An image that could not be read gets its ``error`` and nothing else.
    """
    raise NotImplementedError


def remove(dataset: fo.Dataset, names: FieldNames) -> None:
    """Delete the fields of a run, its label index included. Fields that are not there are passed over."""
    raise NotImplementedError
