"""Operator: linear probes of a run's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import findings, shared_inputs, values
from fiftyone_deepcluster.app.operators.progress import analyze_and_show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fiftyone_deepcluster.analysis.linear_probe import ProbeResult
    from fiftyone_deepcluster.core.progress import Observer

_FOLDS, _IMAGES = 3, 2_000
_FOLDS_RANGE, _IMAGES_RANGE = (2, 10), (20, 10_000)


class ProbeLayers(foo.Operator):
    """Measures the accuracy of linear classifiers of known classes on the features of each layer."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and execution options."""
        return shared_inputs.job_config(
            "probe_layers",
            "Probe layers",
            "Measure the accuracy of linear classifiers of known classes on each layer of a run's network, "
            "before and after training. Stored with the run.",
            "troubleshoot",
            "medium",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run, class field, number of images and folds."""
        inputs = types.Object()
        run = findings.add_finished_run(inputs, ctx)
        if run is not None:
            findings.add_label_field(inputs, ctx, run)
            fewest, most = _IMAGES_RANGE
            inputs.int("max_images", default=_IMAGES, min=fewest, max=most, label="Maximum number of images")
            inputs.int(
                "folds",
                default=_FOLDS,
                min=_FOLDS_RANGE[0],
                max=_FOLDS_RANGE[1],
                label="Folds",
                description="Number of cross-validation folds.",
            )
        return shared_inputs.form(inputs, "Probe layers", "Probe")

    def execute(self, ctx: foo.ExecutionContext) -> Iterator[Any]:
        """Probe the layers, reporting progress.

        Yields:
            Messages to the App.
        """
        from fiftyone_deepcluster.dataset.results.probes import probe

        key, field = shared_inputs.key_of(ctx), findings.label_field_of(ctx)
        (few, many), (least, most) = _FOLDS_RANGE, _IMAGES_RANGE
        folds = values.number(ctx.params, "folds", _FOLDS, least=few, most=many)
        images = values.number(ctx.params, "max_images", _IMAGES, least=least, most=most)

        def work(observer: Observer) -> str:
            return _result_text(
                probe(ctx.dataset, key, field, folds=folds, max_images=images, observer=observer)
            )

        yield from analyze_and_show(ctx, key, "probing", work)


def _result_text(found: ProbeResult) -> str:
    best = max(
        (score for score in found.scores if score.network == "trained"), key=lambda score: score.logistic
    )
    before = next(score for score in found.scores if score.network == "initial" and score.layer == best.layer)
    return (
        f"{best.layer} predicts {found.label_field} best: {best.logistic:.1%} of held-out images, "
        f"{before.logistic:.1%} before training"
    )
