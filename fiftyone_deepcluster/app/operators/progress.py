"""Long work from an operator: progress while it runs, the result on the screen at the end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.running import follow_run, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import fiftyone.operators as foo

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.runs.run import Run

logger = logging.getLogger(__name__)

FROM_PANEL = "from_panel"
"""Parameter that the panel sets where it opens a form itself."""


def run_and_show(ctx: foo.ExecutionContext, key: str, work: Callable[[Observer], Run]) -> Iterator[Any]:
    """Do the work; tell its progress to the App, or to the delegated run's document; show the result.

    Yields:
        Messages to the App.
    """
    states = ((state.fraction, state.label) for state in follow_run(ctx.dataset, key, work))
    done = yield from _report(ctx, f"clustering {key}", states)
    if done and not ctx.delegated:
        yield from show_result(ctx, key)


def find_out_and_show(
    ctx: foo.ExecutionContext, key: str, what: str, work: Callable[[Observer], str]
) -> Iterator[Any]:
    """Do work about a finished run; tell its progress; show the panel, and the text that the work gives.

    Yields:
        Messages to the App.
    """
    texts: list[str] = []
    states = watch(f"{what} {key}", lambda observer: texts.append(work(observer)))
    done = yield from _report(ctx, f"{what} {key}", states)
    if done and not ctx.delegated:
        if not ctx.params.get(FROM_PANEL):  # which shows it by itself
            yield from open_panel(ctx, key)
        yield ctx.ops.notify(texts[0], variant="success")


def _report(
    ctx: foo.ExecutionContext, what: str, states: Iterator[tuple[float, str]]
) -> Generator[Any, None, bool]:
    """Tell how far it has come; whether it came to its end."""
    yield _progress(ctx, 0.0, "starting")
    try:
        for fraction, label in states:
            yield _progress(ctx, fraction, label)
    except Exception as error:
        # the App shows an empty dialog for an error in the middle of a stream, so there it is told in words
        logger.exception("%s failed", what)
        yield _progress(ctx, 0.0, f"failed: {error}")
        yield ctx.ops.notify(str(error), variant="error")
        if ctx.prompt_id is None:
            raise
        return False
    yield _progress(ctx, 1.0, "done")
    return True


def show_result(ctx: foo.ExecutionContext, key: str) -> Iterator[Any]:
    """Reload the dataset, color the grid by the clusters, open the panel, say how it went.

    Yields:
        Messages to the App.
    """
    from fiftyone_deepcluster.dataset.runs.run import load_run

    ctx.dataset.reload()
    run = load_run(ctx.dataset, key)
    yield ctx.ops.reload_dataset()
    yield ctx.ops.set_active_fields(fields=[shown_field(run)])
    yield from open_panel(ctx, key)
    reason = run.stop_reason.message if run.stop_reason else ""
    yield ctx.ops.notify(
        f"{run.record.n_images:,} images in {run.n_clusters} clusters. {reason}", variant="success"
    )


def open_panel(ctx: foo.ExecutionContext, key: str) -> Iterator[Any]:
    """Open the Clusters panel on a run; anew, as an open panel drops the state it is given.

    Yields:
        Messages to the App.
    """
    yield ctx.ops.close_panel(name=names.CLUSTERS_PANEL)
    yield ctx.ops.open_panel(names.CLUSTERS_PANEL, layout="horizontal", state={"state": {"run": key}})


def shown_field(run: Run) -> str:
    """The field that the grid shows for a run."""
    return run.patches_field or run.key


def _progress(ctx: foo.ExecutionContext, fraction: float, label: str) -> object:
    if ctx.delegated:
        ctx.set_progress(progress=fraction, label=label)
        return None  # a worker ignores it
    return ctx.ops.set_progress(progress=fraction, label=label)
