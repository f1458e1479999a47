"""Resume a fit: what must equal its checkpoint, and which of several choices it began with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.disk import is_readable_file
from fiftyone_deepcluster.errors import CheckpointError, OptionsError
from fiftyone_deepcluster.methods.base import FIELD_SUFFIX, parse_options

if TYPE_CHECKING:
    from pathlib import Path

    from fiftyone_deepcluster.images.inspect import ImageFacts
    from fiftyone_deepcluster.methods.base import Options

MAY_CHANGE = ("rounds", "max_minutes", "device", "precision", "baselines")
"""Options that may be changed when a run is resumed."""

START_ANEW = "choose another run_dir, or delete it; in FiftyOne, cluster again with overwrite=True"
"""What to do about a checkpoint that cannot be continued, in messages."""


def compared(options: Options) -> dict[str, Any]:
    """Options as JSON values, without those that may change when a run is resumed."""
    return _fixed(options.model_dump(mode="json"))


def _fixed(values: dict[str, Any]) -> dict[str, Any]:
    """Values that may not change; a field may get another name, since what was read there is compared."""
    return {
        name: value
        for name, value in values.items()
        if name not in MAY_CHANGE and not name.endswith(FIELD_SUFFIX)
    }


def resolve(options: Options, facts: ImageFacts, run_dir: Path | None) -> tuple[Options, tuple[str, ...]]:
    """Resolved options and remarks; of several choices that with which the checkpoint in ``run_dir`` began.

    Raises:
        CheckpointError: the checkpoint cannot be read.
    """
    ways = list(options.resolutions(facts))
    before = {} if run_dir is None else _resolved_before(run_dir / checkpoints.CHECKPOINT)
    if len(ways) > 1 and before:
        ways.sort(key=lambda way: _n_different(before, compared(way[0])))
    resolved, remarks = ways[0]
    return _as_begun(resolved, before), tuple(remarks)


def _resolved_before(path: Path) -> dict[str, Any]:
    """Resolved options of the checkpoint ``path``; empty if there is none that can be read, or it has none."""
    if not is_readable_file(path):
        return {}
    found: dict[str, Any] = checkpoints.load(path, mmap=True).get("resolved", {})
    return found


def _as_begun(resolved: Options, before: dict[str, Any]) -> Options:
    """Resolved options without a value for those that the version which began the run did not have."""
    if before.get("name") != resolved.name:
        return resolved
    fields = type(resolved).model_fields
    added = [name for name in compared(resolved).keys() - before.keys() if fields[name].default is None]
    return resolved.model_copy(update=dict.fromkeys(added)) if added else resolved


def _n_different(before: dict[str, Any], now: dict[str, Any]) -> int:
    """Number of options with another value, also those that only one of two methods has; 0 if nothing is known."""
    names = before.keys() | now.keys() if before else ()
    return sum(before.get(name, ...) != now.get(name, ...) for name in names)


def _completed(options: dict[str, Any]) -> dict[str, Any]:
    """Options of an older version, with the defaults of those that it did not have; as they are if no longer valid."""
    try:
        return _fixed(parse_options(str(options["name"]), options).model_dump(mode="json"))
    except OptionsError:
        return options


def check_same(stored: dict[str, Any], current: dict[str, Any], run_dir: Path, remedy: str) -> None:
    """Raise CheckpointError unless a checkpoint's fingerprint equals that of this call.

    Args:
        stored: fingerprint of the checkpoint; those of older versions have names of fields.
        current: fingerprint of this call.
        run_dir: folder of the checkpoint.
        remedy: what to do if the images differ.
    """
    stored = {**stored, "options": _fixed(stored["options"])}
    if current["options"].keys() - stored["options"].keys():
        stored["options"] = _completed(stored["options"])
    if stored == current:
        return
    options = {**stored["options"], **current["options"]}
    changed = [name for name in options if stored["options"].get(name) != current["options"].get(name)]
    same_images = all(stored.get(name) == current.get(name) for name in ("images", "shape"))
    what = f"other options ({', '.join(changed)})" if changed else "other images"
    if same_images and not changed:
        what = "other given vectors"
    way_out = START_ANEW if changed or same_images else remedy
    raise CheckpointError(f"{run_dir} holds the checkpoint of a run with {what}; {way_out}")
