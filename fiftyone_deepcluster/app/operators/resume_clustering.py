"""Operator: resume a run that stopped early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs, values
from fiftyone_deepcluster.app.operators.job_operator import JobOperator
from fiftyone_deepcluster.dataset.runs.resume_job import check_resume

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.background import Job

_CHANGES = ("rounds", "max_minutes")


class ResumeClustering(JobOperator):
    """Resumes a run after its last completed round."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and execution options."""
        return shared_inputs.job_config(
            "resume_clustering",
            "Resume clustering",
            "Resume a run that was cancelled, reached its time limit, or whose process died. Its clusters are replaced "
            "by the new ones.",
            "play_arrow",
            "high",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run, total number of rounds, time limit."""
        inputs = types.Object()
        key = shared_inputs.add_run(inputs, ctx, shared_inputs.known_keys(ctx.dataset, at_work=False))
        if key is not None:
            inputs.int(
                "rounds", min=1, label="Rounds", description="Total number. Empty: the run's own setting."
            )
            inputs.float("max_minutes", label="Time limit (minutes)", description="Empty: no limit.")
            with shared_inputs.complaining(inputs, "key"):
                check_resume(ctx.dataset, key, {})
                for name, value in values.given(ctx.params, *_CHANGES).items():
                    with shared_inputs.complaining(inputs, name):
                        check_resume(ctx.dataset, key, {name: value})
        return shared_inputs.form(inputs, "Resume clustering", "Resume")

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The run, with its changed options."""
        changes = values.given(ctx.params, *_CHANGES)
        return resume_job(ctx.dataset, shared_inputs.key_of(ctx), **changes)


def resume_job(dataset: fo.Dataset, key: str, **changes: Any) -> Job:
    """The job that resumes a run.

    Raises:
        DeepClusterError: the run cannot be resumed, or not with these options.
    """
    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.dataset.runs import status

    state = status.read_states(dataset).get(key)
    if state is None or not state.busy:  # else the queue refuses it, with the better reason
        check_resume(dataset, key, changes)
    method, planned = (state.method, state.rounds) if state else ("", 0)
    return Job("resume", dataset, key, {"key": key, **changes}, method, changes.get("rounds", planned))
