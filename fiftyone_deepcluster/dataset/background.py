"""Runs in separate processes, which outlive the App's request, the browser tab, and the App's server.

They use the same lock with a heartbeat (``runs.lock``), live state and cancel request (``runs.status``) as other runs.
FiftyOne's ``TransientJobCoordinator`` is not used, because it stores values with dates, which stop FiftyOne's
notifications of all execution stores.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fiftyone_deepcluster.dataset.io.read_images import root_dataset
from fiftyone_deepcluster.dataset.runs import queue, status, storage
from fiftyone_deepcluster.dataset.runs.detached import start_detached

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.runs.run import Run

logger = logging.getLogger(__name__)

_SERVE = "from fiftyone_deepcluster.dataset.background import serve_run; serve_run()"


@dataclass(frozen=True)
class RunCall:
    """A call of ``cluster``, ``resume`` or ``refine`` that this process, or another one, carries out.

    Attributes:
        verb: name of the function.
        samples: its first argument.
        key: key of the run that it creates or resumes.
        arguments: its other arguments, as JSON values.
    """

    verb: Literal["cluster", "resume", "refine"]
    samples: fo.core.collections.SampleCollection
    key: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def carry_out(self, observer: Observer) -> Run:
        """Execute the call in this process; raises the function's exceptions."""
        from fiftyone_deepcluster.dataset import api, refining

        functions = {"cluster": api.cluster, "resume": api.resume, "refine": refining.refine}
        return functions[self.verb](self.samples, observer=observer, **self.arguments)  # type: ignore[no-any-return, operator]

    def start(self, method: str, rounds: int = 0) -> None:
        """Execute the call in a separate process, which waits for other runs of the dataset to end.

        Args:
            method: name of the method, shown until the run starts.
            rounds: number of planned rounds; 0: not known yet.

        Raises:
            RunLockedError: a run with this key is queued or running.
            RunError: the process could not be started.
        """
        dataset = root_dataset(self.samples)
        ticket = queue.enter(dataset, self.key, method, rounds, background=True)
        try:
            pid = start_detached(_SERVE, self._to_json(ticket), storage.log_file(dataset, self.key))
        except BaseException as error:
            queue.leave(dataset, self.key, ticket, error)
            raise
        queue.note_process(dataset, self.key, ticket, pid)

    def _to_json(self, ticket: str) -> str:
        from bson import json_util

        value = {
            "verb": self.verb,
            "dataset": root_dataset(self.samples).name,
            "view": self.samples.view()._serialize(),
            "key": self.key,
            "arguments": self.arguments,
            "ticket": ticket,
        }
        return str(json_util.dumps(value))


def serve_run() -> None:
    """Read a call from standard input, wait for its turn, and execute it; ends with an exit status."""
    import fiftyone as fo
    from bson import json_util

    logging.basicConfig(level=logging.INFO)
    value = json_util.loads(sys.stdin.read())
    dataset, key, ticket = fo.load_dataset(value["dataset"]), value["key"], value["ticket"]
    try:
        queue.wait_for_turn(dataset, key, ticket)
        samples = fo.DatasetView._build(dataset, value["view"]) if value["view"] else dataset
        call = RunCall(value["verb"], samples, key, value["arguments"])
        call.carry_out(queue.QueuedRun(dataset, ticket))
    except BaseException as error:
        logger.exception("the run %r failed", key)
        queue.leave(dataset, key, ticket, error)
        sys.exit(1)
    queue.leave(dataset, key, ticket)
    status.forget_form(dataset, key)
    storage.log_file(dataset, key).unlink(missing_ok=True)
