"""Operator: stop a run or another job that is queued or running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs

if TYPE_CHECKING:
    import fiftyone as fo


class CancelClustering(foo.Operator):
    """Requests a run to stop before its next batch; completed rounds are kept. Other jobs store nothing."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and risk level."""
        return foo.OperatorConfig(
            name="cancel_clustering",
            label="Cancel clustering",
            description="Stop a run, or another job such as a label audit, before its next batch. Completed rounds of "
            "a run are kept; it can be resumed.",
            icon="cancel",
            dynamic=True,
            risk_level=types.RiskLevel.MEDIUM,
            category=foo.Categories.CURATE,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: select a run or job."""
        inputs = types.Object()
        busy = _busy(ctx.dataset)
        if busy:
            choices = types.DropdownView()
            for name, words in busy.items():
                choices.add_choice(name, label=words)
            inputs.enum("key", choices.values(), default=[*busy][-1], view=choices, label="Run or job")
        else:
            inputs.view("nothing", types.Notice(label="Nothing is running on this dataset"))
        return shared_inputs.form(inputs, "Cancel clustering", "Cancel the run")

    @shared_inputs.errors_in_app_words
    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Request the run or job to stop."""
        from fiftyone_deepcluster.app.running import cancel_job
        from fiftyone_deepcluster.dataset.runs import status

        key = shared_inputs.key_of(ctx)
        state, words = status.read_states(ctx.dataset).get(key), _words(key)
        asked = cancel_job(ctx.dataset, key)
        if not asked:
            ctx.ops.notify(f"{words} is not running", variant="warning")
        elif state is not None and state.status == "queued":
            ctx.ops.notify(f"{words} is cancelled and will not start", variant="info")
        else:
            ctx.ops.notify(f"{words} stops before its next batch", variant="info")
        return {"cancelled": asked}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        """Whether there was a run to stop."""
        return shared_inputs.result(ctx, "Clustering cancelled", cancelled=types.Boolean())


def _busy(dataset: fo.Dataset) -> dict[str, str]:
    """Names of the jobs that are queued or running, and what they are in words."""
    from fiftyone_deepcluster.dataset.runs import status

    return {name: _words(name) for name, state in status.read_states(dataset).items() if state.busy}


def _words(name: str) -> str:
    from fiftyone_deepcluster.dataset.runs.job_names import in_words, is_run

    return name if is_run(name) else in_words(name)
