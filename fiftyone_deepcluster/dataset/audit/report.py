"""One HTML file about an audit: noise by class, confusion matrix, issues, and the worst labels with their pictures."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.disk import new_file
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.dataset.audit.queue import find_documents
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.errors import ImagesError
from fiftyone_deepcluster.images.decode import read_image
from fiftyone_deepcluster.images.refs import ImageRef

if TYPE_CHECKING:
    from pathlib import Path

    from fiftyone_deepcluster.analysis.label_audit.noise import NoiseRate
    from fiftyone_deepcluster.dataset.audit.audit import Audit

_SIDE = 112
_MOST_WORST = 200
_MOST_CLASSES = 40
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1f; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } th, td { padding: .2rem .6rem; text-align: right }
th:first-child, td:first-child { text-align: left } tr + tr { border-top: 1px solid #ddd }
.bar { display: inline-block; height: .7rem; background: #b3261e; vertical-align: middle }
.worst { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: .8rem }
figure { margin: 0; font-size: 12px } figure img { width: 112px; height: 112px; object-fit: contain; background: #eee }
.given { color: #b3261e } .suggestion { color: #146c2e }
"""


def write_report(audit: Audit, path: str | Path, n_worst: int = 60) -> Path:
    """Write the report.

    Args:
        audit: the audit.
        path: file to write, ending in ``.html``.
        n_worst: number of labels shown with their picture, at most 200.

    Raises:
        InputError: another ending, or a folder that does not exist.
        DiskError: the file cannot be written; an older file is unchanged.
    """
    target = arguments.new_file_path("path", path, ".html")
    n_worst = arguments.whole_number("n_worst", n_worst, 0, _MOST_WORST)
    check_there(audit)
    text = _page(audit, n_worst)
    with new_file(target, "the report", after="call report again", elsewhere="give another path") as file:
        file.write(text.encode("utf-8"))
    return target


def _page(audit: Audit, n_worst: int) -> str:
    record, title = audit.record, f"Label audit of {audit.label_field}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{_summary(audit)}</p>",
        "<h2>What was found</h2><ul>",
        *(f"<li>{escape(issue.text)} ({counted(issue.n_images, 'image')})</li>" for issue in record.issues),
        "</ul><h2>Wrong labels by class</h2>",
        _by_class(audit),
        "<h2>Given label (row) and suggested label (column)</h2>",
        _matrix(audit),
        "<h2>The most suspicious labels</h2>",
        f'<div class="worst">{"".join(_worst(audit, n_worst))}</div>',
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def _summary(audit: Audit) -> str:
    record = audit.record
    return (
        f"{counted(record.n_audited, 'label')} of {counted(record.n_images, 'image')} in "
        f"{counted(len(record.classes), 'class', 'classes')}; {_rate(record.noise)} are estimated to be wrong."
    )


def _rate(noise: NoiseRate | None) -> str:
    return "?" if noise is None else f"{noise.rate:.1%} ({noise.low:.1%} to {noise.high:.1%})"


def _by_class(audit: Audit) -> str:
    rows = [
        f"<tr><td>{escape(entry.label)}</td><td>{entry.n_images:,}</td><td>{entry.n_issues:,}</td>"
        f"<td>{_rate(entry.noise)}</td><td>{escape(entry.taken_for or '')}</td><td>{_bar(entry.noise)}</td></tr>"
        for entry in audit.record.by_class[:_MOST_CLASSES]
    ]
    head = "<tr><th>label</th><th>images</th><th>issues</th><th>wrong (95 %)</th><th>taken for</th><th></th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _bar(noise: NoiseRate | None) -> str:
    return "" if noise is None else f'<span class="bar" style="width:{200 * noise.rate:.0f}px"></span>'


def _matrix(audit: Audit) -> str:
    """The classes with most issues, at most 40."""
    names = audit.record.classes
    chosen = sorted(
        names.index(entry.label)
        for entry in sorted(audit.record.by_class, key=lambda entry: -entry.n_issues)[:_MOST_CLASSES]
    )
    counts = {(one, other): n for one, other, n in audit.record.confusion}
    most = max((n for (one, other), n in counts.items() if one != other), default=1)
    head = "".join(f"<th>{escape(names[number])}</th>" for number in chosen)
    rows = []
    for one in chosen:
        cells = []
        for other in chosen:
            n = counts.get((one, other), 0)
            shade = 0 if one == other else n / most
            cells.append(f'<td style="background:rgba(179,38,30,{0.6 * shade:.2f})">{n or ""}</td>')
        rows.append(f"<tr><th>{escape(names[one])}</th>{''.join(cells)}</tr>")
    return f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def _worst(audit: Audit, n: int) -> list[str]:
    found = find_documents(audit, {"rank": {"$gte": 0}}, [{"$limit": n}]) if n else []
    return [
        f'<figure><img alt="" src="{_picture(item)}"><figcaption>{_caption(item)}</figcaption></figure>'
        for item in found
    ]


def _caption(item: dict[str, Any]) -> str:
    given, suggestion = escape(item["given"]), escape(item.get("suggestion") or "?")
    lines = [
        f'<span class="given">{given}</span> → <span class="suggestion">{suggestion}</span>',
        f"{_percent(item['p_wrong'])} wrong",
        escape(item.get("reason") or ""),
        escape(item.get("decision") or ""),
    ]
    return "<br>".join(line for line in lines if line)


def _percent(p_wrong: float) -> str:
    """Rounded; never 100%, as nothing is certain."""
    return "&gt; 99%" if p_wrong > 0.99 else f"{p_wrong:.0%}"


def _picture(item: dict[str, Any]) -> str:
    """The image as a data URL; a missing or unreadable one is empty."""
    from PIL import Image

    box = item.get("box")
    try:
        pixels = read_image(ImageRef(item["filepath"], tuple(box) if box else None), "rgb")
    except ImagesError:
        return "data:,"
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
