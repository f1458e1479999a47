"""Whether the files that the network of a stored run was built from are gone, and are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.api.given_weights import lost_files, lost_message, stored_network
from fiftyone_deepcluster.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    from fiftyone_deepcluster.methods.base import Options

ANOTHER_KEY = "cluster again under another key, which keeps this run and its review"
"""How to do without lost files of a run that has clusters, in messages."""


def lost_weights(options: Options, file: Path, *, initial: bool = False) -> str:
    """Files and folders that are gone and without which a network cannot be built; empty if it can be.

    Args:
        options: resolved options of the run.
        file: its checkpoint, or the file of the finished run.
        initial: the network before training, which is that of the run if the method trains none; else that of the run.
    """
    stored = stored_network(file)
    return lost_files(options, stored, values=stored is None or (initial and options.trains))


def check_weights(
    key: str, options: Options, file: Path, *, initial: bool = False, way: str = ANOTHER_KEY
) -> None:
    """Raise RunError if the network of the run ``key`` cannot be built.

    Args:
        key: of the run.
        options: as for ``lost_weights``, as are ``file`` and ``initial``.
        file: of its network.
        initial: the network before training.
        way: how to do without the files, for the message; it must not lose what a person has reviewed.
    """
    lost = lost_weights(options, file, initial=initial)
    if lost:
        raise RunError(lost_message(f"run {key!r}", lost, way, values=initial))
