"""Tables for a terminal, as plain text."""

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
_NARROWEST = 20  # characters that a column keeps however narrow the terminal is
_ANY_WIDTH = 10_000
_NOTHING = "–"
_TRUTH_NOTE = "\n* against the labels that exist: measured only, never used"


def text_table(columns: Sequence[str], rows: Sequence[Sequence[object]], width: int | None = None) -> str:
    """Columns as wide as their widest cell; numbers to the right, words to the left.

    Args:
        columns: titles.
        rows: values.
        width: characters in a line at most; words of the last column go on in the next line.
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
    """One line a round: loss, agreement with the round before, sizes, truth where it was given."""
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
    """One line a cluster: size, share, and the commonest of the existing labels where there are any.

    Args:
        labels: the cluster's name of each image, None where it has none.
        truth: an existing label of each image, None where it has none.
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
    """The text of a table, without colors and without spaces at the ends of lines."""
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
    digits = cell.removesuffix("%").removeprefix("-").replace(".", "", 1)
    return cell == _NOTHING or digits.isdigit()


def _text(value: object) -> str:
    if value is None:
        return _NOTHING
    return f"{value:.3f}" if isinstance(value, float) else str(value)
