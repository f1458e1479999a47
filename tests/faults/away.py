"""``python -m tests.faults.away``: public calls while FiftyOne's database is down, and changes during which it dies."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import fiftyone as fo

    from tests.dataset.test_bad_calls import Calls
    from tests.faults.points import Points


_FORGETFUL = ("--journalCommitInterval", "500")
"""Options of a database that loses the writes of the last 500 ms if it is killed, instead of 100 ms."""

_TRIES = 5
"""How often a loss is tried for."""


def main() -> None:
    """Print the errors of all public calls, and what became of an edit and of a removal."""
    from tests.conftest import start_database

    os.environ["FIFTYONE_DATABASE_URI"] += "/?serverSelectionTimeoutMS=5000"
    root = start_database(*_FORGETFUL).root
    from tests.faults.points import Points

    points = Points(str(root))  # before FiftyOne connects
    from tests.dataset.test_bad_calls import Calls
    from tests.faults.operation import N_FILES
    from tests.faults.walk import make_dataset, write_digits

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        write_digits(Path(folder) / "digits")
        dataset = make_dataset("away", Path(folder), N_FILES)
        labels = dataset.values("ground_truth.label")
        dataset.set_values("ground_truth.label", [str(int(label) % 2) for label in labels])
        calls = Calls(dataset, Path(folder))
        edit = _lose_in_an_edit(points, dataset)
        removal = _restart_in_a_removal(dataset)
        declared = _restart_in_a_declaration(dataset)
        notices = _notices(dataset)
        found = {"edit": edit, "removal": removal, "declared": declared, "notices": notices}
        print(json.dumps(found | {"errors": _errors(calls)}))


def _lose_in_an_edit(points: Points, dataset: fo.Dataset) -> dict[str, Any]:
    """Kill the database when an edit has been logged, and continue after a restart."""
    import fiftyone_deepcluster as fdc
    from fiftyone_deepcluster.errors import DeepClusterError
    from tests.conftest import kill_database, start_database

    review = fdc.review(dataset, "dc")
    before = review.names()

    def kill() -> None:
        if points.seen[-1].startswith("update samples"):
            points.disarm()
            kill_database()
        else:
            points.arm(0, kill)

    points.arm(0, kill)
    try:
        review.merge(before, into="all")
        error = "none"
    except DeepClusterError as raised:
        error = f"{type(raised).__name__}: {raised}"
    points.disarm()
    start_database(*_FORGETFUL)
    log = [entry.text for entry in review.log()]
    review.mark_reviewed(["all"])
    after = review.names()
    review.undo(2)
    return {"error": error, "log": log, "after": after, "undone": review.names() == before}


def _restart_in_a_removal(dataset: fo.Dataset) -> dict[str, Any]:
    """Kill and start the database again just after the brain run of a run was removed, which it loses."""
    import fiftyone.brain as fob

    import fiftyone_deepcluster as fdc
    from fiftyone_deepcluster.dataset.display.brain import remove_brain_runs
    from fiftyone_deepcluster.dataset.runs.database import flush, until_kept
    from tests.conftest import kill_database, start_database

    names = fdc.load_run(dataset, "dc").fields
    found: list[list[str]] = []

    def remove() -> None:
        found.append(dataset.list_brain_runs())
        remove_brain_runs(dataset, names)
        if len(found) == 1:
            kill_database()
            start_database(*_FORGETFUL)

    for _ in range(_TRIES):  # on a busy machine the removal may be on disk before the database is killed
        found.clear()
        fob.compute_similarity(dataset, embeddings="dc_embedding", brain_key=names.sim_key, backend="sklearn")
        flush()
        until_kept(dataset, remove)
        dataset.reload()
        if len(found) > 1 and found[1] == found[0]:
            break
    return {"found": found, "left": dataset.list_brain_runs()}


def _restart_in_a_declaration(dataset: fo.Dataset) -> list[str]:
    """Restart the database when the fields of a new run are declared, and on disk; the runs after that."""
    import fiftyone_deepcluster as fdc
    from fiftyone_deepcluster.dataset.runs import intents
    from fiftyone_deepcluster.dataset.runs.database import flush
    from tests.conftest import kill_database, start_database
    from tests.faults.operation import FROZEN

    declare = intents.declare

    def declare_and_restart(*given: Any) -> None:
        declare(*given)
        flush()
        kill_database()
        start_database(*_FORGETFUL)

    intents.declare = declare_and_restart
    try:
        fdc.cluster(dataset, key="declared", compute_brain=False, **FROZEN)
    finally:
        intents.declare = declare
    return fdc.list_runs(dataset)


def _notices(dataset: fo.Dataset) -> list[str]:
    """Kill the database while the threads of a run use it; what they log meanwhile."""
    from fiftyone_deepcluster.dataset.runs import lock, status
    from tests.conftest import kill_database

    handler = BufferingHandler(1000)
    logging.getLogger("fiftyone_deepcluster").addHandler(handler)
    logging.disable(logging.NOTSET)
    lock._HEARTBEAT_SECONDS, status._SECONDS_WITHOUT_DATABASE = 0.05, 0.1
    lock.acquire(dataset, "noticed")
    live = status.LiveObserver(dataset, "noticed", "frozen", 3)
    kill_database()
    _wait_no_longer()
    for phase in range(20):
        live.phase(f"phase {phase}", 1)
        time.sleep(0.2)
    logging.disable(logging.WARNING)
    return [record.getMessage() for record in handler.buffer]


def _wait_no_longer() -> None:
    """Let the driver give up at once: no call can succeed any more."""
    from fiftyone.core.odm import get_db_conn

    get_db_conn().client._topology._settings._server_selection_timeout = 0


def _errors(calls: Calls) -> dict[str, str]:
    """Error of each public call with valid arguments; empty where it succeeds."""
    found = {}
    for name, function in calls.functions.items():
        try:
            function(**calls.arguments(name, function, ""))
            found[name] = ""
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    main()
