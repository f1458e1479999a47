"""Jobs in separate processes, which outlive the App's request, the browser tab, and the App's server.

A job is a run, an analysis of a run, a label audit or an import. All use the same lock with a heartbeat
(``runs.lock``), live state and cancel request (``runs.status``). FiftyOne's ``TransientJobCoordinator`` is not used,
because it stores values with dates, which stop FiftyOne's notifications of all execution stores.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core.progress import Fanout
from fiftyone_deepcluster.dataset.io.read_images import root_dataset
from fiftyone_deepcluster.dataset.job_verbs import ABOUT_A_RUN, RUN_VERBS, VERBS
from fiftyone_deepcluster.dataset.results.open_run import must_store
from fiftyone_deepcluster.dataset.runs import lock, queue, status
from fiftyone_deepcluster.dataset.runs.detached import start_detached
from fiftyone_deepcluster.dataset.runs.job_log import drop_log, log_file
from fiftyone_deepcluster.dataset.runs.job_names import is_run, job_name, title_of
from fiftyone_deepcluster.dataset.runs.references import RunNames, names_kept

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.job_verbs import Outcome

logger = logging.getLogger(__name__)

_SERVE = "from fiftyone_deepcluster.dataset.background import serve_job; serve_job()"


@dataclass(frozen=True)
class Job:
    """A call of a function that this process, or another one, executes.

    Attributes:
        verb: what it does, one of ``job_verbs.VERBS``.
        samples: the first argument of the function.
        key: key of the run that it creates or resumes, or of the run or audit that it is about; empty if there is none.
        arguments: the other arguments of the function, as JSON values.
        method: of a run, the name of its method, shown until it starts.
        rounds: number of planned rounds of a run, shown until it starts; 0: not known yet.
    """

    verb: str
    samples: fo.core.collections.SampleCollection
    key: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    method: str = ""
    rounds: int = 0

    @property
    def name(self) -> str:
        """Name of its live state."""
        return self.key if self.verb in RUN_VERBS else job_name(self.verb, self.key)

    def carry_out(self, observer: Observer) -> Outcome:
        """Execute the call in this process; raises the function's exceptions.

        Raises:
            RunLockedError: the same job is executed by another process.
        """
        function = VERBS[self.verb]
        if self.verb in RUN_VERBS:
            return function(self.samples, observer, **self.arguments)
        dataset = root_dataset(self.samples)
        with lock.acquire(dataset, self.name):
            live = status.LiveObserver(dataset, self.name, title_of(self.name), None)
            with live.recording_failure():
                with must_store():  # what it returns is shown nowhere
                    outcome = function(self.samples, Fanout([live, observer]), **self.arguments)
                live.finish("finished", result=outcome.text, made=outcome.made)
        return outcome

    def followed(self, names: RunNames) -> Job:
        """The call with the names that runs have now.

        Args:
            names: the names of the runs when the call was made.

        Raises:
            RunNotFoundError: the run that the call is about was deleted or replaced since.
        """
        dataset, given = root_dataset(self.samples), self.arguments
        with names_kept(dataset):
            arguments = names.follow(dataset, given, given.get("patches_field"))
            for name in ("key", "run") if self.verb in ABOUT_A_RUN else ("run",):
                if isinstance(given.get(name), str):
                    arguments[name] = names.key_now(dataset, given[name])
        return replace(self, arguments=arguments)

    def enter(self, *, background: bool = False) -> str:
        """Record the call as queued, for a worker or a separate process; returns its ticket in the queue.

        Raises:
            RunLockedError: the job is running, or will start in a separate process.
        """
        method = self.method or title_of(self.name)
        return queue.enter(
            root_dataset(self.samples),
            self.name,
            method,
            self.rounds,
            background=background,
            resumes=self.verb == "resume",
        )

    def start(self) -> None:
        """Execute the call in a separate process, which waits for others of the dataset to end.

        Raises:
            RunLockedError: the job is queued or running.
            RunError: the process could not be started.
        """
        dataset, name, ticket = root_dataset(self.samples), self.name, self.enter(background=True)
        try:
            pid = start_detached(_SERVE, self._to_json(ticket), log_file(dataset, name))
        except BaseException as error:
            queue.leave(dataset, name, ticket, error)
            raise
        queue.note_process(dataset, name, ticket, pid)

    def _to_json(self, ticket: str) -> str:
        from bson import json_util

        value = {
            "verb": self.verb,
            "dataset": root_dataset(self.samples).name,
            "view": self.samples.view()._serialize(),
            "key": self.key,
            "arguments": self.arguments,
            "names": RunNames.read(root_dataset(self.samples)).to_json(),
            "ticket": ticket,
        }
        return str(json_util.dumps(value))


def serve_job() -> None:
    """Read a job from standard input, wait for its turn, and execute it; ends with an exit status."""
    import fiftyone as fo
    from bson import json_util

    logging.basicConfig(level=logging.INFO)
    value = json_util.loads(sys.stdin.read())
    dataset, ticket = fo.load_dataset(value["dataset"]), value["ticket"]
    job = Job(value["verb"], dataset, value["key"], value["arguments"])
    name = job.name
    try:
        queue.wait_for_turn(dataset, name, ticket)
        if value["view"]:
            job = replace(job, samples=fo.DatasetView._build(dataset, value["view"]))
        job = job.followed(RunNames.from_json(value["names"]))
        job.carry_out(queue.QueuedRun(dataset, ticket))
    except BaseException as error:
        logger.exception("%s failed", name)
        queue.leave(dataset, name, ticket, error)
        sys.exit(1)
    queue.leave(dataset, name, ticket)
    if is_run(name):
        status.forget_form(dataset, name)
    drop_log(dataset, name)
