"""Names of clusters and labels: checks, and which names the run gave by itself."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.io.write import NOISE
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.metrics.matching import cluster_names

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_LONGEST_NAME = 200
_UNSHOWN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that names may not contain: control, surrogate, line and paragraph separator."""
_AUTOMATIC = re.compile(r"cluster-\d+")


def is_automatic(name: str) -> bool:
    """Whether a cluster has the name that the run gave it, such as ``cluster-03``, or none."""
    return name == NOISE or _AUTOMATIC.fullmatch(name) is not None


def free_names(taken: Collection[str], n_clusters: int, count: int) -> list[str]:
    """Automatic names of ``count`` new clusters of a run that found ``n_clusters``."""
    numbers = [int(name.rpartition("-")[2]) for name in taken if _AUTOMATIC.fullmatch(name)]
    first = max([n_clusters - 1, *numbers]) + 1
    return cluster_names(first + count)[first:]


def several(clusters: Sequence[str]) -> list[str]:
    """Distinct names. A plain string is rejected: it would be read as a list of characters."""
    if isinstance(clusters, str):
        raise InputError(
            f"clusters={arguments.short(clusters)} is one name; give a list of names, such as ['cluster-00']"
        )
    return list(dict.fromkeys(arguments.names("clusters", clusters, "cluster-00")))


def cluster_name(name: str, option: str) -> str:
    """``clean_name``, and reject the name reserved for images in no cluster."""
    text = clean_name(name, option)
    if text == NOISE:
        raise InputError(
            f"{option}={NOISE!r} is reserved for images in no cluster; choose another name, such as 'rest'"
        )
    return text


def clean_name(name: str, option: str) -> str:
    """A name without spaces around it.

    Raises:
        InputError: not a string, empty, too long, or with characters that cannot be shown in a line.
    """
    if not isinstance(name, str):
        raise InputError(
            f"{option}={arguments.short(name)} is not a string; give a name such as 'ankle boot'"
        )
    text = name.strip()
    if not text:
        raise InputError(f"{option} is empty; give a name")
    if len(text) > _LONGEST_NAME:
        raise InputError(
            f"{option}={arguments.short(text)} has more than {_LONGEST_NAME} characters; give a shorter name"
        )
    if any(unicodedata.category(letter) in _UNSHOWN for letter in text):
        raise InputError(
            f"{option}={arguments.short(text)} contains unprintable characters, such as a line break; give a name that "
            "fits in one line"
        )
    return text
