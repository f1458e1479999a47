"""Operator: cluster images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app import forms, names
from fiftyone_deepcluster.app.estimate import count_images, estimate_text
from fiftyone_deepcluster.app.operators import fields, shared_inputs, values, vector_inputs
from fiftyone_deepcluster.app.operators.job_operator import JobOperator
from fiftyone_deepcluster.app.operators.run_name import add_run_name, check_interrupted
from fiftyone_deepcluster.app.params import method_field, parse_call, use_of_vectors, without_vector
from fiftyone_deepcluster.app.typed_names import name_problems
from fiftyone_deepcluster.dataset.io.inputs import check_number
from fiftyone_deepcluster.dataset.io.read_images import DICOM_PATH, image_slices
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.methods.base import METHODS

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.methods.base import Options


class ClusterImages(JobOperator):
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
        field, given = method_field(), values.nested(ctx.params, "method")
        chosen = forms.part_values(field.parts, given, field.default)
        problems = forms.problems(field.parts, field, given) or name_problems(chosen)
        options = None if problems else METHODS.parse(chosen)
        samples = shared_inputs.target_of(ctx)
        n = _count(ctx, samples)
        if options is not None and n is not None and (too_many := _too_many_clusters(options, n)):
            problems = {forms.path_of_option(field.parts, field, given, "n_clusters"): too_many}
        forms.add_heading(inputs, "What")
        inputs.view_target(ctx, action_description="Cluster")
        _add_fields(inputs, ctx, samples, chosen["name"])
        add_run_name(inputs, ctx)
        if n is not None:
            _add_size(inputs, ctx, estimate_text(samples, n, options, objects=_objects(ctx)))
        _add_number(inputs, ctx, chosen["name"])
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
        forms.mark(inputs, problems)
        return shared_inputs.form(inputs, "Cluster images")

    def job(self, ctx: foo.ExecutionContext) -> Job:
        """The run, on the target view."""
        call = parse_call(ctx.params, ctx.dataset)
        check_interrupted(ctx, call)
        ctx.params["key"] = call.key
        return call.on(shared_inputs.target_of(ctx))

    def __call__(
        self,
        samples: fo.core.collections.SampleCollection,
        method: str | dict[str, Any] = "auto",
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


def _too_many_clusters(options: Options, n: int) -> str:
    """What is wrong with the number of clusters for ``n`` images; empty: nothing."""
    try:
        check_number(options, n)
    except OptionsError as error:
        return str(error)
    return ""


def _objects(ctx: foo.ExecutionContext) -> bool:
    """Whether the images are objects of a field."""
    return values.text(ctx.params, "patches_field") is not None


def _count(ctx: foo.ExecutionContext, samples: fo.core.collections.SampleCollection) -> int | None:
    """Number of images, or of objects; None where the field of the objects cannot be used."""
    patches_field = values.text(ctx.params, "patches_field")
    if patches_field is not None and patches_field not in fields.object_fields(ctx.dataset):
        return None  # the error message of the call says what is wrong
    return count_images(samples, patches_field)


def _add_size(inputs: types.Object, ctx: foo.ExecutionContext, text: str) -> None:
    """Add the number of images, and an estimate of the run time."""
    about = "The run continues in the background, even if this tab is closed; the Clusters panel shows its progress."
    inputs.view("size", types.Notice(label=text, description=about))
    if not ctx.dataset.persistent:
        inputs.view(
            "not_persistent",
            types.Warning(
                label="This dataset is not persistent",
                description="FiftyOne deletes it, with its clusters, when the last process that uses it ends. Keep it "
                "with dataset.persistent = True.",
            ),
        )


def _add_number(inputs: types.Object, ctx: foo.ExecutionContext, method: str) -> None:
    """Add the recommended number of clusters, if there is one: of the chosen fields, else of a run or any fields."""
    from fiftyone_deepcluster.dataset.results.numbers import latest_sweep, sweep_of_fields

    given = values.one_or_more(ctx.params, vector_inputs.VECTORS)
    chosen = given if given and use_of_vectors(method) else []  # the form keeps values of another method
    chosen = [chosen] if isinstance(chosen, str) else chosen
    patches_field = values.text(ctx.params, "patches_field")
    newest = None if chosen else latest_sweep(ctx.dataset, patches_field)
    if newest is not None:
        about = f"From the embeddings of run {newest[0]!r}; the Clusters panel has the curves, in the tab Analyses."
        found = newest[1]
    elif (known := sweep_of_fields(ctx.dataset, chosen, patches_field)) is not None:
        about = f'From the vectors in {", ".join(known[0])}; "Recommend number of clusters" has the curves.'
        found = known[1]
    else:
        return
    inputs.view("number", types.Notice(label=f"Number of clusters: {found.advice}", description=about))


def _add_fields(
    inputs: types.Object,
    ctx: foo.ExecutionContext,
    samples: fo.core.collections.SampleCollection,
    method: str,
) -> None:
    """Add the inputs for slices and fields; each only if the dataset has something to choose from."""
    _add_sources(inputs, ctx)
    patches_field = values.text(ctx.params, "patches_field")
    use = use_of_vectors(method)
    if use and fields.vector_fields(ctx.dataset, patches_field):
        vector_inputs.add_vectors(
            inputs,
            ctx,
            samples,
            patches_field,
            none="none",
            without=without_vector(method),
            single=METHODS.get(method).joins_vectors,
            label="Embeddings",
            description=f"{use} {vector_inputs.JOINED}",
        )
    classes = fields.class_fields(ctx.dataset, patches_field)
    if classes:
        shared_inputs.add_choice(
            inputs,
            "truth_field",
            classes,
            none="none",
            default=fields.likely_classes(samples, classes),
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
