"""Databases that are killed while a process uses them: it raises one clear error, and nothing is half-written."""

from __future__ import annotations

import json
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

from tests.conftest import kill_database, start_database
from tests.faults.look import facts_of
from tests.faults.operation import LEARNED
from tests.faults.operations import OPERATIONS
from tests.faults.walk import Walked, in_child, look_and_delete, make_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import fiftyone as fo

    from tests.faults.points import Points

_OPERATIONS = (
    "cluster", "overwrite", "delete", "rename", "assign", "merge", "undo of a merge", "label", "undo of labels", "tree",
)  # fmt: skip
_AGAIN = ", database restarted"
GROUPS = tuple(name + how for how in (_AGAIN, ", database killed") for name in _OPERATIONS)
# The driver looks whether a connection is still there after a second; then it opens another without an error
_UNNOTICED_SECONDS = 1.2


def walk_databases(points: Points, group: str, root: Path, chosen: Callable[[int], Iterable[int]]) -> Walked:
    """Kill the database before changes of an operation, and look; of ``cluster`` also while nothing is written.

    Args:
        points: counts the changes.
        group: one of ``GROUPS``; unless restarted, the database is away until the operation has ended.
        root: folder with ``digits``; results of processes are written there.
        chosen: changes to try, given their number.
    """
    name, again = group.partition(",")[0], group.endswith(_AGAIN)
    walked = Walked(group, [])
    if again and name == "cluster":
        for phase in ("write", "brain"):
            _note(walked, f"at {phase}", _one(points, name, root, phase, again=True))
    whole = _one(points, name, root, sys.maxsize, again=again)
    _note(walked, "whole", whole)
    for number in chosen(whole.get("changes", 0)):
        _note(walked, f"before {number}", _one(points, name, root, number, again=again))
    return walked


def _note(walked: Walked, what: str, found: dict[str, Any]) -> None:
    error = found.get("error") or "no error"
    walked.changes.append(f"{what}: {error if found.get('killed') else 'not killed'}")
    walked.tried += 1
    if "lost" in found:
        walked.lost[walked.tried] = f"{what}: {found['lost']}"


def _one(points: Points, group: str, root: Path, at: int | str, *, again: bool) -> dict[str, Any]:
    name = f"faults-{uuid.uuid4().hex[:8]}"
    notes = root / f"{name}.json"

    killed = []

    def serve(_: str) -> None:
        kill_database()
        killed.append(at)
        if again:
            start_database()

    done = in_child(lambda ask: _act(points, group, name, at, notes, ask), serve)
    if killed and not again:
        start_database()
    if "lost" in done:
        return done
    before = json.loads(notes.read_text())
    found = in_child(lambda _: look_and_delete(name, group, before), serve)
    notes.unlink()
    return {**done, **found, "killed": bool(killed)}


def _act(
    points: Points, group: str, name: str, at: int | str, notes: Path, ask: Callable[[str], None]
) -> dict[str, Any]:
    """Act, and have the database killed; every error must be one of this package."""
    from fiftyone_deepcluster.dataset.runs.database import flush
    from fiftyone_deepcluster.errors import DeepClusterError, RunExistsError

    operation, dataset = OPERATIONS[group], make_dataset(name, notes.parent)
    operation.prepare(dataset)
    flush()  # FiftyOne's own writes, such as the samples
    notes.write_text(json.dumps(facts_of(dataset)))

    def kill() -> None:
        points.disarm()
        ask("kill")

    error = ""
    try:
        if isinstance(at, str):
            _cluster_unnoticed(dataset, at, kill)
        else:
            points.arm(at, kill)
            operation.act(dataset)
    except RunExistsError:
        raise  # of a run that is not there
    except DeepClusterError as raised:
        error = f"{type(raised).__name__}: {raised}"
    changes = len(points.seen)
    points.disarm()
    return {"changes": changes, "error": error}


def _cluster_unnoticed(dataset: fo.Dataset, at: str, kill: Callable[[], None]) -> None:
    import fiftyone_deepcluster as fdc
    from fiftyone_deepcluster.core.progress import Silent

    class Kills(Silent):
        def phase(self, name: str, total: int) -> None:
            if name == at:
                kill()
                time.sleep(_UNNOTICED_SECONDS)

    fdc.cluster(dataset, key="dc", observer=Kills(), **LEARNED)
