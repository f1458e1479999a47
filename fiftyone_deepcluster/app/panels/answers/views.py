"""The App's view: how many images of each cluster it contains, and what the panel shows in the grid.

View stages that the panel adds are marked by their id, so that they can be removed without losing the user's stages.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from fiftyone_deepcluster.app.panels.answers.common import Json, optional_text_param, run_of, texts_param

if TYPE_CHECKING:
    import fiftyone as fo
    import fiftyone.operators as foo

    from fiftyone_deepcluster.dataset.runs.run import Run

MARK = "deepcluster"
"""Beginning of the id of a stage that the panel has added; ``frontend/src/model/gridView.ts`` has it, too."""
_MOST_SHOWN = 10_000


def in_view(ctx: foo.ExecutionContext) -> Json:
    """Number of images of each cluster in the user's view; None if it shows the whole dataset, or other things."""
    from fiftyone_deepcluster.dataset.review.overview import counts_in

    run, view = run_of(ctx), _with_filters(ctx)
    return {"counts": counts_in(run, view) if view._all_stages else None}


def show(ctx: foo.ExecutionContext) -> None:
    """Show a cluster, or some images, in the grid; without both, the user's view again."""
    from fiftyone_deepcluster.dataset.io.read_images import all_images

    run = run_of(ctx)
    cluster = optional_text_param(ctx, "cluster")
    if ctx.params.get("ids"):
        everything = all_images(run.dataset, run.patches_field)
        put_into_grid(ctx, run, everything.select(texts_param(ctx, "ids", _MOST_SHOWN), ordered=True))
    elif cluster is not None:
        put_into_grid(ctx, run, run.cluster_view(cluster))
    elif _user_stages(ctx):
        ctx.ops.set_view(_user_view(ctx))
    else:
        ctx.ops.clear_view()


def put_into_grid(ctx: foo.ExecutionContext, run: Run, view: fo.DatasetView) -> None:
    """Show the images of a view, as far as the user's view has them, in the grid.

    Args:
        ctx: the event.
        run: run of the images.
        view: view of images of the run's dataset, made without regard to the user's view.
    """
    from fiftyone.core.patches import PatchesView

    base = _user_view(ctx)
    own = len(base._all_stages)
    if not _has_images(run, base):
        shown, own = view, 0
    elif isinstance(base, PatchesView):
        shown = base.select(view.limit(_MOST_SHOWN).values("id"), ordered=True)
    else:
        shown = base
        for stage in view._all_stages:
            shown = shown.add_stage(stage)
    for stage in shown._all_stages[own:]:
        stage._uuid = f"{MARK}-{uuid.uuid4()}"
    ctx.ops.set_view(shown)


def color(ctx: foo.ExecutionContext) -> None:
    """Show the clusters of a run on the images of the grid."""
    run = run_of(ctx)
    ctx.ops.set_active_fields(fields=[run.patches_field or run.key])


def _user_stages(ctx: foo.ExecutionContext) -> list[Json]:
    """Stages of the App's view without those of the panel."""
    stages = ctx.request_params.get("view") or []
    return [stage for stage in stages if not str(stage.get("_uuid", "")).startswith(MARK)]


def _user_view(ctx: foo.ExecutionContext) -> fo.DatasetView:
    """The App's view, without its filters and without the stages of the panel."""
    import fiftyone as fo

    saved = ctx.request_params.get("view_name")
    if saved is not None:
        return ctx.dataset.load_saved_view(saved)
    return fo.DatasetView._build(ctx.dataset, _user_stages(ctx))


def _with_filters(ctx: foo.ExecutionContext) -> fo.DatasetView:
    """The App's view and filters, without the stages of the panel."""
    from fiftyone.server.view import get_view

    stages, given = _user_stages(ctx), ctx.request_params
    if len(stages) == len(given.get("view") or []):
        return ctx.view
    return get_view(
        ctx.dataset, stages=stages, filters=given.get("filters"), extended_stages=given.get("extended")
    )


def _has_images(run: Run, view: fo.DatasetView) -> bool:
    """Whether a view has stages, and images of the run; a view of patches of another field has none."""
    from fiftyone_deepcluster.dataset.review.overview import path_in_view

    known = view.get_field(path_in_view(run, view)) is not None
    return bool(view._all_stages) and known and view.media_type != "group"
