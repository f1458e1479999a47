"""Edits of the selected cluster: rename, label, merge; and the edit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone.operators import types

from fiftyone_deepcluster.app.operators.edit_clusters import change_text
from fiftyone_deepcluster.app.operators.fields import own_label_fields
from fiftyone_deepcluster.app.panels.hooks import hook
from fiftyone_deepcluster.app.panels.plain_text import in_markdown
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.app.panels.model import PanelModel

DEFAULT_FIELD = "ground_truth"
_LOG_LENGTH = 8


def draw(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """Add the edit inputs and the edit log with its undo button."""
    if model.run is None:
        return
    box = panel.v_stack("edits", gap=2, columns=1)
    if model.chosen is not None:
        _add_rename(box, events)
        _add_label(box, model, events)
    _add_merge(box, model, events)
    _add_log(panel, model, events)


def _add_rename(box: types.Object, events: foo.Panel) -> None:
    row = _row(box, "rename", "1fr 110px")
    row.str("name", view=_text("new-name", "New name of this cluster"))
    row.btn(
        "do",
        label="Rename",
        variant="contained",
        on_click=events.on_rename,
        componentsProps=hook("rename", "button"),
    )


def _add_label(box: types.Object, model: PanelModel, events: foo.Panel) -> None:
    row = _row(box, "label", "1fr 1fr 110px")
    known = types.AutocompleteView(componentsProps=hook("label-field", "autocomplete"))
    for name in own_label_fields(model.dataset):
        known.add_choice(name, label=name)
    # no defaults: an input with a default sends its event when it is rendered
    row.str("field", label=f"Field (empty: {DEFAULT_FIELD})", view=known, on_change=events.on_typed)
    row.str(
        "text", label="Label", view=_text("label-text", "Label of all its images"), on_change=events.on_typed
    )
    row.btn(
        "do",
        label="Label",
        variant="contained",
        on_click=events.on_label,
        componentsProps=hook("label", "button"),
    )
    preview = label_preview(model)
    if preview:
        box.md(preview, name="preview", componentsProps=hook("preview"))
        box.bool(
            "overwrite",
            label="Overwrite existing labels",
            view=types.SwitchView(componentsProps=hook("overwrite")),
            on_change=events.on_typed,
        )


def label_preview(model: PanelModel) -> str:
    """Preview of the number of images to be labeled; empty if no label is entered."""
    typed = model.typed.get("label") or {}
    field, text = typed.get("field") or DEFAULT_FIELD, typed.get("text")
    if not text or model.chosen is None:
        return ""
    try:
        change = model.review.label_cluster(
            model.chosen.name,
            field,
            text,
            overwrite=bool(model.typed.get("overwrite")),
            dry_run=True,
        )
    except InputError as error:
        return f"⚠ {in_markdown(str(error))}"
    return f"{in_markdown(field)} = **{in_markdown(text)}**: {change_text(change)}."


def _add_merge(box: types.Object, model: PanelModel, events: foo.Panel) -> None:
    row = _row(box, "merge", "1fr 110px")
    several = types.AutocompleteView(
        allow_user_input=False,
        allow_duplicates=False,
        filter_selected_options=True,
        componentsProps=hook("merge-choice", "autocomplete"),
    )
    for info in sorted(model.clusters, key=lambda info: info.name):
        several.add_choice(info.name, label=info.name)
    row.list("clusters", types.String(), view=several)
    row.btn(
        "do",
        label="Merge",
        variant="contained",
        on_click=events.on_merge,
        componentsProps=hook("merge", "button"),
    )


def _add_log(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    log = model.review.log()
    if not log:
        return
    box = panel.v_stack("history", gap=1)
    lines = [
        f"- {'~~' if entry.undone else ''}{in_markdown(entry.text)}{'~~' if entry.undone else ''} "
        f"· {entry.n_changed:,} images · {in_markdown(entry.who)}, {entry.when:%Y-%m-%d %H:%M}"
        for entry in reversed(log[-_LOG_LENGTH:])
    ]
    box.md("**Edit log**\n\n" + "\n".join(lines), name="log", componentsProps=hook("log"))
    if any(not entry.undone for entry in log):
        box.btn(
            "undo",
            label="Undo the last edit",
            icon="undo",
            variant="outlined",
            on_click=events.on_undo,
            componentsProps=hook("undo", "button"),
        )


def _row(box: types.Object, name: str, columns: str) -> types.Object:
    """Add a row whose inputs share the width left by the button."""
    grid = {"grid": {"sx": {"gridTemplateColumns": columns}}}
    return box.h_stack(name, gap=2, align_y="end", componentsProps=grid)


def _text(name: str, placeholder: str) -> types.TextFieldView:
    return types.TextFieldView(
        placeholder=placeholder,
        componentsProps={"field": {"inputProps": {"data-cy": f"deepcluster-{name}"}}},
    )
