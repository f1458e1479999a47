"""Stored analyses of a run: linear probes, units, neighbors, the number of clusters, and the category tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.app.panels.answers.common import Json, run_of, text_param, texts_param
from fiftyone_deepcluster.app.panels.answers.views import put_into_grid
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.clusterers.number import NumberSweep
    from fiftyone_deepcluster.dataset.runs.run import Run


def analyses(ctx: foo.ExecutionContext) -> Json:
    """Everything that was computed for a run; None or empty where it was not."""
    from fiftyone_deepcluster.dataset.results.filters import stored_filters
    from fiftyone_deepcluster.dataset.results.neighbors import stored_scores
    from fiftyone_deepcluster.dataset.results.numbers import stored_sweep
    from fiftyone_deepcluster.dataset.results.probes import stored_probe

    run = run_of(ctx)
    sweep = stored_sweep(run)
    probe, drawn, scores = stored_probe(run), stored_filters(run), stored_scores(run)
    return {
        "probe": None if probe is None else probe.model_dump(mode="json"),
        "layer": None if drawn is None else drawn[0],
        "units": [] if drawn is None else [{"unit": unit.unit, "path": unit.tile} for unit in drawn[1]],
        "retrieval": None if scores is None else scores.model_dump(mode="json"),
        "tree": [_node(node) for node in _tree(run)],
        "numbers": None if sweep is None else _curves(sweep),
    }


def _curves(sweep: NumberSweep) -> Json:
    """The curves of a sweep over the number of clusters, and its advice."""
    from fiftyone_deepcluster.clusterers.gain import STANDS_OUT
    from fiftyone_deepcluster.dataset.job_verbs import advice_of

    lines = {
        "Score": sweep.score,
        "Stability": sweep.stability,
        "Silhouette": sweep.silhouette,
        "Linear": sweep.accuracy,
    }
    return {
        "numbers": list(sweep.numbers),
        "lines": [{"name": name, "values": list(line)} for name, line in lines.items()],
        "objective": list(sweep.objective),
        "gain": list(sweep.gain),
        "stands_out": STANDS_OUT,
        "recommended": sweep.recommended,
        "interval": list(sweep.interval),
        "advice": advice_of(sweep),
    }


def _node(node: Any) -> Json:
    return {
        "name": node.name,
        "parent": node.parent,
        "size": node.size,
        "clusters": list(node.clusters),
        "leaf": node.leaf,
    }


def _tree(run: Run) -> list[Any]:
    from fiftyone_deepcluster.dataset.results.categories import stored_tree
    from fiftyone_deepcluster.dataset.results.results_cache import Findings

    if Findings(run).load("tree") is None:
        return []
    return stored_tree(run) or []


def neighbors(ctx: foo.ExecutionContext) -> Json:
    """Nearest neighbors of an image, by kind of features; None if no neighbors were computed."""
    from fiftyone_deepcluster.dataset.io.read_images import flat
    from fiftyone_deepcluster.dataset.results.neighbors import indexed_neighbors

    run = run_of(ctx)
    found = indexed_neighbors(run, text_param(ctx, "image"))
    if found is None:
        return {"neighbors": None}
    ids = {near.sample_id for some in found.values() for near in some}
    paths = (
        dict(zip(*flat(run.dataset).select([*ids]).values(["id", "filepath"]), strict=True)) if ids else {}
    )
    return {
        "neighbors": {
            kind: [
                {
                    "id": near.id,
                    "sample": near.sample_id,
                    "path": paths[near.sample_id],
                    "box": None,
                    "distance": near.distance,
                }
                for near in some
                if near.sample_id in paths  # others were deleted since
            ]
            for kind, some in found.items()
        }
    }


def show_unit(ctx: foo.ExecutionContext) -> None:
    """Show the images with the highest activations of a unit in the grid."""
    from fiftyone_deepcluster.dataset.io.read_images import flat
    from fiftyone_deepcluster.dataset.results.filters import stored_filters

    run = run_of(ctx)
    drawn = stored_filters(run)
    for unit in drawn[1] if drawn is not None else []:
        if unit.unit == ctx.params.get("unit"):
            put_into_grid(ctx, run, flat(run.dataset).select(list(unit.top_samples), ordered=True))
            return
    raise InputError(f"unit={ctx.params.get('unit')!r} was not drawn; draw the filters again")


def show_node(ctx: foo.ExecutionContext) -> None:
    """Show the images of a group of clusters in the grid.

    Raises:
        InputError: its clusters no longer exist.
    """
    run = run_of(ctx)
    known = set(run.names())
    there = [name for name in texts_param(ctx, "clusters", 100_000) if name in known]
    if not there:
        raise InputError("These clusters were merged after the tree was built. Build the tree again.")
    put_into_grid(ctx, run, run.cluster_view(*there))
