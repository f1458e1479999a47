"""Operator: cluster images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app import forms, names
from fiftyone_deepcluster.app.operators import fields, shared_inputs, values
from fiftyone_deepcluster.app.operators.progress import run_and_show
from fiftyone_deepcluster.app.params import accepts_features, method_field, parse_call
from fiftyone_deepcluster.app.running import enqueue
from fiftyone_deepcluster.dataset.io.read_images import DICOM_PATH, image_slices

if TYPE_CHECKING:
    from collections.abc import Iterator

    import fiftyone as fo

_HOW_TO_SCHEDULE = (
    "Execute runs the clustering now and shows its progress; keep this tab open. For a long run, choose Schedule, "
    f"which needs two commands in separate terminals: `{names.APP_COMMAND}` starts the App, and "
    f"`{names.WORKER_COMMAND}` executes scheduled operations."
)


class ClusterImages(foo.Operator):
    """Learns features and clusters of the target view's images and writes them to the dataset."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and execution options."""
        return shared_inputs.job_config(
            "cluster_images",
            "Cluster images",
            "Learn features and clusters together from unlabeled images, and write the "
            "clusters, their confidence and the learned embeddings to the dataset. An existing run is replaced only "
            "if asked to.",
            "workspaces",
            "high",
        )

    def resolve_placement(self, ctx: foo.ExecutionContext) -> types.Placement:
        """Button above the sample grid."""
        return types.Placement(
            types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
            types.Button(label="Cluster images", icon="workspaces", prompt=True),
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form; invalid inputs show an error message."""
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Cluster")
        _add_key(inputs, ctx)
        field = method_field()
        given = values.nested(ctx.params, "method")
        _add_fields(inputs, ctx, forms.part_values(field.parts, given, field.default)["name"])
        forms.add_part(inputs, field, given)
        if given is not None:
            ctx.params[field.name] = forms.as_form_values(
                inputs.get_property(field.name).type, given, field.name
            )
        inputs.bool(
            "compute_brain",
            default=True,
            label="Also compute a 2-D map and a similarity index",
            description="For the Embeddings panel and for sorting by similarity.",
            view=types.SwitchView(),
        )
        forms.mark(inputs, forms.problems(field.parts, field, given))
        inputs.view("schedule", types.Notice(label="Long runs", description=_HOW_TO_SCHEDULE))
        return shared_inputs.form(inputs, "Cluster images")

    def resolve_delegation(self, ctx: foo.ExecutionContext) -> None:
        """Never force delegation; if it is requested, record the run as queued so that the panel shows it."""
        if ctx.requesting_delegated_execution and not ctx.delegated:
            call = parse_call(ctx.params, ctx.dataset)
            enqueue(ctx, call.key, call.options.name, call.options.rounds)

    def execute(self, ctx: foo.ExecutionContext) -> Iterator[Any]:
        """Cluster, reporting progress; then show the clusters.

        Yields:
            Messages to the App.
        """
        call = parse_call(ctx.params, ctx.dataset)
        yield from run_and_show(ctx, call.key, call.work(_target(ctx)))

    def __call__(
        self,
        samples: fo.core.collections.SampleCollection,
        method: str | dict[str, Any] = "deepcluster",
        key: str = "dc",
        *,
        delegate: bool = False,
        **settings: Any,
    ) -> object:
        """Run from a script, immediately or in a worker.

        Args:
            samples: dataset or view.
            method: method name, or a dict with ``name`` and the method's options.
            key: name of the run.
            delegate: queue the operation for a worker.
            **settings: ``overwrite``, ``truth_field``, ``patches_field``, ``embeddings_field``,
                ``compute_brain``.

        Returns:
            Execution result of FiftyOne.
        """
        params = {"method": method, "key": key, **settings}
        return foo.execute_operator(
            names.CLUSTER_IMAGES,
            {"view": samples.view()},
            params=params,
            request_delegation=delegate,
        )


def _target(ctx: foo.ExecutionContext) -> fo.core.collections.SampleCollection:
    """Samples to cluster; of a grouped dataset, the selected slice or the slice shown in the grid."""
    samples = ctx.target_view()
    if samples.media_type != "group":
        return samples
    shown = values.text(ctx.params, "group_slice") or ctx.group_slice or ctx.dataset.default_group_slice
    return samples.select_group_slices(shown)


def _add_key(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    """Add the input of the run's name, validated while typing."""
    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.runs.run import finished_runs, free_key, interrupted_runs

    default = free_key(ctx.dataset)
    key = values.text(ctx.params, "key") or default
    inputs.str(
        "key",
        default=default,
        label="Run name",
        description="Also the name of the field that the clusters are written to.",
    )
    left = interrupted_runs(ctx.dataset).get(key)
    if key in finished_runs(ctx.dataset):
        _add_overwrite(inputs, ctx, key)
    elif left is not None and not left.copied:
        about = (
            f"The run is resumed if images and options are the same, and replaced otherwise. {left.message}."
        )
        inputs.view("left", types.Notice(label=f"The run {key!r} was interrupted", description=about))
    else:
        shared_inputs.check_new_key(
            inputs, "key", ctx.dataset, FieldNames(key, values.text(ctx.params, "patches_field"))
        )


def _add_overwrite(inputs: types.Object, ctx: foo.ExecutionContext, key: str) -> None:
    inputs.bool("overwrite", default=False, label=f"Replace the run {key!r}", view=types.SwitchView())
    if not values.switch(ctx.params, "overwrite"):
        shared_inputs.complain(
            inputs, "key", f"the run {key!r} exists already; choose another name, or replace it"
        )
        return
    inputs.view(
        "overwritten",
        types.Warning(
            label=f"The run {key!r} will be replaced",
            description="Its clusters, their names and the edit log are deleted when the new run "
            "is finished. Labels written to other fields are kept.",
        ),
    )


def _add_fields(inputs: types.Object, ctx: foo.ExecutionContext, method: str) -> None:
    """Add the inputs for slices and fields; each only if the dataset has something to choose from."""
    _add_sources(inputs, ctx)
    vectors = fields.vector_fields(ctx.dataset)
    if vectors and accepts_features(method):
        shared_inputs.add_choice(
            inputs,
            "embeddings_field",
            vectors,
            none="computed by the method",
            label="Embeddings",
            description="Field with precomputed feature vectors to cluster.",
        )
    classes = fields.class_fields(ctx.dataset, values.text(ctx.params, "patches_field"))
    if classes:
        shared_inputs.add_choice(
            inputs,
            "truth_field",
            classes,
            none="none",
            label="Known classes",
            description="Used for evaluation after each round only, never for training or model selection.",
        )


def _add_sources(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    """Add the inputs that select the images: group slice, image files, objects."""
    if ctx.dataset.media_type == "group":
        shared_inputs.add_choice(
            inputs,
            "group_slice",
            image_slices(ctx.dataset),
            default=ctx.group_slice or ctx.dataset.default_group_slice,
            label="Group slice",
            description="Slice whose images are clustered; by default the slice shown in the grid.",
        )
    if ctx.dataset.has_field(DICOM_PATH):
        shared_inputs.add_choice(
            inputs,
            "media_field",
            ["filepath"],
            none="original DICOM files",
            label="Image files",
            description="filepath: the images shown in the App, which may be smaller than the originals.",
        )
    objects = fields.object_fields(ctx.dataset)
    if objects:
        shared_inputs.add_choice(
            inputs,
            "patches_field",
            objects,
            none="whole images",
            label="Objects to cluster",
            description="Detections field; each object is clustered as a separate image.",
        )
