"""Runs in files of JSON lines, and tables of text, for all benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def append_runs(path: Path | None, runs: Iterable[dict[str, Any]]) -> None:
    """Append each run to a file, as a line of JSON; None: nothing."""
    if path is not None:
        with path.open("a") as file:
            file.writelines(json.dumps(run) + "\n" for run in runs)


def read_runs(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """The runs of files that ``append_runs`` has written, in order."""
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table with aligned columns."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
