"""Operator: resume a run that stopped early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs, values
from fiftyone_deepcluster.app.operators.job_operator import JobOperator

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
        keys = shared_inputs.known_keys(ctx.dataset)
        if shared_inputs.add_run(inputs, ctx, keys):
            inputs.int(
                "rounds", min=1, label="Rounds", description="Total number. Empty: the run's own setting."
            )
            inputs.float("max_minutes", label="Time limit (minutes)", description="Empty: no limit.")
        return shared_inputs.form(inputs, "Resume clustering", "Resume")

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The run, with its changed options."""
        changes = {name: value for name in _CHANGES if (value := values.nested(ctx.params, name))}
        return resume_job(ctx.dataset, shared_inputs.key_of(ctx), **changes)


def resume_job(dataset: fo.Dataset, key: str, **changes: Any) -> Job:
    """The job that resumes a run."""
    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.dataset.runs import status

    state = status.read_states(dataset).get(key)
    method, planned = (state.method, state.rounds) if state else ("", 0)
    return Job("resume", dataset, key, {"key": key, **changes}, method, changes.get("rounds", planned))
