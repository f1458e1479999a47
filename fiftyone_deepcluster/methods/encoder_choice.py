"""Options of an encoder that were not given, and that follow from the clusterer of its vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fiftyone_deepcluster.clusterers.base import Clusterer
    from fiftyone_deepcluster.features.base import Encoder


def left_to_clusterer(encoder: Encoder) -> set[str]:
    """Options of the encoder that depend on the clusterer, since they were not given."""
    depend = {"l2_normalize", "pca", "whiten"} if encoder.name == "pooled" else {"l2_normalize"}
    return (depend & type(encoder).model_fields.keys()) - encoder.model_fields_set


def encoder_for(encoder: Encoder, clusterer: Clusterer) -> Encoder:
    """The encoder, with LDPO's values where none were given.

    Pooled features have no PCA, as in the paper (table 1). For RIM, vectors are not scaled to length 1, because its
    penalty depends on their scale; as it has one weight per dimension and cluster, pooled features are then
    reduced, but not whitened.
    """
    rim = clusterer.name == "rim"
    wanted: dict[str, object] = {"l2_normalize": False} if rim else {}
    if encoder.name == "pooled":
        wanted |= {"whiten": False} if rim else {"pca": 0}
    known = left_to_clusterer(encoder)
    return encoder.model_copy(update={name: value for name, value in wanted.items() if name in known})
