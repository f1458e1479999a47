"""Cluster images: the form, and the run behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app import forms, names
from fiftyone_deepcluster.app.operators import fields, shared_inputs
from fiftyone_deepcluster.app.operators.progress import run_and_show
from fiftyone_deepcluster.app.params import FROZEN, free_key, method_field, parse_call
from fiftyone_deepcluster.dataset.io.read_images import DICOM_PATH, image_slices

if TYPE_CHECKING:
    from collections.abc import Iterator

    import fiftyone as fo

_HOW_TO_SCHEDULE = (
    "Execute runs it now and shows its progress; keep this tab open. For a long run choose Schedule. It "
    f"needs two commands, each in a terminal of its own: `{names.APP_COMMAND}` for the App, and "
    f"`{names.WORKER_COMMAND}` for the work."
)


class ClusterImages(foo.Operator):
    """Learns features and clusters of the target's images and writes them to the dataset."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Name, label, and how it may run."""
        return shared_inputs.job_config(
            "cluster_images",
            "Cluster images",
            "Learn features and clusters together from unlabeled images, and write the "
            "clusters, their confidence and the learned embeddings to the dataset.",
            "workspaces",
            writes=True,
        )

    def resolve_placement(self, ctx: foo.ExecutionContext) -> types.Placement:
        """A button over the grid."""
        return types.Placement(
            types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
            types.Button(label="Cluster images", icon="workspaces", prompt=True),
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """The form; invalid inputs say why."""
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Cluster")
        _add_key(inputs, ctx)
        field = method_field()
        given = ctx.params.get("method")
        _add_fields(inputs, ctx, forms.part_values(field.parts, given, field.default)["name"])
        forms.add_part(inputs, field, given)
        inputs.bool(
            "compute_brain",
            default=True,
            label="Also make a map and a similarity index",
            description="For the Embeddings panel and for sorting by similarity.",
            view=types.SwitchView(),
        )
        forms.mark(inputs, forms.problems(field.parts, field, given))
        inputs.view("schedule", types.Notice(label="Long runs", description=_HOW_TO_SCHEDULE))
        return shared_inputs.form(inputs, "Cluster images")

    def resolve_delegation(self, ctx: foo.ExecutionContext) -> None:
        """Nothing is forced; but where a worker is asked for, note the run so that the panel shows it."""
        from fiftyone_deepcluster.dataset.runs import status

        if ctx.requesting_delegated_execution and not ctx.delegated:
            call = parse_call(ctx.params, ctx.dataset)
            status.queue(ctx.dataset, call.key, call.options.name, call.options.rounds)

    def execute(self, ctx: foo.ExecutionContext) -> Iterator[Any]:
        """Cluster, telling progress; then show the clusters.

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
        """Run from a script, now or by a worker.

        Args:
            samples: dataset or view.
            method: a method's name, or a dict with ``name`` and its options.
            key: name of the run.
            delegate: queue it for a worker.
            **settings: ``overwrite``, ``truth_field``, ``patches_field``, ``embeddings_field``,
                ``compute_brain``.

        Returns:
            FiftyOne's execution result.
        """
        params = {"method": method, "key": key, **settings}
        return foo.execute_operator(
            names.CLUSTER_IMAGES,
            {"view": samples.view()},
            params=params,
            request_delegation=delegate,
        )


def _target(ctx: foo.ExecutionContext) -> fo.core.collections.SampleCollection:
    """What is to be clustered; of grouped samples the slice that was chosen, or that the grid shows."""
    samples = ctx.target_view()
    if samples.media_type != "group":
        return samples
    shown = ctx.params.get("group_slice") or ctx.group_slice or ctx.dataset.default_group_slice
    return samples.select_group_slices(shown)


def _add_key(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    """Name of the run, checked while it is typed."""
    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.runs.run import finished_runs, interrupted_runs

    default = free_key(ctx.dataset)
    key = ctx.params.get("key", default)
    inputs.str(
        "key",
        default=default,
        label="Name of the run",
        description="Also the name of the field that gets the clusters.",
    )
    left = interrupted_runs(ctx.dataset).get(key)
    if key in finished_runs(ctx.dataset):
        _add_overwrite(inputs, ctx, key)
    elif left is not None and not left.copied:
        about = f"With the same images and options it goes on; else it is replaced. {left.message}."
        inputs.view("left", types.Notice(label=f"The run {key!r} was interrupted", description=about))
    else:
        shared_inputs.check_new_key(
            inputs, "key", ctx.dataset, FieldNames(key, ctx.params.get("patches_field") or None)
        )


def _add_overwrite(inputs: types.Object, ctx: foo.ExecutionContext, key: str) -> None:
    inputs.bool("overwrite", default=False, label=f"Replace the run {key!r}", view=types.SwitchView())
    if not ctx.params.get("overwrite"):
        shared_inputs.complain(inputs, "key", f"there is a run {key!r}; choose another name, or replace it")
        return
    inputs.view(
        "overwritten",
        types.Warning(
            label=f"The run {key!r} will be replaced",
            description="Its clusters, the names you gave them and their log go once the new run is "
            "done. Labels that you wrote to fields of your own stay.",
        ),
    )


def _add_fields(inputs: types.Object, ctx: foo.ExecutionContext, method: str) -> None:
    """Choices among the dataset's slices and fields; each only where there is something to choose."""
    _add_sources(inputs, ctx)
    vectors = fields.vector_fields(ctx.dataset)
    if method == FROZEN and vectors:
        shared_inputs.add_choice(
            inputs,
            "embeddings_field",
            vectors,
            none="computed by the method",
            label="Embeddings",
            description="Vectors to cluster that are there already.",
        )
    classes = fields.class_fields(ctx.dataset, ctx.params.get("patches_field"))
    if classes:
        shared_inputs.add_choice(
            inputs,
            "truth_field",
            classes,
            none="none",
            label="Known classes",
            description="Measured against after every round, never used to choose anything.",
        )


def _add_sources(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    """Which of the dataset's images are meant."""
    if ctx.dataset.media_type == "group":
        shared_inputs.add_choice(
            inputs,
            "group_slice",
            image_slices(ctx.dataset),
            default=ctx.group_slice or ctx.dataset.default_group_slice,
            label="Slice of the groups",
            description="Its images are clustered; by default those that the grid shows.",
        )
    if ctx.dataset.has_field(DICOM_PATH):
        shared_inputs.add_choice(
            inputs,
            "media_field",
            ["filepath"],
            none="the DICOM originals",
            label="Look at",
            description="filepath: the pictures that the App shows, which may be smaller.",
        )
    objects = fields.object_fields(ctx.dataset)
    if objects:
        shared_inputs.add_choice(
            inputs,
            "patches_field",
            objects,
            none="whole images",
            label="Cluster the objects of",
            description="Each object of this field is then an image of its own.",
        )
