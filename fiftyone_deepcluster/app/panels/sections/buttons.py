"""Row of buttons, each of which opens an operator's form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.app.panels.hooks import hook

if TYPE_CHECKING:
    from fiftyone.operators import types

Button = tuple[str, str, str, Callable[..., Any]]
"""Name, label, icon and event handler of the panel."""


def add_row(box: types.Object, buttons: Iterable[Button]) -> None:
    """Add the row to a stack of the panel."""
    row = box.h_stack("ask", gap=2)
    for name, label, icon, on_click in buttons:
        row.btn(
            name,
            label=label,
            icon=icon,
            variant="outlined",
            on_click=on_click,
            componentsProps=hook(f"ask-{name}", "button"),
        )
