"""How the App is laid out where there are clusters to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import fiftyone as fo

CLUSTERS_PANEL = "clusters"


def clusters_beside_the_grid() -> fo.Space:
    """The grid on the left, the Clusters panel on the right.

    For ``fo.launch_app(dataset, spaces=...)``, and to keep with a dataset: ``dataset.save_workspace``.
    """
    import fiftyone as fo

    panels = fo.Panel(type="Samples", pinned=True), fo.Panel(type=CLUSTERS_PANEL)
    # a space that is not told which of its panels is on top stays empty
    sides = [fo.Space(children=[panel], active_child=panel.component_id) for panel in panels]
    return fo.Space(children=sides, orientation="horizontal")
