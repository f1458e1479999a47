"""Go on with a run that stopped early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import shared_inputs
from fiftyone_deepcluster.app.operators.progress import run_and_show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.runs.run import Run

_CHANGES = ("rounds", "max_minutes")


class ResumeClustering(foo.Operator):
    """Goes on from the last finished round."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Name, label, and how it may run."""
        return shared_inputs.job_config(
            "resume_clustering",
            "Resume clustering",
            "Go on with a run that was cancelled, ran out of time, or whose process died.",
            "play_arrow",
            writes=True,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Which run, and how much further."""
        inputs = types.Object()
        keys = shared_inputs.known_keys(ctx.dataset)
        if shared_inputs.add_run(inputs, ctx, keys):
            inputs.int("rounds", min=1, label="Rounds in all", description="Empty: as many as it was given.")
            inputs.float("max_minutes", label="Minutes at most", description="Empty: as long as it takes.")
        return shared_inputs.form(inputs, "Resume clustering", "Resume")

    def execute(self, ctx: foo.ExecutionContext) -> Iterator[Any]:
        """Resume, telling progress.

        Yields:
            Messages to the App.
        """
        from fiftyone_deepcluster.dataset.api import resume

        key = shared_inputs.key_of(ctx)
        changes = {name: ctx.params[name] for name in _CHANGES if ctx.params.get(name)}

        def work(observer: Observer) -> Run:
            return resume(ctx.dataset, key, observer=observer, **changes)

        yield from run_and_show(ctx, key, work)
