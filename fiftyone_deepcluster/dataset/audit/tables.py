"""Export and import of decisions as a CSV table."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.disk import new_file
from fiftyone_deepcluster.dataset.audit.audit import audit_rows
from fiftyone_deepcluster.dataset.audit.decisions import Decision, make_decision, read_decision
from fiftyone_deepcluster.dataset.review.names import clean_name
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from fiftyone_deepcluster.dataset.audit.audit import Audit

_COLUMNS = (
    "id", "sample_id", "filepath", "given", "suggestion", "p_wrong", "reason", "group", "decision", "label",
)  # fmt: skip
_NEEDED = ("id", "decision")


def write_decisions(audit: Audit, path: str | Path) -> Path:
    """One row per judged label, the most suspicious first; ``decision`` and ``label`` are to be filled in.

    Raises:
        InputError: not a path that ends in ``.csv``, or a folder that does not exist.
        DiskError: the file cannot be written; an older file is unchanged.
    """
    target = arguments.new_file_path("path", path, ".csv")
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
        InputError: no such file, missing columns, unknown ids, or invalid decisions.
    """
    source = arguments.path_of("path", path)
    rows = _rows(source, str(path))
    missing = [name for name in _NEEDED if not rows or name not in rows[0]]
    if missing:
        raise InputError(
            f"path={str(path)!r} has no column {' and no column '.join(missing)}, or no rows; give a table that "
            "export wrote"
        )
    judged = {row["id"]: row for row in audit_rows(audit) if row["rank"] is not None}
    decided: dict[str, Decision] = {}
    for number, row in enumerate(rows, start=2):
        if not (row["decision"] or "").strip():
            continue
        where = f" in line {number} of {source.name}"
        image = row["id"]
        if image not in judged:
            raise InputError(
                f"id={arguments.short(image)}{where} is not a judged image of audit {audit.key!r}"
            )
        try:
            decision = _decision(row, judged[image], where)
        except InputError as error:
            raise InputError(f"{error} (line {number} of {source.name})") from None
        if decided.setdefault(image, decision) != decision:
            raise InputError(
                f"id={image!r}{where} has decision {decision.text!r}, and {decided[image].text!r} in a line before; "
                "leave one of them"
            )
    if not decided:
        raise InputError(f"path={str(path)!r} has no decisions; fill in the column decision")
    return decided


def _rows(source: Path, given: str) -> list[dict[str, str]]:
    """Rows of a table with commas, or with the semicolons or tabs of spreadsheets in some countries."""
    try:
        text = source.read_text("utf-8-sig")
        header = text.partition("\n")[0]
        between = max(",;\t", key=header.count)
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=between)
        table.fieldnames = [name.strip().lower() for name in table.fieldnames or ()]
        return list(table)
    except UnicodeDecodeError:
        raise InputError(
            f"path={given!r} cannot be read as a CSV table: it is not in UTF-8; save it as CSV UTF-8"
        ) from None
    except (OSError, csv.Error) as error:
        raise InputError(f"path={given!r} cannot be read as a CSV table: {error}") from None


def _decision(row: dict[str, str], judged: dict[str, Any], where: str) -> Decision:
    """Decision in a row; "accept" means the suggestion in the table, which a refit may have replaced since."""
    verdict = row["decision"].strip().lower()
    label = (row.get("label") or "").strip() or None
    now = judged["suggestion"]
    if verdict == "accept":
        shown = (row.get("suggestion") or "").strip() or now
        label = label or shown
        accepted = Decision("accept", label if label in (None, now) else clean_name(str(label), "label"))
        if label is not None and (label in (shown, now) or accepted.text == judged["decision"]):
            return accepted
        verdict = verdict if label is None else "other"
    return make_decision(verdict, label, now, where)
