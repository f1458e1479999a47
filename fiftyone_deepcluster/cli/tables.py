"""Plain-text tables for the terminal."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiftyone_deepcluster.core.record import Round

_BAR_WIDTH = 24
_NARROWEST = 20  # minimum width of a column in characters
_ANY_WIDTH = 10_000
_NOTHING = "–"
_TRUTH_NOTE = "\n* compared with the known classes: for evaluation only, never used"


def text_table(columns: Sequence[str], rows: Sequence[Sequence[object]], width: int | None = None) -> str:
    """Format a table; columns are as wide as their widest cell, numbers right-aligned, text left-aligned.

    Args:
        columns: column titles.
        rows: cell values.
        width: maximum line length in characters; the last column is wrapped.
    """
    cells = [[_text(value) for value in row] for row in rows]
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for i, title in enumerate(columns):
        right = bool(cells) and all(_is_number(row[i]) for row in cells)
        widest = max(len(row[i]) for row in [list(columns), *cells])
        table.add_column(
            title,
            justify="right" if right else "left",
            overflow="fold",
            min_width=widest if i < len(columns) - 1 else min(widest, _NARROWEST),
        )
    for row in cells:
        table.add_row(*row)
    return _plain(table, width)


def rounds_table(rounds: Sequence[Round]) -> str:
    """Table of rounds: loss, agreement with the last round, sizes; scores against ground truth, if given."""
    columns = ["round", "loss", "NMI to last", "clusters", "largest", "seconds"]
    with_truth = any(entry.truth is not None for entry in rounds)
    if with_truth:
        columns += ["ACC*", "NMI*", "ARI*"]
    rows: list[list[object]] = []
    for entry in rounds:
        row: list[object] = [
            entry.index + 1,
            entry.loss,
            entry.change.nmi if entry.change else None,
            entry.clusters_in_use,
            f"{entry.largest_share:.1%}",
            f"{sum(entry.seconds.values()):.1f}",
        ]
        if with_truth:
            truth = entry.truth
            row += [truth.acc, truth.nmi, truth.ari] if truth else [None, None, None]
        rows.append(row)
    return text_table(columns, rows) + (_TRUTH_NOTE if with_truth else "")


def clusters_table(labels: Sequence[str | None], truth: Sequence[object] | None = None) -> str:
    """Table of clusters: size, share, and the most frequent known class, if classes are given.

    Args:
        labels: cluster name per image, or None.
        truth: known class per image, or None.
    """
    named = [label for label in labels if label is not None]
    counts = Counter(named)
    largest = max(counts.values(), default=1)
    columns = ["cluster", "images", "share", ""]
    if truth is not None:
        columns += ["mostly*", "of them*"]
    rows: list[list[object]] = []
    for name in sorted(counts):
        size = counts[name]
        bar = "█" * max(1, round(_BAR_WIDTH * size / largest))
        row: list[object] = [name, size, f"{size / len(named):.1%}", bar]
        if truth is not None:
            known = (t for label, t in zip(labels, truth, strict=True) if label == name)
            inside = Counter(value for value in known if value is not None)
            winner, count = inside.most_common(1)[0] if inside else ("", 0)
            row += [str(winner), f"{count / size:.0%}"]
        rows.append(row)
    return text_table(columns, rows) + (_TRUTH_NOTE if truth is not None else "")


def _plain(table: Table, width: int | None) -> str:
    """Text of a table without colors and trailing spaces."""
    text = StringIO()
    console = Console(
        file=text,
        width=width or _ANY_WIDTH,
        color_system=None,
        legacy_windows=False,
        markup=False,
        emoji=False,
    )
    console.print(table, crop=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _is_number(cell: str) -> bool:
    digits = cell.removesuffix("%").removeprefix("-").replace(",", "").replace(".", "", 1)
    return cell == _NOTHING or digits.isdigit()


def _text(value: object) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
