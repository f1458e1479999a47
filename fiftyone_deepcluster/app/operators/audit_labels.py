"""Operator: find labels that are probably wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import fields, shared_inputs, values, vector_inputs
from fiftyone_deepcluster.app.operators.job_operator import JobOperator
from fiftyone_deepcluster.dataset.io.fields import FieldNames, check_free, check_key
from fiftyone_deepcluster.errors import DeepClusterError, InputError

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.background import Job

_KEY = "audit"


class AuditLabels(JobOperator):
    """Writes for every label the probability that it is wrong, and a suggested label."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and execution options."""
        return shared_inputs.job_config(
            "audit_labels",
            "Audit labels",
            "Find labels that are probably wrong, near duplicates, outliers and confused classes, from features of the "
            "images. Writes for every label the probability that it is wrong; no label is changed.",
            "fact_check",
            "high",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: labels, features, groups, key."""
        inputs = types.Object()
        labels = [*fields.class_fields(ctx.dataset), *fields.object_fields(ctx.dataset)]
        if labels:
            _add_labels(inputs, labels)
            _add_features(inputs, ctx)
            _add_groups(inputs, ctx)
            _add_key(inputs, ctx)
        else:
            _add_warning(inputs)
        return shared_inputs.form(inputs, "Audit labels", "Audit")

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The audit of the labels in the current view."""
        from fiftyone_deepcluster.dataset.background import Job

        label_field = values.needed_text(ctx.params, "label_field")
        key = values.name_or(ctx.params, "key", _KEY)
        check_key(key)
        given = {name: values.text(ctx.params, name) for name in ("run", "group_field")}
        given_vectors = values.one_or_more(ctx.params, vector_inputs.VECTORS)
        overwrite = values.switch(ctx.params, "overwrite")
        arguments = {
            "label_field": label_field,
            "key": key,
            "overwrite": overwrite,
            "embeddings_field": given_vectors,
            **given,
        }
        return Job("audit_labels", ctx.view, key, arguments)


def _add_warning(inputs: types.Object) -> None:
    """Add a warning that the dataset has no labels; the form cannot be submitted."""
    nothing = types.Warning(
        label="No field with labels in this dataset",
        description="Add a field with the labels to audit first.",
    )
    inputs.view("no_labels", nothing)
    inputs.str("label_field", view=types.HiddenView())
    shared_inputs.complain(inputs, "label_field", "this dataset has no field with labels; add one first")


def _add_labels(inputs: types.Object, labels: list[str]) -> None:
    shared_inputs.add_choice(
        inputs,
        "label_field",
        labels,
        default=labels[0],
        label="Labels",
        description="The labels to audit.",
    )


def _add_features(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    """Add a run and a field with vectors, of which one is needed."""
    from fiftyone_deepcluster.dataset.runs.run import finished_runs

    runs = finished_runs(ctx.dataset)
    shared_inputs.add_choice(
        inputs,
        "run",
        runs,
        none="no run",
        default=runs[-1] if runs else None,
        label="Features of a run",
        description="Features learned by a clustering run; its clusters are named in the reasons.",
    )
    label_field = values.text(ctx.params, "label_field")
    vector_inputs.add_vectors(
        inputs,
        ctx,
        ctx.view,
        label_field if label_field in fields.object_fields(ctx.dataset) else None,
        none="none",
        label="Embeddings",
        description="Fields with vectors. Vectors of several fields, and the features of the run, are each scaled to a "
        "mean length of 1 and joined.",
    )
    run = values.text(ctx.params, "run") if "run" in ctx.params or not runs else runs[-1]
    if run is None and values.one_or_more(ctx.params, vector_inputs.VECTORS) is None:
        shared_inputs.complain(
            inputs, "embeddings_field", 'choose a run or a field with vectors; "Cluster images" creates a run'
        )


def _add_groups(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    shared_inputs.add_choice(
        inputs,
        "group_field",
        fields.class_fields(ctx.dataset),
        none="none",
        label="Groups",
        description="Patients, series or splits: images of one group are not evidence for each other's labels.",
    )


def _add_key(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    """Add the key, and a switch to replace an audit that has it."""
    from fiftyone_deepcluster.dataset.audit.audit import list_audits
    from fiftyone_deepcluster.dataset.runs.kept_edits import check_may_replace

    inputs.str("key", default=_KEY, label="Name", description="Name of the audit, and prefix of its fields.")
    key = values.name_or(ctx.params, "key", _KEY)
    try:
        check_key(key)
        if key in list_audits(ctx.dataset):
            about = f"Delete the fields of the audit {key!r}. An audit with decisions is not replaced."
            if not shared_inputs.add_replace(inputs, ctx, about):
                raise InputError(f"there is an audit {key!r}; choose another key, or replace it")
            check_may_replace(ctx.dataset, key, "audit")
        else:
            check_free(ctx.dataset, FieldNames(key, None, "audit"))
    except DeepClusterError as error:
        shared_inputs.complain(inputs, "key", error)
