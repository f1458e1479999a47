"""Operator: number of clusters, recommended without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import findings, shared_inputs, values
from fiftyone_deepcluster.app.operators.job_operator import JobOperator

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.dataset.runs.run import Run

_REPETITIONS, _REPETITIONS_RANGE = 3, (2, 10)
_IMAGES, _IMAGES_RANGE = 5_000, (20, 100_000)
_LARGEST = 1_000


class RecommendNumber(JobOperator):
    """Clusters a run's embeddings into several numbers of clusters, and recommends one without labels."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and execution options."""
        return shared_inputs.job_config(
            "recommend_number",
            "Recommend number of clusters",
            "Cluster the embeddings of a run into several numbers of clusters, score each without labels, and "
            "recommend one. The run is not changed. Stored with it.",
            "query_stats",
            "medium",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run, range of numbers, seeds and images; with the curves of the last sweep."""
        inputs = types.Object()
        run = findings.add_finished_run(inputs, ctx)
        if run is not None:
            _add_range(inputs, ctx, run)
            _add_effort(inputs)
            add_curves(inputs, run)
        return shared_inputs.form(inputs, "Recommend number of clusters", "Recommend")

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The sweep over the numbers."""
        from fiftyone_deepcluster.clusterers.number import numbers_between
        from fiftyone_deepcluster.dataset.runs.run import load_run

        smallest, largest = _range_of(ctx, load_run(ctx.dataset, shared_inputs.key_of(ctx)))
        (few, many), (least, most) = _REPETITIONS_RANGE, _IMAGES_RANGE
        return findings.analysis(
            ctx,
            "recommend_number",
            numbers=numbers_between(smallest, largest),
            repetitions=values.number(ctx.params, "repetitions", _REPETITIONS, least=few, most=many),
            max_images=values.number(ctx.params, "max_images", _IMAGES, least=least, most=most),
        )


def add_curves(inputs: types.Object, run: Run) -> None:
    """Add the curves of the stored sweep of a run, if there is one."""
    from fiftyone_deepcluster.dataset.job_verbs import advice_of
    from fiftyone_deepcluster.dataset.results.numbers import stored_sweep

    found = stored_sweep(run)
    if found is None:
        return
    inputs.view("advice", types.Notice(label=f"Last result. {advice_of(found)}"))
    lines = {
        "score": found.score,
        "stability": found.stability,
        "silhouette": found.silhouette,
        "linear": found.accuracy,
    }
    data = [{"x": list(found.numbers), "y": list(line), "name": name} for name, line in lines.items()]
    low, high = found.interval
    layout = {
        "height": 260,
        "margin": {"l": 40, "r": 10, "t": 10, "b": 40},
        "xaxis": {"title": {"text": "clusters"}},
        "shapes": [
            {"type": "rect", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1, "opacity": 0.15,
             "fillcolor": "gray", "line": {"width": 0}},
            {"type": "line", "yref": "paper", "x0": found.recommended, "x1": found.recommended, "y0": 0, "y1": 1},
        ],
    }  # fmt: skip
    view = types.PlotlyView(data=data, layout=layout, config={"displayModeBar": False})
    inputs.define_property("curves", types.Object(), view=view)


def _add_range(inputs: types.Object, ctx: foo.ExecutionContext, run: Run) -> None:
    smallest, largest = _usual_range(run)
    inputs.int("smallest", default=smallest, min=2, max=_LARGEST, label="Smallest number of clusters")
    inputs.int(
        "largest",
        default=largest,
        min=3,
        max=_LARGEST,
        label="Largest number of clusters",
        description="Every number in between is scored, or 20 of them at equal ratios.",
    )
    least, most = ctx.params.get("smallest"), ctx.params.get("largest")
    if isinstance(least, int) and isinstance(most, int) and least >= most:
        shared_inputs.complain(inputs, "largest", f"give more than the smallest number, {least}")


def _add_effort(inputs: types.Object) -> None:
    few, many = _REPETITIONS_RANGE
    inputs.int(
        "repetitions",
        default=_REPETITIONS,
        min=few,
        max=many,
        label="Repetitions",
        description="Number of clusterings with different seeds; their agreement is the stability.",
    )
    least, most = _IMAGES_RANGE
    inputs.int("max_images", default=_IMAGES, min=least, max=most, label="Maximum number of images")


def _usual_range(run: Run) -> tuple[int, int]:
    from fiftyone_deepcluster.dataset.results.numbers import largest_number

    return 2, largest_number(run.record.n_images, run.n_clusters)


def _range_of(ctx: foo.ExecutionContext, run: Run) -> tuple[int, int]:
    """Smallest and largest number."""
    few, many = _usual_range(run)
    smallest = values.number(ctx.params, "smallest", few, least=2, most=_LARGEST - 1)
    return smallest, values.number(
        ctx.params, "largest", max(many, smallest + 1), least=smallest + 1, most=_LARGEST
    )
