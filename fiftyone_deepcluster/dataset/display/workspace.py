"""App workspace for reviewing clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import fiftyone as fo

CLUSTERS_PANEL = "clusters"


def clusters_beside_the_grid() -> fo.Space:
    """Workspace with the sample grid on the left and the Clusters panel on the right.

    Pass it to ``fo.launch_app(dataset, spaces=...)``, or store it with ``dataset.save_workspace``.
    """
    import fiftyone as fo

    panels = fo.Panel(type="Samples", pinned=True), fo.Panel(type=CLUSTERS_PANEL)
    # a space without an active child is displayed empty
    sides = [fo.Space(children=[panel], active_child=panel.component_id) for panel in panels]
    return fo.Space(children=sides, orientation="horizontal")
