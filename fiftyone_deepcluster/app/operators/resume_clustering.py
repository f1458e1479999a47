"""Operator: resume a run that stopped early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs, values
from fiftyone_deepcluster.app.operators.start import run_or_start
from fiftyone_deepcluster.app.running import enqueue

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.background import RunCall

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
            in_background=True,
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

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any] | None:
        """Resume the run: in the background if called from the form, else in this process."""

        def read() -> tuple[RunCall, str, int]:
            key = shared_inputs.key_of(ctx)
            changes = {name: value for name in _CHANGES if (value := values.nested(ctx.params, name))}
            return resume_call(ctx.dataset, key, **changes)

        return run_or_start(ctx, read)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        """Schema of the result."""
        return shared_inputs.result(ctx, "Clustering run", key=types.String(), background=types.Boolean())


def resume_call(dataset: fo.Dataset, key: str, **changes: Any) -> tuple[RunCall, str, int]:
    """The call that resumes a run, its method, and its number of planned rounds, 0 if not known."""
    from fiftyone_deepcluster.dataset.background import RunCall
    from fiftyone_deepcluster.dataset.runs import status

    state = status.read_states(dataset).get(key)
    rounds = int(changes.get("rounds") or (state.rounds if state else 0))
    return RunCall("resume", dataset, key, {"key": key, **changes}), state.method if state else "", rounds
