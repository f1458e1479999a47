"""Decisions as a CSV table, out and back in."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.disk import new_file
from fiftyone_deepcluster.dataset.audit.audit import audit_rows
from fiftyone_deepcluster.dataset.audit.decisions import Decision, make_decision, read_decision
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from fiftyone_deepcluster.dataset.audit.audit import Audit

_COLUMNS = (
    "id", "sample_id", "filepath", "given", "suggestion", "p_wrong", "reason", "group", "decision", "label",
)  # fmt: skip
_NEEDED = ("id", "decision")


def write_decisions(audit: Audit, path: str | Path) -> Path:
    """One row a judged label, the most suspicious first; ``decision`` and ``label`` are to be filled in.

    Raises:
        InputError: not a path that ends in ``.csv``, or a folder that does not exist.
        DiskError: the file cannot be written; an older file is unchanged.
    """
    target = arguments.path_of("path", path)
    if target.suffix != ".csv":
        raise InputError(f"path={str(path)!r} must end in .csv")
    if not target.parent.is_dir():
        raise InputError(f"path={str(path)!r}: there is no folder {str(target.parent)!r}; create it first")
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for row in audit_rows(audit):
        if row["rank"] is None:
            continue
        decision = read_decision(row["decision"])
        verdict, label = ("", "") if decision is None else (decision.verdict, decision.label or "")
        writer.writerow({**row, "p_wrong": f"{row['p_wrong']:.4f}", "decision": verdict, "label": label})
    with new_file(target, "the table", after="call export again", elsewhere="give another path") as file:
        file.write(table.getvalue().encode("utf-8"))
    return target


def read_decisions(audit: Audit, path: str | Path) -> dict[str, Decision]:
    """Id of each image with a decision in a table -> decision.

    Raises:
        InputError: no such file, columns that are missing, unknown ids, or decisions that are none.
    """
    source = arguments.path_of("path", path)
    try:
        rows = list(csv.DictReader(io.StringIO(source.read_text("utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"path={str(path)!r} cannot be read as a CSV table: {error}") from None
    missing = [name for name in _NEEDED if not rows or name not in rows[0]]
    if missing:
        raise InputError(
            f"path={str(path)!r} has no column {' and no column '.join(missing)}, or no rows; give a table that "
            "export wrote"
        )
    suggestions = {row["id"]: row["suggestion"] for row in audit_rows(audit) if row["rank"] is not None}
    decided = {}
    for number, row in enumerate(rows, start=2):
        verdict = (row["decision"] or "").strip().lower()
        if not verdict:
            continue
        where = f" in line {number} of {source.name}"
        if row["id"] not in suggestions:
            raise InputError(
                f"id={arguments.short(row['id'])}{where} is not a judged image of audit {audit.key!r}"
            )
        label = (row.get("label") or "").strip() or None
        try:
            decided[row["id"]] = make_decision(verdict, label, suggestions[row["id"]], where)
        except InputError as error:
            raise InputError(f"{error} (line {number} of {source.name})") from None
    if not decided:
        raise InputError(f"path={str(path)!r} has no decisions; fill in the column decision")
    return decided
