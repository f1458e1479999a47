"""Whether the files of weights that a stored run was made with are still there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.api.given_weights import lost_files, lost_message
from fiftyone_deepcluster.errors import RunError

if TYPE_CHECKING:
    from fiftyone_deepcluster.methods.base import Options


def check_weights(key: str, options: Options) -> None:
    """Raise RunError if a file or folder is gone from which the network of the run ``key`` is built."""
    lost = lost_files(options)
    if lost:
        raise RunError(lost_message(f"run {key!r}", lost, "cluster again with overwrite=True"))
