"""The Clusters panel: runs, their rounds and clusters, and edits by the user.

The panel's state holds only the user's selections; all content is part of the schema returned by ``render``,
which FiftyOne calls after every event. State and data of a panel are sent with every request, and the browser
merges lists in them by index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators.progress import FROM_PANEL, shown_field
from fiftyone_deepcluster.app.panels.event_order import change_state, wait_for_earlier
from fiftyone_deepcluster.app.panels.hooks import event, is_event
from fiftyone_deepcluster.app.panels.model import SORT_KEYS, PanelModel, read_model
from fiftyone_deepcluster.app.panels.sections import (
    bar,
    charts,
    edits,
    filters,
    learned,
    live,
    montage,
    neighbors,
    summary,
    table,
    tree,
)
from fiftyone_deepcluster.dataset.display.workspace import CLUSTERS_PANEL

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.review.review import Change
    from fiftyone_deepcluster.dataset.runs.run import Run


class ClustersPanel(foo.Panel):
    """Panel that shows runs and their clusters, and edits clusters."""

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
            help_markdown="Inspect, rename and merge clusters, and label your data.",
        )

    @property
    def risk_level(self) -> types.RiskLevel:
        """Its edits can be undone; ``PanelConfig`` does not take the level."""
        return types.RiskLevel.MEDIUM

    def execute(self, ctx: foo.ExecutionContext) -> None:
        """Handle one event with the state its sender saw; render the panel with the current state."""
        name = ctx.params.get("__method__")
        if name is None or name == "on_startup":
            return
        with wait_for_earlier(ctx) as queue:
            method = getattr(self, name, None) if isinstance(name, str) else None
            if method is not None and is_event(method):
                method(ctx)
            if queue.last:
                queue.catch_up(ctx)
                ctx.ops.show_panel_output(self.render(ctx))

    # ------------------------------------------------------------ the run

    @event
    def on_run(self, ctx: foo.ExecutionContext) -> None:
        """Only rerender. The event also fires when the run selector appears, so it must not change anything."""

    @event
    def on_new(self, ctx: foo.ExecutionContext) -> None:
        """Open the form; the operator reopens this panel when it is done."""
        ctx.prompt(names.CLUSTER_IMAGES)

    @event
    def on_show(self, ctx: foo.ExecutionContext) -> None:
        """Show all images of the run in the grid."""
        run = read_model(ctx).run
        if run is not None:
            change_state(ctx, {"cluster": None, "node": None})
            ctx.ops.set_view(run.view())
            ctx.ops.set_active_fields(fields=[shown_field(run)])

    @event
    def on_rename_run(self, ctx: foo.ExecutionContext) -> None:
        """Open the operator's form."""
        self._prompt(ctx, names.RENAME_CLUSTERING_RUN)

    @event
    def on_delete_run(self, ctx: foo.ExecutionContext) -> None:
        """Open the operator's form."""
        self._prompt(ctx, names.DELETE_CLUSTERING_RUN)

    @event
    def on_resume(self, ctx: foo.ExecutionContext) -> None:
        """Open the operator's form."""
        self._prompt(ctx, names.RESUME_CLUSTERING)

    def _prompt(self, ctx: foo.ExecutionContext, uri: str) -> None:
        ctx.prompt(uri, params={"key": read_model(ctx).key}, on_success=self.on_run_changed)

    @event
    def on_run_changed(self, ctx: foo.ExecutionContext) -> None:
        """Select an existing run after the shown run was deleted, resumed or renamed."""
        self._write(ctx, "bar.run", read_model(ctx).key)

    @event
    def on_cancel(self, ctx: foo.ExecutionContext) -> None:
        """Request the run to stop."""
        ctx.trigger(names.CANCEL_CLUSTERING, params={"key": read_model(ctx).key})

    @event
    def on_tick(self, ctx: foo.ExecutionContext) -> None:
        """Only rerender, which reads all data again."""

    # ------------------------------------------------------------ the clusters

    @event
    def on_cell(self, ctx: foo.ExecutionContext) -> None:
        """Show the cluster of the clicked row; on a click on a column header (row -1), sort by that column."""
        row, column = int(ctx.params["row"]), int(ctx.params["column"])
        model = read_model(ctx)
        if row >= 0:
            self._choose(ctx, model, model.shown[row].name)
        elif 0 <= column < len(SORT_KEYS):
            key = SORT_KEYS[column]
            change_state(ctx, {"sort": key, "flipped": key == model.sort and not model.flipped})

    @event
    def on_image(self, ctx: foo.ExecutionContext) -> None:
        """Open the clicked sample."""
        ctx.ops.open_sample(id=ctx.params["id"])

    @event
    def on_draw_others(self, ctx: foo.ExecutionContext) -> None:
        """Draw another random sample of images of the selected cluster."""
        change_state(ctx, {"draw": read_model(ctx).draw + 1})

    def _choose(self, ctx: foo.ExecutionContext, model: PanelModel, name: str) -> None:
        if model.run is not None:
            change_state(ctx, {"cluster": name, "cluster_of": model.key, "node": None, "draw": 0})
            ctx.ops.set_view(model.run.cluster_view(name))

    # ------------------------------------------------------------ edits

    @event
    def on_typed(self, ctx: foo.ExecutionContext) -> None:
        """Only rerender, which shows a preview of the change."""

    @event
    def on_rename(self, ctx: foo.ExecutionContext) -> None:
        """Rename the selected cluster."""
        model = read_model(ctx)
        new_name = ((model.typed.get("rename") or {}).get("name") or "").strip()
        change = model.review.rename(model.cluster or "", new_name)
        self._write(ctx, "edits.rename.name", "")
        self._after(ctx, change, new_name)

    @event
    def on_merge(self, ctx: foo.ExecutionContext) -> None:
        """Merge the selected clusters under the name of the first."""
        model = read_model(ctx)
        chosen = list((model.typed.get("merge") or {}).get("clusters") or [])
        change = model.review.merge(chosen, into=chosen[0] if chosen else "")
        self._write(ctx, "edits.merge.clusters", [])
        self._after(ctx, change, chosen[0])

    @event
    def on_label(self, ctx: foo.ExecutionContext) -> None:
        """Write the label to the images of the selected cluster."""
        model = read_model(ctx)
        typed = model.typed.get("label") or {}
        change = model.review.label_cluster(
            model.cluster or "",
            typed.get("field") or edits.DEFAULT_FIELD,
            (typed.get("text") or "").strip(),
            overwrite=bool(model.typed.get("overwrite")),
        )
        self._write(ctx, "edits.label.text", "")
        self._after(ctx, change, None)

    @event
    def on_undo(self, ctx: foo.ExecutionContext) -> None:
        """Undo the last edit."""
        undone = read_model(ctx).review.undo()
        change_state(ctx, {"cluster": None, "node": None})
        ctx.ops.clear_view()
        ctx.ops.reload_dataset()
        for entry in undone:
            ctx.ops.notify(f"Undone: {entry.text}", variant="success")

    def _write(self, ctx: foo.ExecutionContext, path: str, value: object) -> None:
        """Set the value of an input."""
        change_state(ctx, {path: value})
        ctx.panel.state.apply(path)

    def _after(self, ctx: foo.ExecutionContext, change: Change, cluster: str | None) -> None:
        """Show the cluster under its new name and notify the user of the change."""
        if cluster is not None:
            self._choose(ctx, read_model(ctx), cluster)
        ctx.ops.reload_dataset()
        ctx.ops.notify(f"{change.text}: {change.n_changed:,} images", variant="success")

    # ------------------------------------------------------------ categories

    @event
    def on_key_words(self, ctx: foo.ExecutionContext) -> None:
        """Open the operator's form."""
        self._find_out(ctx, names.FIND_KEY_WORDS)

    @event
    def on_build_tree(self, ctx: foo.ExecutionContext) -> None:
        """Open the operator's form."""
        self._find_out(ctx, names.BUILD_CATEGORY_TREE)

    @event
    def on_node(self, ctx: foo.ExecutionContext) -> None:
        """Show the images of a group or a cluster of the tree in the grid."""
        model = read_model(ctx)
        nodes = (model.learned.tree if model.learned is not None else None) or []
        known = set(model.run.names()) if model.run is not None else set()
        clicked = next((node for node in nodes if node.name == ctx.params.get("id")), None)
        if clicked is None:
            return
        there = [name for name in clicked.clusters if name in known]
        if there and model.run is not None:
            change_state(ctx, {"node": clicked.name, "cluster": model.cluster, "cluster_of": model.key})
            ctx.ops.set_view(model.run.cluster_view(*there))
        else:
            ctx.ops.notify(
                "These clusters were merged after the tree was built. Build the tree again.",
                variant="warning",
            )

    # ------------------------------------------------------------ learned features

    @event
    def on_change_selected(self, ctx: foo.ExecutionContext) -> None:
        """Only rerender, which shows the neighbors of the selected image."""

    @event
    def on_probe(self, ctx: foo.ExecutionContext) -> None:
        """Open the operator's form."""
        self._find_out(ctx, names.PROBE_LAYERS)

    @event
    def on_draw_filters(self, ctx: foo.ExecutionContext) -> None:
        """Open the operator's form."""
        self._find_out(ctx, names.DRAW_FILTERS)

    @event
    def on_find_neighbors(self, ctx: foo.ExecutionContext) -> None:
        """Open the operator's form."""
        self._find_out(ctx, names.FIND_NEIGHBORS)

    def _find_out(self, ctx: foo.ExecutionContext, uri: str) -> None:
        ctx.prompt(uri, params={"key": read_model(ctx).key, FROM_PANEL: True}, on_success=self.on_tick)

    @event
    def on_unit(self, ctx: foo.ExecutionContext) -> None:
        """Show the images with the highest activations of a unit in the grid."""
        model = read_model(ctx)
        drawn = model.learned.filters if model.learned is not None else None
        for unit in drawn[1] if drawn is not None else []:
            if unit.unit == int(ctx.params["unit"]):
                from fiftyone_deepcluster.dataset.io.read_images import flat

                ctx.ops.set_view(flat(model.dataset).select(list(unit.top_samples), ordered=True))

    # ------------------------------------------------------------ rendering

    def render(self, ctx: foo.ExecutionContext) -> types.Property:
        """Render the whole panel."""
        panel = types.Object()
        model = read_model(ctx)
        if not model.keys:
            bar.draw_empty(panel, self)
        else:
            bar.draw(panel, model, self)
            live.draw(panel, model, self)
            if model.run is not None and not model.working:
                self._draw_run(panel, model, model.run)
        return types.Property(panel, view=types.GridView(orientation="vertical", columns=1, gap=2, pad=2))

    def _draw_run(self, panel: types.Object, model: PanelModel, run: Run) -> None:
        summary.draw(panel, model, self)
        charts.draw(panel, charts.points(run.rounds))
        table.draw(panel, model, self)
        montage.draw(panel, model, self)
        edits.draw(panel, model, self)
        tree.draw(panel, model, self)
        learned.draw(panel, model, self)
        filters.draw(panel, model, self)
        neighbors.draw(panel, model, self)
