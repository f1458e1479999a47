"""Operator: number of clusters, recommended without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.estimate import count_images
from fiftyone_deepcluster.app.operators import fields, findings, shared_inputs, values
from fiftyone_deepcluster.app.operators.job_operator import JobOperator
from fiftyone_deepcluster.app.operators.vector_inputs import JOINED, VECTORS, add_vectors
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.runs.run import finished_runs
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.clusterers.number import NumberSweep
    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.dataset.runs.run import Run

_REPETITIONS, _REPETITIONS_RANGE = 3, (2, 10)
_IMAGES, _IMAGES_RANGE = 5_000, (20, 100_000)
_LARGEST = 1_000
_RUN, _FIELDS = "run", "fields"
_NO_FIELD = "choose a field with vectors; FiftyOne's compute_embeddings creates one"


class RecommendNumber(JobOperator):
    """Clusters vectors into several numbers of clusters, and recommends one without labels."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and execution options."""
        return shared_inputs.job_config(
            "recommend_number",
            "Recommend number of clusters",
            "Cluster the embeddings of a run, or the vectors in fields, into several numbers of clusters, score each "
            "without labels, and recommend one. No run is needed, and none is changed.",
            "query_stats",
            "medium",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run or fields, range of numbers, seeds and images; with the curves of the last sweep."""
        from fiftyone_deepcluster.dataset.results.numbers import stored_sweep

        inputs = types.Object()
        _add_source(inputs, ctx)
        if _by_fields(ctx):
            _add_fields(inputs, ctx)
        elif (run := findings.add_finished_run(inputs, ctx)) is not None:
            _add_range(inputs, ctx, _usual_range(run))
            _add_effort(inputs, ctx)
            _add_curves(inputs, stored_sweep(run))
        return shared_inputs.form(inputs, "Recommend number of clusters", "Recommend")

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The sweep over the numbers."""
        from fiftyone_deepcluster.dataset.background import Job
        from fiftyone_deepcluster.dataset.runs.run import load_run

        if not _by_fields(ctx):
            run = load_run(ctx.dataset, shared_inputs.key_of(ctx))
            return findings.analysis(ctx, "recommend_number", **_arguments(ctx, _usual_range(run)))
        chosen, samples = values.one_or_more(ctx.params, VECTORS), shared_inputs.target_of(ctx)
        if chosen is None:
            raise InputError(_NO_FIELD)
        given = {VECTORS: chosen, **_arguments(ctx, _range_of_images(samples))}
        return Job("recommend_number", samples, "", given)


def _by_fields(ctx: foo.ExecutionContext) -> bool:
    """Whether the vectors are those of fields: as chosen, as the other parameters say, or as there is no run.

    Raises:
        InputError: an unknown choice, or a run and fields.
    """
    source, fields_given = (
        values.text(ctx.params, "source"),
        values.one_or_more(ctx.params, VECTORS) is not None,
    )
    if source is not None:
        arguments.one_of("source", source, (_RUN, _FIELDS))
        return source == _FIELDS
    if values.text(ctx.params, "key") is not None:
        if fields_given:
            raise InputError(f"key and {VECTORS} are given; give one of the two")
        return False
    return fields_given or (not finished_runs(ctx.dataset) and bool(fields.vector_fields(ctx.dataset)))


def _add_source(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    """Add the choice between a run and fields, if there are both."""
    if not finished_runs(ctx.dataset) or not fields.vector_fields(ctx.dataset):
        return
    dropdown = types.DropdownView()
    dropdown.add_choice(_RUN, label="Embeddings of a run")
    dropdown.add_choice(_FIELDS, label="Fields with vectors")
    chosen = _FIELDS if _by_fields(ctx) else _RUN
    inputs.enum("source", dropdown.values(), default=chosen, view=dropdown, label="Vectors")


def _add_fields(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    """Add the samples, the fields, and what is asked of a run, too."""
    from fiftyone_deepcluster.dataset.results.numbers import sweep_of_fields

    inputs.view_target(ctx, action_description="Use")
    samples = shared_inputs.target_of(ctx)
    add_vectors(
        inputs,
        ctx,
        samples,
        none="none",
        single=True,
        label="Embeddings",
        description=f"Fields with precomputed vectors. {JOINED}",
    )
    chosen = values.one_or_more(ctx.params, VECTORS)
    if chosen is None:
        shared_inputs.complain(inputs, VECTORS, _NO_FIELD)
    _add_range(inputs, ctx, _range_of_images(samples))
    _add_effort(inputs, ctx)
    known = None
    if chosen is not None:
        known = sweep_of_fields(ctx.dataset, [chosen] if isinstance(chosen, str) else chosen)
    _add_curves(inputs, None if known is None else known[1])


def _arguments(ctx: foo.ExecutionContext, usual: tuple[int, int]) -> dict[str, Any]:
    """Numbers of clusters, repetitions and images; ``usual`` are the smallest and largest number by default."""
    from fiftyone_deepcluster.clusterers.number import numbers_between

    (few, many), (least, most) = _REPETITIONS_RANGE, _IMAGES_RANGE
    return {
        "numbers": numbers_between(*_range_of(ctx, usual)),
        "repetitions": values.number(ctx.params, "repetitions", _REPETITIONS, least=few, most=many),
        "max_images": values.number(ctx.params, "max_images", _IMAGES, least=least, most=most),
    }


def _add_curves(inputs: types.Object, found: NumberSweep | None) -> None:
    """Add the curves of a stored sweep, if there is one."""
    from fiftyone_deepcluster.dataset.job_verbs import advice_of

    if found is None:
        return
    inputs.view("advice", types.Notice(label=f"Last result. {advice_of(found)}"))
    lines = {
        "score": found.score,
        "stability": found.stability,
        "silhouette": found.silhouette,
        "linear": found.accuracy,
    }
    data: list[dict[str, Any]] = [
        {"x": list(found.numbers), "y": list(line), "name": name} for name, line in lines.items()
    ]
    if found.gain:
        data.insert(0, {"x": list(found.numbers), "y": list(found.gain), "name": "gain", "yaxis": "y2"})
    view = types.PlotlyView(data=data, layout=_layout(found), config={"displayModeBar": False})
    inputs.define_property("curves", types.Object(), view=view)


def _layout(found: NumberSweep) -> dict[str, Any]:
    """Plotly's layout of the curves: names of lines and axes, the interval, and the recommended number.

    Lines are gray, which can be seen on the light and on the dark theme.
    """
    from fiftyone_deepcluster.clusterers.gain import STANDS_OUT

    low, high = found.interval
    gray = {"color": "gray", "width": 2}
    shapes: list[dict[str, Any]] = [
        {"type": "rect", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1, "opacity": 0.15,
         "fillcolor": "gray", "line": {"width": 0}},
        {"type": "line", "yref": "paper", "x0": found.recommended, "x1": found.recommended, "y0": 0, "y1": 1,
         "line": {**gray, "dash": "dash"}},
    ]  # fmt: skip
    layout = {
        "height": 300,
        "margin": {"l": 55, "r": 50, "t": 30, "b": 40},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"title": {"text": "number of clusters"}},
        "yaxis": {"title": {"text": "score"}},
        "shapes": shapes,
    }
    if found.gain:
        top = 1.1 * max(STANDS_OUT, *(one for one in found.gain if one is not None))
        axis = {"overlaying": "y", "side": "right", "range": [0, top], "showgrid": False}
        layout["yaxis2"] = {
            "title": {"text": f"gain (stands out from {STANDS_OUT})", "font": {"size": 14}},
            **axis,
        }
        shapes.append({"type": "line", "xref": "paper", "yref": "y2", "x0": 0, "x1": 1, "y0": STANDS_OUT,
                       "y1": STANDS_OUT, "line": {**gray, "dash": "dot"}})  # fmt: skip
    return layout


def _add_range(inputs: types.Object, ctx: foo.ExecutionContext, usual: tuple[int, int]) -> None:
    smallest, largest = usual
    label, bounds = "Smallest number of clusters", (2, _LARGEST - 1)
    least = shared_inputs.add_number(inputs, ctx, "smallest", smallest, bounds, label=label)
    most = shared_inputs.add_number(
        inputs,
        ctx,
        "largest",
        largest,
        (3, _LARGEST),
        label="Largest number of clusters",
        description="Every number in between is scored, or 20 of them at equal ratios.",
    )
    if "largest" in ctx.params and least is not None and most is not None and least >= most:
        shared_inputs.complain(inputs, "largest", f"give more than the smallest number, {least}")


def _add_effort(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    shared_inputs.add_number(
        inputs,
        ctx,
        "repetitions",
        _REPETITIONS,
        _REPETITIONS_RANGE,
        label="Repetitions",
        description="Number of clusterings with different seeds; their agreement is the stability.",
    )
    label = "Maximum number of images"
    shared_inputs.add_number(inputs, ctx, "max_images", _IMAGES, _IMAGES_RANGE, label=label)


def _usual_range(run: Run) -> tuple[int, int]:
    from fiftyone_deepcluster.dataset.results.numbers import largest_number

    return 2, largest_number(run.record.n_images, run.n_clusters)


def _range_of_images(samples: fo.core.collections.SampleCollection) -> tuple[int, int]:
    from fiftyone_deepcluster.dataset.results.numbers import largest_number

    return 2, largest_number(count_images(samples, None), 0)


def _range_of(ctx: foo.ExecutionContext, usual: tuple[int, int]) -> tuple[int, int]:
    """Smallest and largest number."""
    few, many = usual
    smallest = values.number(ctx.params, "smallest", few, least=2, most=_LARGEST - 1)
    return smallest, values.number(
        ctx.params, "largest", max(many, smallest + 1), least=smallest + 1, most=_LARGEST
    )
