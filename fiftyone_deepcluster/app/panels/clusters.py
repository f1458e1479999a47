"""The Clusters panel: a React component that shows the clusters, and the events by which it asks for data.

The browser holds the state of the display; this class has no state. Every event is answered with JSON, see ``answers``;
the panel is rendered only when it is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.answers import analyses, audit, clusters, edits, rounds, runs, views
from fiftyone_deepcluster.app.panels.answers.common import Json, answered
from fiftyone_deepcluster.dataset.display.workspace import CLUSTERS_PANEL

if TYPE_CHECKING:
    from collections.abc import Callable


COMPONENT = "DeepClusterBoard"
"""Name under which ``frontend/src/index.tsx`` registers the component."""

EVENTS: dict[str, Callable[[foo.ExecutionContext], Any]] = {
    "load": clusters.load_board,
    "strips": clusters.load_strips,
    "images": clusters.load_images,
    "names": clusters.suggest_names,
    "similar": clusters.load_similar,
    "flow": clusters.load_flow,
    "in_view": views.in_view,
    "show": views.show,
    "color": views.color,
    "edit": edits.edit,
    "preview_split": edits.preview_split,
    "preview_commit": edits.preview_commit,
    "rounds": rounds.rounds,
    "compare": rounds.compare,
    "rank": rounds.ranking,
    "show_pair": rounds.show_pair,
    "analyses": analyses.analyses,
    "neighbors": analyses.neighbors,
    "show_unit": analyses.show_unit,
    "show_node": analyses.show_node,
    "audit_load": audit.load_audits,
    "audit_queue": audit.audit_queue,
    "audit_edit": audit.audit_edit,
    "audit_preview_above": audit.preview_above,
    "audit_preview_labels": audit.preview_labels,
    "audit_refit": audit.refit,
    "audit_poll": audit.poll_audit,
    "poll": runs.poll,
    "start": runs.start,
    "start_again": runs.start_again,
    "resume": runs.resume_run,
    "cancel": runs.cancel_and_list,
    "dismiss": runs.dismiss,
    "open_made": runs.open_made,
    "show_edits": runs.show_edits,
    "show_fields": runs.show_fields,
}


class ClustersPanel(foo.Panel):
    """Panel in which a run is reviewed: overview, one cluster, rounds, comparison, label audit, runs."""

    @property
    def config(self) -> foo.PanelConfig:
        """Panel name, icon and where it can be opened."""
        return foo.PanelConfig(
            name=CLUSTERS_PANEL,
            label="Clusters",
            icon="workspaces",
            category=foo.Categories.CURATE,
            surfaces="grid",
            allow_multiple=False,
            help_markdown="Review clusters: name, move, reject, split, merge, and label your data.",
        )

    @property
    def risk_level(self) -> types.RiskLevel:
        """Its edits can be undone; ``PanelConfig`` does not take the level."""
        return types.RiskLevel.MEDIUM

    def execute(self, ctx: foo.ExecutionContext) -> Json | None:
        """Answer an event; render the panel when it is loaded."""
        name = ctx.params.get("__method__")
        if isinstance(name, str) and name in EVENTS:
            return answered(EVENTS[name], ctx)
        if name == "on_load":
            ctx.ops.show_panel_output(self.render(ctx))
        elif name is None or name == "on_startup":
            self.on_startup(ctx)
        return None

    def render(self, ctx: foo.ExecutionContext) -> types.Property:
        """The React component with the URI of every event, the run to show, and the id of the dataset."""
        uris = {name: self.method_to_uri(name) for name in EVENTS}
        shown = {"run": ctx.panel.get_state("run"), "dataset": str(ctx.dataset._doc.id)}
        view = types.View(component=COMPONENT, composite_view=True, **shown, **uris)
        return types.Property(types.Object(), view=view)
