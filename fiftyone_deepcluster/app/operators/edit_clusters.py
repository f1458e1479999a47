"""Edits of a run's clusters: rename, merge, label, undo. Each says what it will change before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.operators import fields, shared_inputs
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fiftyone_deepcluster.dataset.review.review import Change, Review


class RenameCluster(foo.Operator):
    """Gives a cluster the name of what it shows."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Name, label and risk."""
        return shared_inputs.config(
            "rename_cluster",
            "Rename cluster",
            "Give a cluster the name of what it shows.",
            "edit",
            writes=True,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Run, cluster, new name."""
        inputs = types.Object()
        edit = _begin_form(inputs, ctx)
        if edit:
            cluster = shared_inputs.add_cluster(inputs, ctx, edit.run)
            inputs.str("new_name", label="New name")
            new_name = ctx.params.get("new_name")
            _preview(
                inputs, "new_name", lambda: edit.rename(cluster, new_name, dry_run=True), cluster, new_name
            )
        return shared_inputs.form(inputs, "Rename cluster", "Rename")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Rename it."""
        return _done(ctx, _review(ctx).rename(_need(ctx, "cluster"), _need(ctx, "new_name")))


class MergeClusters(foo.Operator):
    """Joins clusters that show the same."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Name, label and risk."""
        return shared_inputs.config(
            "merge_clusters", "Merge clusters", "Join clusters that show the same.", "merge", writes=True
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Run, clusters, name of the joint one."""
        inputs = types.Object()
        edit = _begin_form(inputs, ctx)
        if edit:
            chosen = _add_clusters(inputs, ctx, edit)
            inputs.str("into", label="Name", description="Of the joint cluster: one of theirs, or a new one.")
            into = ctx.params.get("into")
            _preview(inputs, "into", lambda: edit.merge(chosen, into, dry_run=True), chosen, into)
        return shared_inputs.form(inputs, "Merge clusters", "Merge")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Join them."""
        return _done(ctx, _review(ctx).merge(_need(ctx, "clusters"), _need(ctx, "into")))


class LabelCluster(foo.Operator):
    """Writes a label to all images of a cluster, in a field that the person owns."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Name, label and risk."""
        return shared_inputs.config(
            "label_cluster",
            "Label cluster",
            "Give all images of a cluster a label in a field of your choice. Labels that are there are kept.",
            "label",
            writes=True,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Run, cluster, field, label; how many images would change."""
        inputs = types.Object()
        edit = _begin_form(inputs, ctx)
        if edit:
            given = ctx.params
            cluster = shared_inputs.add_cluster(inputs, ctx, edit.run)
            _add_field(inputs, ctx)
            inputs.str("label", label="Label")
            inputs.bool(
                "overwrite",
                default=False,
                label="Also replace labels that are there",
                view=types.SwitchView(),
            )
            field, label = given.get("field"), given.get("label")
            again = bool(given.get("overwrite"))
            _preview(
                inputs,
                "label",
                lambda: edit.label_cluster(cluster, field, label, overwrite=again, dry_run=True),
                cluster,
                field,
                label,
            )
        return shared_inputs.form(inputs, "Label cluster", "Write labels")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Write the labels."""
        change = _review(ctx).label_cluster(
            _need(ctx, "cluster"),
            _need(ctx, "field"),
            _need(ctx, "label"),
            overwrite=bool(ctx.params.get("overwrite")),
        )
        return _done(ctx, change)


class UndoEdit(foo.Operator):
    """Takes the last edits back."""

    @property
    def config(self) -> foo.OperatorConfig:
        """Name, label and risk."""
        return shared_inputs.config(
            "undo_edit",
            "Undo cluster edit",
            "Take the last edits of a run's clusters back.",
            "undo",
            writes=True,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        """Run, and how many edits."""
        inputs = types.Object()
        edit = _begin_form(inputs, ctx)
        if edit:
            inputs.int("steps", default=1, min=1, label="Edits to take back")
            standing = [entry for entry in reversed(edit.log()) if not entry.undone]
            going = standing[: int(ctx.params.get("steps") or 1)]
            text = "; ".join(entry.text for entry in going) or "There is nothing to undo"
            inputs.view("preview", types.Notice(label="Will be taken back", description=text))
            if not going:
                inputs.get_property("steps").invalid = True
        return shared_inputs.form(inputs, "Undo cluster edit", "Undo")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        """Undo."""
        undone = _review(ctx).undo(int(ctx.params.get("steps") or 1))
        ctx.ops.reload_dataset()
        ctx.ops.notify(
            "; ".join(f"Taken back: {entry.text}" for entry in undone) or "There is nothing to undo"
        )
        return {"undone": [entry.text for entry in undone]}


def _begin_form(inputs: types.Object, ctx: foo.ExecutionContext) -> Review | None:
    """The choice of a run, and its review once one is chosen."""
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
    inputs.list("clusters", types.String(), view=dropdown, label="Clusters to join")
    return [name for name in ctx.params.get("clusters") or [] if name in known]


def _add_field(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    known = types.AutocompleteView()
    for name in fields.own_label_fields(ctx.dataset):
        known.add_choice(name, label=name)
    inputs.str(
        "field",
        default="ground_truth",
        view=known,
        label="Field",
        description="A field of yours; made where it is missing. Runs never write to it.",
    )


def _preview(inputs: types.Object, at: str, count: Callable[[], Change], *needed: object) -> None:
    """What would change, once everything is filled in; what is wrong, at the input called ``at``."""
    if not all(needed):
        inputs.get_property(at).invalid = True
        return
    try:
        change = count()
    except InputError as error:
        shared_inputs.complain(inputs, at, error)
        return
    inputs.view("preview", types.Notice(label=change.text, description=change_text(change)))


def change_text(change: Change) -> str:
    """How many images change and how many stay as they are."""
    text = f"{change.n_changed:,} image{'' if change.n_changed == 1 else 's'} would change"
    return f"{text}; {change.n_kept:,} keep the label they have" if change.n_kept else text


def _need(ctx: foo.ExecutionContext, name: str) -> Any:
    value = ctx.params.get(name)
    if not value:
        raise InputError(f"{name} is missing")
    return value


def _done(ctx: foo.ExecutionContext, change: Change) -> dict[str, Any]:
    ctx.ops.reload_dataset()
    ctx.ops.notify(f"{change.text}: {change.n_changed:,} images", variant="success")
    return {"text": change.text, "n_changed": change.n_changed, "n_kept": change.n_kept}
