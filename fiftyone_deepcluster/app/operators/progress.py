"""Long-running operators: report progress, then show the result in the App."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.app.operators.shared_inputs import from_app
from fiftyone_deepcluster.app.running import watch
from fiftyone_deepcluster.dataset.display.workspace import CLUSTERS_PANEL

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import fiftyone.operators as foo

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.runs.run import Run

logger = logging.getLogger(__name__)

FROM_PANEL = "from_panel"
"""Parameter set by the panel when it opens an operator's form."""


def analyze_and_show(
    ctx: foo.ExecutionContext, key: str, what: str, work: Callable[[Observer], str]
) -> Iterator[Any]:
    """Execute an analysis of a finished run; report progress; show the panel and the text that ``work`` returns.

    Yields:
        Messages to the App.
    """
    texts: list[str] = []
    states = watch(f"{what} {key}", lambda observer: texts.append(work(observer)))
    done = yield from report_progress(ctx, f"{what} {key}", states)
    if done and not ctx.delegated:
        if not ctx.params.get(FROM_PANEL):  # the panel updates itself
            yield from open_panel(ctx, key)
        yield ctx.ops.notify(texts[0], variant="success")


def report_progress(
    ctx: foo.ExecutionContext, what: str, states: Iterator[tuple[float, str]]
) -> Generator[Any, None, bool]:
    """Report progress; return whether the work succeeded."""
    yield _progress(ctx, 0.0, "starting")
    try:
        for fraction, label in states:
            yield _progress(ctx, fraction, label)
    except Exception as error:
        # the App shows an empty dialog for an exception raised in a generator: send a notification instead
        logger.exception("%s failed", what)
        yield _progress(ctx, 0.0, f"failed: {error}")
        yield ctx.ops.notify(str(error), variant="error")
        if not from_app(ctx):
            raise
        return False
    yield _progress(ctx, 1.0, "done")
    return True


def open_panel(ctx: foo.ExecutionContext, key: str) -> Iterator[Any]:
    """Open the Clusters panel on a run; close it first, as an open panel ignores the state passed to it.

    Yields:
        Messages to the App.
    """
    yield ctx.ops.close_panel(name=CLUSTERS_PANEL)
    yield ctx.ops.open_panel(CLUSTERS_PANEL, layout="horizontal", state={"state": {"run": key}})


def shown_field(run: Run) -> str:
    """The field shown in the grid for a run."""
    return run.patches_field or run.key


def _progress(ctx: foo.ExecutionContext, fraction: float, label: str) -> object:
    if ctx.delegated:
        ctx.set_progress(progress=fraction, label=label)
        return None  # a worker ignores it
    return ctx.ops.set_progress(progress=fraction, label=label)
