"""Operators to edit clusters: rename, merge, label, undo. Each form previews the changes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import fields, shared_inputs, values
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fiftyone_deepcluster.dataset.review.review import Change, Edit, Review


class RenameCluster(foo.Operator):
    """Renames a cluster."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and risk level."""
        return shared_inputs.config(
            "rename_cluster",
            "Rename cluster",
            "Give a cluster a descriptive name. Can be undone.",
            "edit",
            "medium",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run, cluster, new name."""
        inputs = types.Object()
        edit = _begin_form(inputs, ctx)
        if edit:
            cluster = shared_inputs.add_cluster(inputs, ctx, edit.run)
            inputs.str("new_name", label="New name", required=True)
            count = partial(edit.rename, dry_run=True)
            _preview(inputs, "new_name", count, cluster, values.text(ctx.params, "new_name"))
        return shared_inputs.form(inputs, "Rename cluster", "Rename")

    @shared_inputs.errors_in_app_words
    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Rename the cluster."""
        names = [values.needed_text(ctx.params, name) for name in ("cluster", "new_name")]
        return _done(ctx, _review(ctx).rename(*names))

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        """See ``_output``."""
        return _output(ctx)


class MergeClusters(foo.Operator):
    """Merges clusters of the same content."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and risk level."""
        return shared_inputs.config(
            "merge_clusters",
            "Merge clusters",
            "Merge clusters that show the same content. Can be undone.",
            "merge",
            "medium",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run, clusters, name of the merged cluster."""
        inputs = types.Object()
        edit = _begin_form(inputs, ctx)
        if edit:
            chosen = _add_clusters(inputs, ctx, edit)
            inputs.str(
                "into",
                label="Name",
                description="Name of the merged cluster: an existing or a new name.",
                required=True,
            )
            into = values.text(ctx.params, "into")
            _preview(inputs, "into", partial(edit.merge, dry_run=True), chosen, into)
        return shared_inputs.form(inputs, "Merge clusters", "Merge")

    @shared_inputs.errors_in_app_words
    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Merge the clusters."""
        clusters = values.texts(ctx.params, "clusters")
        return _done(ctx, _review(ctx).merge(clusters, values.needed_text(ctx.params, "into")))

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        """See ``_output``."""
        return _output(ctx)


class LabelCluster(foo.Operator):
    """Writes a label to all images of a cluster, in a field that belongs to the user."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and risk level."""
        return shared_inputs.config(
            "label_cluster",
            "Label cluster",
            "Write a label to all images of a cluster, in a field of your choice. Existing labels are kept unless "
            "overwriting is asked for. Can be undone.",
            "label",
            "medium",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run, cluster, field, label; preview of the number of images."""
        inputs = types.Object()
        edit = _begin_form(inputs, ctx)
        if edit:
            overwrite = values.switch(ctx.params, "overwrite")
            cluster = shared_inputs.add_cluster(inputs, ctx, edit.run)
            _add_field(inputs, ctx)
            inputs.str("label", label="Label", required=True)
            inputs.bool(
                "overwrite",
                default=False,
                label="Replace",
                description="Replace labels that the field has already.",
                view=types.SwitchView(),
            )
            count = partial(edit.label_cluster, overwrite=overwrite, dry_run=True)
            field, label = (values.text(ctx.params, name) for name in ("field", "label"))
            _preview(inputs, "label", count, cluster, field, label)
        return shared_inputs.form(inputs, "Label cluster", "Write labels")

    @shared_inputs.errors_in_app_words
    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Write the labels."""
        names = [values.needed_text(ctx.params, name) for name in ("cluster", "field", "label")]
        overwrite = values.switch(ctx.params, "overwrite")
        return _done(ctx, _review(ctx).label_cluster(*names, overwrite=overwrite))

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        """See ``_output``."""
        return _output(ctx)


class UndoEdit(foo.Operator):
    """Undoes the last edits."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Operator name, label and risk level."""
        return shared_inputs.config(
            "undo_edit",
            "Undo cluster edit",
            "Undo the last edits of a run's clusters: names, merges, labels.",
            "undo",
            "medium",
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Form: run and number of edits."""
        inputs = types.Object()
        edit = _begin_form(inputs, ctx)
        if edit:
            about = "Number of edits to undo."
            steps = shared_inputs.add_number(
                inputs, ctx, "steps", 1, (1, None), label="Steps", description=about
            )
            standing = [entry for entry in reversed(edit.log()) if not entry.undone]
            text = "; ".join(entry.text for entry in standing[:steps]) or "There is nothing to undo"
            if steps is not None:
                inputs.view("preview", types.Notice(label="Edits that will be undone", description=text))
            if not standing:
                inputs.get_property("steps").invalid = True
        return shared_inputs.form(inputs, "Undo cluster edit", "Undo")

    @shared_inputs.errors_in_app_words
    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Undo the edits."""
        undone = _review(ctx).undo(values.number(ctx.params, "steps", 1, least=1))
        ctx.ops.reload_dataset()
        ctx.ops.notify("; ".join(undone_text(entry) for entry in undone) or "There is nothing to undo")
        return {"undone": [entry.text for entry in undone], "n_kept": sum(entry.n_kept for entry in undone)}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property | None:
        """Descriptions of the undone edits."""
        return shared_inputs.result(
            ctx, "Edits undone", undone=types.List(types.String()), n_kept=types.Number(int=True)
        )


def _begin_form(inputs: types.Object, ctx: foo.ExecutionContext) -> Review | None:
    """Add the run selector; return the review of the selected run."""
    from fiftyone_deepcluster.dataset.review.review import review
    from fiftyone_deepcluster.dataset.runs.run import finished_runs

    key = shared_inputs.add_run(inputs, ctx, finished_runs(ctx.dataset))
    return review(ctx.dataset, key) if key else None


def _review(ctx: foo.ExecutionContext) -> Review:
    from fiftyone_deepcluster.dataset.review.review import review

    return review(ctx.dataset, shared_inputs.key_of(ctx))


def _add_clusters(inputs: types.Object, ctx: foo.ExecutionContext, edit: Review) -> list[str]:
    known = edit.names()
    dropdown = types.DropdownView(multiple=True)
    for name in known:
        dropdown.add_choice(name, label=name)
    inputs.list("clusters", types.String(), view=dropdown, label="Clusters to merge", required=True)
    return [name for name in values.texts(ctx.params, "clusters") if name in known]


def _add_field(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    known = types.AutocompleteView()
    for name in fields.own_label_fields(ctx.dataset):
        known.add_choice(name, label=name)
    inputs.str(
        "field",
        default="ground_truth",
        view=known,
        label="Field",
        description="Classification field; created if missing. Runs never write to it.",
    )


def _preview(inputs: types.Object, at: str, count: Callable[..., Change], *given: object) -> None:
    """Show the change computed by ``count`` once all arguments are given; show errors at the input ``at``."""
    if not all(given):
        inputs.get_property(at).invalid = True
        return
    try:
        change = count(*given)
    except InputError as error:
        shared_inputs.complain(inputs, at, error)
        return
    inputs.view("preview", types.Notice(label=change.text, description=change_text(change)))


def change_text(change: Change) -> str:
    """Numbers of images that change and that keep their label."""
    text = f"{change.counted} would change"
    if not change.n_kept:
        return text
    return f"{text}; {change.n_kept:,} {'keeps the label it has' if change.n_kept == 1 else 'keep the label they have'}"


def undone_text(entry: Edit) -> str:
    """What was undone, and the number of images that keep a value which was changed since."""
    text = f"Undone: {entry.text}"
    if not entry.n_kept:
        return text
    return f"{text}; {kept_text(entry.n_kept)}"


def kept_text(n_kept: int) -> str:
    """Number of images whose value an undo left alone."""
    if n_kept == 1:
        return "1 image that was changed after the edit keeps its value"
    return f"{n_kept:,} images that were changed after the edit keep their values"


def _done(ctx: foo.ExecutionContext, change: Change) -> dict[str, Any]:
    ctx.ops.reload_dataset()
    ctx.ops.notify(f"{change.text}: {change.counted}", variant="success")
    return {"text": change.text, "n_changed": change.n_changed, "n_kept": change.n_kept}


def _output(ctx: foo.ExecutionContext) -> types.Property | None:
    """What was changed, and the numbers of images that changed and that kept their label."""
    number = types.Number(int=True)
    return shared_inputs.result(ctx, "Change", text=types.String(), n_changed=number, n_kept=number)
