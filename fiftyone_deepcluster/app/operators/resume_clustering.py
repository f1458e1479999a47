"""Operator: resume a run that stopped early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs, values
from fiftyone_deepcluster.app.operators.progress import run_and_show
from fiftyone_deepcluster.app.running import enqueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.runs.run import Run

_CHANGES = ("rounds", "max_minutes")


class ResumeClustering(foo.Operator):
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
                "rounds", min=1, label="Total number of rounds", description="Empty: the run's own setting."
            )
            inputs.float("max_minutes", label="Time limit (minutes)", description="Empty: no limit.")
        return shared_inputs.form(inputs, "Resume clustering", "Resume")

    def resolve_delegation(self, ctx: foo.ExecutionContext) -> None:
        """Never force delegation; if it is requested, record the run as queued so that the panel shows it."""
        from fiftyone_deepcluster.dataset.runs import status

        if ctx.requesting_delegated_execution and not ctx.delegated:
            key = shared_inputs.key_of(ctx)
            state = status.read_states(ctx.dataset).get(key)
            rounds = values.number(ctx.params, "rounds", state.rounds if state else 0, least=1)
            enqueue(ctx, key, state.method if state else "", rounds)

    def execute(self, ctx: foo.ExecutionContext) -> Iterator[Any]:
        """Resume the run, reporting progress.

        Yields:
            Messages to the App.
        """
        from fiftyone_deepcluster.dataset.api import resume

        key = shared_inputs.key_of(ctx)
        changes = {name: value for name in _CHANGES if (value := values.nested(ctx.params, name))}

        def work(observer: Observer) -> Run:
            return resume(ctx.dataset, key, observer=observer, **changes)

        yield from run_and_show(ctx, key, work)
