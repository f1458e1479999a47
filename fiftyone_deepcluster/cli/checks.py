"""One line of the doctor's report, and what every check needs to write it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata, util
from typing import Literal

State = Literal["ok", "missing", "optional"]
DISTRIBUTION = "fiftyone-deepcluster"


@dataclass(frozen=True)
class Check:
    """One thing the package needs, or can use.

    Attributes:
        name: of the thing.
        state: ``ok``; ``missing``: needed and not there; ``optional``: not there, and all but one
            feature works without it.
        detail: version and place, or what is wrong.
        mend: the command that mends it; empty where there is nothing to mend.
    """

    name: str
    state: State
    detail: str
    mend: str = ""


def pip_install(*requirements: str) -> str:
    """The command that installs ``requirements`` into this very environment."""
    quoted = " ".join(f"'{requirement}'" for requirement in requirements)
    return f"{sys.executable} -m pip install {quoted}"


def requirement_of(package: str) -> str:
    """What this project asks of ``package``, for instance ``umap-learn>=0.5.6``.

    The answer comes from the installed metadata, so pyproject.toml stays the only place of versions.
    """
    from packaging.requirements import Requirement

    for line in metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(line)
        if requirement.name == package:
            return f"{requirement.name}{requirement.specifier}"
    return package


def version_of(package: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_installed(module: str, package: str) -> Check:
    """Whether ``package`` is there and its ``module`` can be found; it is not imported."""
    version = version_of(package)
    if version is None or util.find_spec(module) is None:
        return Check(package, "missing", "not installed", pip_install(requirement_of(package)))
    return Check(package, "ok", version)
