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
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories that names may not contain: control, format, surrogate, line and paragraph separator.

Two names that differ by such characters only look the same, and some of them reverse the text that follows.
"""
_JOINERS = "\u200c\u200d"
"""Format characters (zero width non-joiner and joiner) that belong to words of some scripts, and to emoji."""
_JOINED = "LMNS"
"""First letters of the Unicode categories that joiners stand between: letter, mark, number, symbol."""
_VIRAMA = 9
"""Combining class of the signs after which a joiner may end a word, as in Malayalam."""
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
    unseen = _unseen(text)
    if unseen:
        what = f"U+{ord(unseen):04X} ({unicodedata.name(unseen, 'a control character')})"
        raise InputError(
            f"{option}={arguments.short(text)} contains the character {what}, which cannot be seen; give a name "
            "without it"
        )
    return text


def _unseen(text: str) -> str:
    """The first character of a name that it may not contain; empty if there is none."""
    for at, letter in enumerate(text):
        if unicodedata.category(letter) in _UNSEEN and not (letter in _JOINERS and _joins(text, at)):
            return letter
    return ""


def _joins(text: str, at: int) -> bool:
    """Whether a joiner has something to join: it stands between letters, or ends a word after a virama."""
    before, after = text[max(at - 1, 0) : at], text[at + 1 : at + 2]
    if not before or unicodedata.category(before)[0] not in _JOINED:
        return False
    if unicodedata.combining(before) == _VIRAMA:
        return True
    return bool(after) and unicodedata.category(after)[0] in _JOINED
