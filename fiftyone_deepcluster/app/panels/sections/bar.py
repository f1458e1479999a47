"""Top of the panel: run selector and actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.app.panels.model import PanelModel


def draw(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """Add the run selector and the action buttons."""
    bar = panel.h_stack("bar", gap=2, align_y="center")
    runs = types.DropdownView(componentsProps=hook("run", "select"))
    for key in reversed(model.keys):
        runs.add_choice(key, label=_label(model, key))
    bar.enum("run", runs.values(), default=model.key, view=runs, on_change=events.on_run)
    bar.btn(
        "new",
        label="New clustering",
        icon="add",
        variant="contained",
        on_click=events.on_new,
        componentsProps=hook("new", "button"),
    )
    if model.run is not None:
        _add_actions(bar, events)


def draw_empty(panel: types.Object, events: foo.Panel) -> None:
    """Add instructions for a dataset without runs."""
    box = panel.v_stack("empty", gap=2, columns=1, pad=4)
    box.view(
        "title",
        types.HeaderView(
            label="No clustering on this dataset yet",
            description="Cluster its images without labels: the method learns features and clusters "
            "together. Then inspect, rename and merge the clusters here, and label your data.",
            componentsProps=hook("empty"),
        ),
    )
    box.btn(
        "start",
        label="Cluster images",
        icon="workspaces",
        variant="contained",
        on_click=events.on_new,
        componentsProps=hook("start", "button"),
    )


def _add_actions(bar: types.Object, events: foo.Panel) -> None:
    actions = (
        ("show", "visibility", "Show all images of this run in the grid", events.on_show),
        ("rename_run", "edit", "Rename this run", events.on_rename_run),
        ("delete_run", "delete", "Delete this run", events.on_delete_run),
    )
    for name, icon, title, on_click in actions:
        bar.view(
            name,
            types.IconButtonView(
                icon=icon,
                operator=on_click,
                title=title,
                variant="square",
                componentsProps=hook(name.replace("_", "-"), "button", title=title),
            ),
        )


def _label(model: PanelModel, key: str) -> str:
    state = model.states.get(key)
    return f"{key} · {state.status}" if state is not None and state.status != "done" else key
