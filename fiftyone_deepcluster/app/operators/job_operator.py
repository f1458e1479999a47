"""Operators that may take minutes: in the background from a form, in this process from a script or worker."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs
from fiftyone_deepcluster.app.running import enqueue, follow, ticket_of
from fiftyone_deepcluster.app.wording import in_app_words
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.dataset.display.workspace import CLUSTERS_PANEL
from fiftyone_deepcluster.errors import DeepClusterError

if TYPE_CHECKING:
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.dataset.job_verbs import Outcome


class JobOperator(foo.Operator):
    """Executes the job that its parameters describe."""

    @abstractmethod
    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The job that the parameters describe. A new key is added to the parameters, for a worker.

        Raises:
            DeepClusterError: a value cannot be used, or what it names does not exist.
        """

    def resolve_delegation(self, ctx: foo.ExecutionContext) -> None:
        """Never force delegation; if it is requested, record the job as queued so that the panel shows it."""
        if ctx.requesting_delegated_execution and not ctx.delegated:
            enqueue(ctx, self.job(ctx))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any] | None:
        """Execute the job.

        From a form, the job starts in the background and the form closes. If the start fails, the form opens again
        with the values that were entered.

        Returns:
            Key of the run or audit, whether it was started in the background, and else a text with the result.

        Raises:
            Exception: any exception raised by the job, if it was not started in the background.
        """
        if shared_inputs.from_app(ctx) and not ctx.delegated:
            return self._start(ctx)
        job = self.job(ctx)
        outcome = _followed(ctx, job) if ctx.delegated else job.carry_out(Silent())
        return {"key": job.key, "background": False, "text": outcome.text}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        """Schema of the result."""
        fields = {"key": types.String(), "background": types.Boolean(), "text": types.String()}
        return shared_inputs.result(ctx, self.config.label, **fields)

    def _start(self, ctx: foo.ExecutionContext) -> dict[str, Any] | None:
        try:
            job = self.job(ctx)
            job.start()
        except DeepClusterError as error:
            ctx.ops.notify(in_app_words(error), variant="error")
            ctx.prompt(ctx.operator_uri, params=dict(ctx.params))
            return None
        _keep_form(ctx, job)
        _show_progress(ctx, job)
        return {"key": job.key, "background": True, "text": ""}


def _followed(ctx: foo.ExecutionContext, job: Job) -> Outcome:
    """Execute the job, reporting its progress to FiftyOne's queue."""
    outcomes: list[Outcome] = []

    def work(observer: Observer) -> None:
        outcomes.append(job.carry_out(observer))

    for state in follow(ctx.dataset, job.name, work, ticket_of(ctx)):
        ctx.set_progress(progress=state.fraction, label=state.text)
    ctx.set_progress(progress=1.0, label="finished")
    return outcomes[0]


def _keep_form(ctx: foo.ExecutionContext, job: Job) -> None:
    from fiftyone_deepcluster.dataset.runs import status

    status.keep_form(ctx.dataset, job.name, {"operator": ctx.operator_uri, "params": dict(ctx.params)})


def _show_progress(ctx: foo.ExecutionContext, job: Job) -> None:
    """Notify that the panel shows the progress; open the panel if it is closed."""
    from fiftyone_deepcluster.dataset.runs.job_names import title_of

    what = title_of(job.name) or job.key
    ctx.ops.notify(
        f"{what} runs in the background; the Clusters panel shows its progress in the tab Runs",
        variant="info",
    )
    if not _is_open(ctx):
        ctx.ops.open_panel(CLUSTERS_PANEL, layout="horizontal", state={"state": {"run": job.key}})


def _is_open(ctx: foo.ExecutionContext) -> bool:
    import fiftyone as fo

    waiting: list[Any] = [ctx.spaces]
    while waiting:
        part = waiting.pop()
        if isinstance(part, fo.Panel) and part.type == CLUSTERS_PANEL:
            return True
        waiting += getattr(part, "children", None) or []
    return False
