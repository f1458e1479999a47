"""``python -m tests.faults``: kill processes and databases before each of their changes, and print what survived."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.walk import Walked

_WIDTH = 34
_DATABASES = 6
"""Changes of each operation before which a database is killed."""


def main() -> int:
    """Walk through the kill points of the chosen groups; 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("groups", nargs="*", help="names of groups; all without")
    parser.add_argument("--few", type=int, help="try this many kill points of each group, evenly spread")
    parser.add_argument("--changes", action="store_true", help="also print the changes")
    parser.add_argument("--json", action="store_true", help="print one JSON line for each group")
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # threads of a process do not outlive a fork
    sys.dont_write_bytecode = True
    from tests.conftest import start_database

    os.environ["FIFTYONE_DATABASE_URI"] += "/?serverSelectionTimeoutMS=3000"
    root = start_database().root
    with tempfile.TemporaryDirectory(prefix="faults-", dir=root) as folder:
        return _walk_all(chosen, Path(folder))


def _walk_all(chosen: argparse.Namespace, root: Path) -> int:
    few = chosen.few
    from tests.faults.points import Points

    points = Points(str(root.parent))  # before FiftyOne connects
    from tests.faults.databases import GROUPS, walk_databases
    from tests.faults.operations import OPERATIONS
    from tests.faults.walk import import_all, walk, write_digits

    import_all()
    logging.disable(logging.WARNING)  # each recovery warns
    write_digits(root / "digits")
    if not chosen.json:
        print(f"{'group':{_WIDTH}}{'changes':>8}{'tried':>7}{'survived':>10}{'lost':>6}", flush=True)
    lost = 0
    for group in chosen.groups or [*OPERATIONS, *GROUPS]:
        if group in GROUPS:  # a database takes seconds to start
            found = walk_databases(points, group, root, lambda n: _spread(n, few or _DATABASES))
        else:
            found = walk(points, group, root, lambda n: range(n) if few is None else _spread(n, few))
        lost += len(found.lost)
        _show(found, chosen)
    return 1 if lost else 0


def _spread(n: int, few: int) -> list[int]:
    return sorted({n * (index + 1) // (few + 1) for index in range(few)})


def _show(found: Walked, chosen: argparse.Namespace) -> None:
    if chosen.json:
        print(json.dumps({"group": found.group, "tried": found.tried, "lost": found.lost}), flush=True)
        return
    counts = f"{len(found.changes):8}{found.tried:7}{found.tried - len(found.lost):10}{len(found.lost):6}"
    print(f"{found.group:{_WIDTH}}{counts}", flush=True)
    for change in found.changes if chosen.changes else ():
        print(f"        {change}", flush=True)
    for number, what in found.lost.items():
        print(f"    {number:3} {what}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
