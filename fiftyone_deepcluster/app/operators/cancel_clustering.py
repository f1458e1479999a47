"""Operator: stop a run that is queued or running."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs


class CancelClustering(foo.Operator):
    """Requests a run to stop before its next batch; completed rounds are kept."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and risk level."""
        return foo.OperatorConfig(
            name="cancel_clustering",
            label="Cancel clustering",
            description="Stop a run before its next batch. Completed rounds are kept; the run can be resumed.",
            icon="cancel",
            dynamic=True,
            risk_level=types.RiskLevel.MEDIUM,
            category=foo.Categories.CURATE,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: select a run."""
        from fiftyone_deepcluster.dataset.runs import status

        inputs = types.Object()
        busy = [key for key, state in status.read_states(ctx.dataset).items() if state.busy]
        if busy:
            shared_inputs.add_run(inputs, ctx, busy)
        else:
            inputs.view("nothing", types.Notice(label="No clustering is running on this dataset"))
        return shared_inputs.form(inputs, "Cancel clustering", "Cancel the run")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Request the run to stop."""
        from fiftyone_deepcluster.app.running import cancel_run
        from fiftyone_deepcluster.dataset.runs import status

        key = shared_inputs.key_of(ctx)
        state = status.read_states(ctx.dataset).get(key)
        asked = cancel_run(ctx.dataset, key)
        if not asked:
            ctx.ops.notify(f"{key} is not running", variant="warning")
        elif state is not None and state.status == "queued":
            ctx.ops.notify(f"{key} is cancelled and will not start", variant="info")
        else:
            ctx.ops.notify(f"{key} stops before its next batch", variant="info")
        return {"cancelled": asked}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        """Whether there was a run to stop."""
        return shared_inputs.result(ctx, "Clustering cancelled", cancelled=types.Boolean())
