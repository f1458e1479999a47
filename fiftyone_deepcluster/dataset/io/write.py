"""Write results to fields: one database update per image, by id, in batches.

FiftyOne's ``set_values`` makes one pass over the samples per field and builds one FiftyOne object per value. Here
one update has all values of an image, in FiftyOne's storage format. The fields must have been declared
(``fields.declare``); otherwise the samples could not be loaded any more.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from fiftyone_deepcluster.dataset.runs.database import utc_now

if TYPE_CHECKING:
    from datetime import datetime

    import fiftyone as fo
    import numpy as np
    from bson import ObjectId
    from numpy.typing import NDArray

    from fiftyone_deepcluster.api.fit import FitResult
    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.io.source import SampleSource

_BATCH = 5_000
# Floats compress poorly: the fastest level is within a few percent of the size of the default level
_ZLIB_LEVEL = 1
NOISE = "noise"


class Writable(Protocol):
    """Values of N images, computed batch by batch."""

    def __len__(self) -> int: ...

    def values(self, rows: slice) -> dict[str, list[Any]]:
        """Values of the images ``rows`` in MongoDB format by name; None: no value."""
        ...


@dataclass(frozen=True)
class Columns:
    """Values of N images, computed batch by batch, so that few are in memory.

    Attributes:
        result: result for N images.
        names: (K,) names of the clusters.
        half_precision: store embeddings as float16.
    """

    result: FitResult
    names: Sequence[str]
    half_precision: bool = False

    def __len__(self) -> int:
        return len(self.result.labels)

    def values(self, rows: slice) -> dict[str, list[Any]]:
        """Values of the images ``rows`` in MongoDB format by name (``label``, ``embedding`` ...); None: no value.

        Args:
            rows: consecutive images.
        """
        import numpy as np

        from fiftyone_deepcluster.metrics.matching import changes

        result, found = self.result, self.result.assignment
        history, losses = result.history.labels(rows), result.history.losses(rows)
        labels, n, n_rounds = found.labels[rows].tolist(), *history.shape
        stored = np.float16 if self.half_precision else np.float32
        nothing, kept = [None] * n, found.embeddings.shape[1] > 0
        values: dict[str, list[Any]] = {
            "label": [self.names[i] if i >= 0 else NOISE for i in labels],
            "confidence": numbers(found.confidence[rows]),
            "cluster": labels,
            "distance": numbers(found.distance[rows]),
            "margin": numbers(found.margin[rows]),
            "embedding": vectors(found.embeddings[rows].astype(stored, copy=False)) if kept else nothing,
            "round_labels": vectors(history) if n_rounds else nothing,
            "round_losses": vectors(losses) if self._has_losses else nothing,
            "changes": changes(history).tolist() if n_rounds > 1 else nothing,
            "stability": numbers(self._stability[rows]) if n_rounds > 1 else nothing,
            "loss": last_finite(losses),
        }
        failed = [found.errors.get(row) for row in range(*rows.indices(len(self)))]
        for name, column in values.items():
            values[name] = [value if why is None else None for value, why in zip(column, failed, strict=True)]
        return {**values, "error": failed}

    @cached_property
    def _stability(self) -> NDArray[np.float32]:
        from fiftyone_deepcluster.metrics.matching import STABILITY_WINDOW, stability

        return stability(self.result.history.labels(last=STABILITY_WINDOW + 1))

    @cached_property
    def _has_losses(self) -> bool:
        """Whether any image was drawn in any round."""
        import numpy as np

        starts = range(0, len(self), _BATCH)
        history = self.result.history
        return any(np.isfinite(history.losses(slice(at, at + _BATCH))).any() for at in starts)


def write(
    source: SampleSource,
    names: FieldNames,
    filled: Writable,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Write the values of every image to declared fields, by id, in batches.

    Args:
        source: the images.
        names: their fields.
        filled: values of the images.
        around: returns a context manager for one batch, such as a lock, so that others can write between two batches.
    """
    from bson import ObjectId

    now = utc_now()
    make = _sample_updates if names.patches_field is None else _patch_updates
    for start in range(0, len(filled), _BATCH):
        rows = slice(start, start + _BATCH)
        samples, images = source.sample_ids[rows], source.ids[rows]
        places = [(ObjectId(sample), ObjectId(image)) for sample, image in zip(samples, images, strict=True)]
        updates = list(make(places, names, filled.values(rows), now))
        with around():
            source.dataset._bulk_write(updates, ids=samples)
    if names.patches_field is not None:
        _refresh_patches(source, names.patches_field)


def _refresh_patches(source: SampleSource, field: str) -> None:
    """Copy the objects to the dataset that FiftyOne generated for the patches view, which has copies of them.

    A view with old copies would write them back when one of its samples is saved. FiftyOne's own ``reload`` deletes
    the generated dataset, which all views made from the same patches share.
    """
    copies, inner = source.samples._patches_dataset, f"{field}.detections."
    known = source.dataset.get_field_schema(flat=True).items()
    attributes = {path.removeprefix(inner): kind for path, kind in known if path.startswith(inner)}
    missing = {f"{field}.{name}": kind for name, kind in attributes.items() if "." not in name}
    missing = {path: kind for path, kind in missing.items() if copies.get_field(path) is None}
    copies._merge_sample_field_schema(missing)
    objects = f"${field}.detections"
    stages = [
        {"$unwind": objects},
        {"$project": {"_id": f"{objects}._id", field: objects}},
        {"$merge": {"into": copies._sample_collection_name, "whenNotMatched": "discard"}},
    ]
    source.dataset._sample_collection.aggregate(stages)


def numbers(column: NDArray[np.float32]) -> list[float | None]:
    """Python floats, None for non-finite values."""
    import numpy as np

    finite = np.isfinite(column)
    return [value if ok else None for value, ok in zip(column.tolist(), finite.tolist(), strict=True)]


def vectors(rows: NDArray[Any]) -> list[bytes]:
    """Rows of (N, D) in FiftyOne's storage format of a VectorField: compressed ``.npy`` files."""
    import numpy as np

    rows = np.ascontiguousarray(rows)
    buffer = io.BytesIO()
    np.save(buffer, rows[:1].reshape(-1), allow_pickle=False)
    header = buffer.getvalue()[: len(buffer.getvalue()) - rows[:1].nbytes]
    return [zlib.compress(header + row.tobytes(), _ZLIB_LEVEL) for row in rows]


def last_finite(losses: NDArray[np.float32]) -> list[float | None]:
    """Last finite value of each row of (N, R), None if there is none."""
    import numpy as np

    if losses.shape[1] == 0:
        return [None] * len(losses)
    finite = np.isfinite(losses)
    last = losses.shape[1] - 1 - np.argmax(finite[:, ::-1], axis=1)
    return numbers(np.where(finite.any(axis=1), losses[np.arange(len(losses)), last], np.nan))


def _sample_updates(
    places: list[tuple[ObjectId, ObjectId]], names: FieldNames, values: dict[str, list[Any]], now: datetime
) -> Iterator[object]:
    from bson import ObjectId
    from pymongo import UpdateOne

    layout = names.layout
    inside = [(name, values[name]) for name in layout.in_label if name in values]
    beside = [(names.path(name), values[name]) for name in layout.beside if name in values]
    for row, (sample_id, _) in enumerate(places):
        change: dict[str, object] = {path: column[row] for path, column in beside}
        label = {name: column[row] for name, column in inside}
        if label:
            full = {"_id": ObjectId(), "_cls": "Classification", "tags": [], **label}
            change[names.key] = None if label["label"] is None else full
        yield UpdateOne({"_id": sample_id}, _update(change, now))


def _update(change: dict[str, object], now: datetime) -> dict[str, dict[str, object]]:
    """Update of one document; None removes the value, so that a field without values leaves no trace."""
    update = {"$set": {path: value for path, value in change.items() if value is not None}}
    update["$set"]["last_modified_at"] = now
    empty: dict[str, object] = {path: "" for path, value in change.items() if value is None}
    return {**update, "$unset": empty} if empty else update


def _patch_updates(
    places: list[tuple[ObjectId, ObjectId]], names: FieldNames, values: dict[str, list[Any]], now: datetime
) -> Iterator[object]:
    from pymongo import UpdateOne

    start = len(names.prefix)
    object_path = names.prefix + "$[patch]."
    paths = [(object_path + names.path(name)[start:], column) for name, column in values.items()]
    for row, (sample_id, label_id) in enumerate(places):
        change: dict[str, object] = {path: column[row] for path, column in paths}
        yield UpdateOne({"_id": sample_id}, _update(change, now), array_filters=[{"patch._id": label_id}])


def set_values(
    dataset: fo.Dataset,
    path: str,
    names: FieldNames,
    places: Sequence[tuple[ObjectId, ObjectId]],
    values: Sequence[Any],
    *,
    only: str | None = None,
) -> None:
    """Set one declared path of some images, by id; images with the same string share an update.

    Args:
        dataset: dataset of the images.
        path: path to set.
        names: field names of the run, which say whether images are samples or objects.
        places: (sample id, image id) of each image.
        values: one value per image, in MongoDB format.
        only: change an image only if its value, or the label of a Classification, is still this string.
    """
    for start in range(0, len(places), _BATCH):
        batch = list(zip(places[start : start + _BATCH], values[start : start + _BATCH], strict=True))
        groups: dict[object, list[tuple[ObjectId, ObjectId]]] = {}
        for row, (place, value) in enumerate(batch):
            groups.setdefault(value if isinstance(value, str | None) else row, []).append(place)
        updates = [
            _update_many(path, names, group, batch[key][1] if isinstance(key, int) else key, only)
            for key, group in groups.items()
        ]
        dataset._bulk_write(updates, ids=[str(sample) for (sample, _), _ in batch])


def _update_many(
    path: str, names: FieldNames, places: list[tuple[ObjectId, ObjectId]], value: object, only: str | None
) -> object:
    from pymongo import UpdateMany

    who: dict[str, object] = {"_id": {"$in": [sample for sample, _ in places]}}
    now = utc_now()
    if names.patches_field is None:
        if only is not None:
            who["$or"] = [{path: only}, {f"{path}.label": only}]
        return UpdateMany(who, {"$set": {path: value, "last_modified_at": now}})
    attribute = path.removeprefix(names.prefix)
    images: dict[str, object] = {"patch._id": {"$in": [image for _, image in places]}}
    if only is not None:
        images[f"patch.{attribute}"] = only
    change = {f"{names.prefix}$[patch].{attribute}": value, "last_modified_at": now}
    return UpdateMany(who, {"$set": change}, array_filters=[images])
