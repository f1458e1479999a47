"""Tables for a terminal, as plain text."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiftyone_deepcluster.core.record import Round

_BAR_WIDTH = 24
_NARROWEST = 20  # characters that a column keeps however narrow the terminal is
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
    if width is not None:
        cells = _wrapped(cells, columns, width)
    widths = [max(len(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
    right = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(columns))]
    lines = [list(columns), ["─" * width for width in widths], *cells]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


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


def _wrapped(cells: list[list[str]], columns: Sequence[str], width: int) -> list[list[str]]:
    """The rows, with lines added below those whose last cell is too long."""
    taken = sum(max(len(row[i]) for row in [list(columns), *cells]) + 2 for i in range(len(columns) - 1))
    found = []
    for *first, last in cells:
        lines = textwrap.wrap(last, max(_NARROWEST, width - taken), break_on_hyphens=False) or [""]
        found.append([*first, lines[0]])
        found += [[*("" for _ in first), line] for line in lines[1:]]
    return found


def _is_number(cell: str) -> bool:
    digits = cell.removesuffix("%").removeprefix("-").replace(".", "", 1)
    return cell == _NOTHING or digits.isdigit()


def _text(value: object) -> str:
    if value is None:
        return _NOTHING
    return f"{value:.3f}" if isinstance(value, float) else str(value)
