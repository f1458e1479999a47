"""One operation that is killed: the state before, the allowed states after, and how the operation is completed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.layouts import RunKind

# Fewer than 20 images, so that the map is made without UMAP
N_IMAGES = 18
N_FILES = 30
"""An audit needs at least 12 images of each of two classes."""
QUIET: dict[str, Any] = {"progress": False}
FROZEN = {"method": "frozen", "n_clusters": 3, "image_size": 16, "baselines": False, "device": "cpu"} | QUIET
LEARNED = FROZEN | {"method": "deepcluster", "rounds": 2, "batch_size": 8, "min_steps": 1}


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        group: name in the table.
        prepare: creates the state before.
        act: the operation that is killed.
        expected: the states in which the runs under ``keys`` may be found, as ``absent finished``.
        finish: completes the operation, given the states.
        ends: the states after that.
        keys: keys of the runs or audits that are checked.
        kind: whether they are runs or audits.
        patches_field: Detections field whose objects are clustered, or None.
        maps: whether the runs have brain runs.
    """

    group: str
    prepare: Callable[[fo.Dataset], object]
    act: Callable[[fo.Dataset], object]
    expected: tuple[str, ...]
    finish: Callable[[fo.Dataset, str], object]
    ends: str
    keys: tuple[str, ...] = ("dc", "new")
    kind: RunKind = "clusters"
    patches_field: str | None = None
    maps: bool = True
