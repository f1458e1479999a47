"""Stop a run that is queued or at work."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs


class CancelClustering(foo.Operator):
    """Asks a run to stop at its next batch; finished rounds are kept."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Name, label and risk."""
        return foo.OperatorConfig(
            name="cancel_clustering",
            label="Cancel clustering",
            description="Stop a run at its next batch. Finished rounds are kept; it can be resumed.",
            icon="cancel",
            dynamic=True,
            risk_level=types.RiskLevel.MEDIUM,
            category=foo.Categories.CURATE,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Which run."""
        from fiftyone_deepcluster.dataset.runs import status

        inputs = types.Object()
        busy = [key for key, state in status.read_states(ctx.dataset).items() if state.busy]
        if busy:
            shared_inputs.add_run(inputs, ctx, busy)
        else:
            inputs.view("nothing", types.Notice(label="No clustering is running on this dataset"))
        return shared_inputs.form(inputs, "Cancel clustering", "Cancel the run")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Ask it to stop."""
        from fiftyone_deepcluster.dataset.runs import status

        key = shared_inputs.key_of(ctx)
        asked = status.request_cancel(ctx.dataset, key)
        ctx.ops.notify(
            f"{key} stops at its next batch" if asked else f"{key} is not running",
            variant="info" if asked else "warning",
        )
        return {"cancelled": asked}
