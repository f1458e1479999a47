"""Write the state of a review to a CSV or JSON file."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.disk import new_file
from fiftyone_deepcluster.dataset.review.clusters import aggregate, image_stages

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun

_COLUMNS = ("id", "sample_id", "filepath", "cluster", "number", "confidence", "distance", "reviewed")


def export_review(run: KeptRun, reviewed: Collection[str], path: str | Path) -> Path:
    """One row per image: id, file, current cluster, its number in the run, statistics, and whether it was reviewed.

    Args:
        run: the run.
        reviewed: names of the reviewed clusters.
        path: file to write, ending in ``.csv`` or ``.json``.

    Raises:
        InputError: not a path, another ending, or the folder does not exist.
        DiskError: the file cannot be written; an older file is unchanged.
    """
    target = arguments.new_file_path("path", path, ".csv", ".json")
    stages = image_stages(run.fields, {"$ne": None}, ("label", "cluster", "confidence", "distance"))
    rows = [_row(found, reviewed) for found in aggregate(run, [*stages, {"$sort": {"label": 1, "image": 1}}])]
    with new_file(target, "the table", after="call export again", elsewhere="give another path") as file:
        file.write(_text(rows, target.suffix).encode("utf-8"))
    return target


def _text(rows: list[dict[str, Any]], suffix: str) -> str:
    if suffix == ".json":
        return json.dumps(rows, indent=1, ensure_ascii=False)
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, _COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def _row(found: dict[str, Any], reviewed: Collection[str]) -> dict[str, Any]:
    values = (
        str(found["image"]),
        str(found["sample"]),
        found["filepath"],
        found["label"],
        found.get("cluster"),
        found.get("confidence"),
        found.get("distance"),
        found["label"] in reviewed,
    )
    return dict(zip(_COLUMNS, values, strict=True))
