"""Result of one check of the ``doctor`` command, and helpers of the checks."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata, util
from typing import Literal

State = Literal["ok", "missing", "optional"]
DISTRIBUTION = "fiftyone-deepcluster"


@dataclass(frozen=True)
class Check:
    """Result of the check of one required or optional component.

    Attributes:
        name: name of the component.
        state: ``ok``; ``missing``: required, but missing; ``optional``: missing, but only one feature
            depends on it.
        detail: version and location, or the problem.
        fix: command that fixes the problem; empty if there is none.
    """

    name: str
    state: State
    detail: str
    fix: str = ""


def pip_install(*requirements: str) -> str:
    """Command that installs ``requirements`` into the current environment."""
    quoted = " ".join(f"'{requirement}'" for requirement in requirements)
    return f"{sys.executable} -m pip install {quoted}"


def requirement_of(package: str) -> str:
    """Requirement of this project on ``package``, for instance ``umap-learn>=0.5.6``.

    Read from the installed metadata, so that versions are only defined in pyproject.toml.
    """
    from packaging.requirements import Requirement

    for line in metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(line)
        if requirement.name == package:
            return f"{requirement.name}{requirement.specifier}"
    return package


def version_of(package: str) -> str | None:
    """Version of a distribution; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_installed(module: str, package: str) -> Check:
    """Check whether ``package`` is installed and ``module`` can be found, without importing it."""
    version = version_of(package)
    if version is None or util.find_spec(module) is None:
        return Check(package, "missing", "not installed", pip_install(requirement_of(package)))
    return Check(package, "ok", version)
