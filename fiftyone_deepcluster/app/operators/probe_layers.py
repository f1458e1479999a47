"""Operator: linear probes of a run's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import findings, shared_inputs, values
from fiftyone_deepcluster.app.operators.job_operator import JobOperator

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.background import Job

_FOLDS, _IMAGES = 3, 2_000
_FOLDS_RANGE, _IMAGES_RANGE = (2, 10), (20, 10_000)


class ProbeLayers(JobOperator):
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
            label = "Maximum number of images"
            shared_inputs.add_number(inputs, ctx, "max_images", _IMAGES, _IMAGES_RANGE, label=label)
            about = "Number of cross-validation folds."
            shared_inputs.add_number(
                inputs, ctx, "folds", _FOLDS, _FOLDS_RANGE, label="Folds", description=about
            )
        return shared_inputs.form(inputs, "Probe layers", "Probe")

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The probe of a run."""
        (few, many), (least, most) = _FOLDS_RANGE, _IMAGES_RANGE
        return findings.analysis(
            ctx,
            "probe_layers",
            label_field=findings.label_field_of(ctx),
            folds=values.number(ctx.params, "folds", _FOLDS, least=few, most=many),
            max_images=values.number(ctx.params, "max_images", _IMAGES, least=least, most=most),
        )
