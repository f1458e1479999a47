"""Data of the Clusters panel, read once per event."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import fiftyone as fo
    import fiftyone.operators as foo

    from fiftyone_deepcluster.app.panels.learned import LearnedModel
    from fiftyone_deepcluster.dataset.review.clusters import ClusterInfo
    from fiftyone_deepcluster.dataset.review.review import Review
    from fiftyone_deepcluster.dataset.runs.run import Run
    from fiftyone_deepcluster.dataset.runs.status import LiveState

N_EXEMPLARS = 16  # nearest and random images each: two rows beside the grid
ROWS_A_PAGE = 100
SORT_KEYS = ("name", "size", "share", "cohesion", "stability")
_SMALL_FIRST = {"name", "cohesion"}


@dataclass
class PanelModel:
    """The dataset's runs and the user's selections.

    Attributes:
        dataset: dataset shown in the App.
        keys: keys of finished, interrupted, queued and running runs, oldest first.
        states: live states of runs by key.
        key: key of the shown run, or None.
        sort: column by which the clusters are sorted.
        flipped: whether the column's default order is reversed.
        cluster: name of the selected cluster, or None.
        node: name of the tree node clicked last, or None.
        typed: values of the edit inputs.
        selected: id of the image selected in the grid; None unless exactly one is selected.
        search: substring of the cluster names to show in the table; empty: all.
        asked_page: requested page of the table, from 0; may exceed the last page.
        draw: number of redraws of the selected cluster's random images; added to the seed.
    """

    dataset: fo.Dataset
    keys: list[str]
    states: dict[str, LiveState]
    key: str | None
    sort: str = "size"
    flipped: bool = False
    cluster: str | None = None
    node: str | None = None
    typed: dict[str, Any] = field(default_factory=dict)
    selected: str | None = None
    search: str = ""
    asked_page: int = 0
    draw: int = 0

    @property
    def state(self) -> LiveState | None:
        """Live state of the shown run."""
        return self.states.get(self.key or "")

    @property
    def working(self) -> bool:
        """Whether the shown run is queued or running."""
        return self.state is not None and self.state.busy

    @cached_property
    def run(self) -> Run | None:
        """The shown run; None until it has a result."""
        from fiftyone_deepcluster.dataset.runs.run import finished_runs, load_run

        if self.key is None or self.key not in finished_runs(self.dataset):
            return None
        return load_run(self.dataset, self.key)

    @cached_property
    def learned(self) -> LearnedModel | None:
        """Stored analyses of the shown run."""
        from fiftyone_deepcluster.app.panels.learned import LearnedModel

        return None if self.run is None else LearnedModel(self.run, self.selected, self.clusters)

    @cached_property
    def review(self) -> Review:
        """Review (edits) of the shown run."""
        from fiftyone_deepcluster.dataset.review.review import review

        return review(self.dataset, self.key or "")

    @cached_property
    def clusters(self) -> list[ClusterInfo]:
        """Clusters of the shown run, sorted."""
        if self.run is None:
            return []
        infos = self.run.clusters(n_exemplars=N_EXEMPLARS)
        large_first = self.sort not in _SMALL_FIRST
        return sorted(infos, key=self._rank, reverse=large_first != self.flipped)

    @cached_property
    def found(self) -> list[ClusterInfo]:
        """Clusters that match the search, sorted."""
        return [info for info in self.clusters if self.search.lower() in info.name.lower()]

    @property
    def n_pages(self) -> int:
        """Number of pages of the table."""
        return max(1, math.ceil(len(self.found) / ROWS_A_PAGE))

    @property
    def page(self) -> int:
        """Index of the shown page, from 0."""
        return min(self.asked_page, self.n_pages - 1)

    @property
    def shown(self) -> list[ClusterInfo]:
        """Clusters on the shown page of the table, sorted."""
        return self.found[self.page * ROWS_A_PAGE : (self.page + 1) * ROWS_A_PAGE]

    @property
    def chosen(self) -> ClusterInfo | None:
        """The selected cluster; None if it no longer exists."""
        return next((info for info in self.clusters if info.name == self.cluster), None)

    @cached_property
    def drawn(self) -> ClusterInfo | None:
        """The selected cluster with random images; None if all of its images are shown as the nearest."""
        from fiftyone_deepcluster.dataset.review.clusters import with_random

        if self.run is None or self.chosen is None or self.chosen.size <= N_EXEMPLARS:
            return None
        return with_random(self.run, [self.chosen], N_EXEMPLARS, self.run.options.seed + self.draw)[0]

    def _rank(self, info: ClusterInfo) -> tuple[Any, str]:
        value = getattr(info, self.sort)
        return (float("-inf") if value is None else value, info.name)


def read_model(ctx: foo.ExecutionContext) -> PanelModel:
    """Read the model for one event."""
    from fiftyone_deepcluster.app.operators.shared_inputs import known_keys
    from fiftyone_deepcluster.dataset.runs import status
    from fiftyone_deepcluster.dataset.runs.run import finished_runs

    get = ctx.panel.get_state
    keys = known_keys(ctx.dataset)
    states = status.read_states(ctx.dataset)
    sort, find = get("sort"), get("find") or {}
    key = _shown_key(get("bar.run") or get("run"), keys, states, finished_runs(ctx.dataset))
    return PanelModel(
        dataset=ctx.dataset,
        keys=keys,
        states=states,
        key=key,
        sort=sort if sort in SORT_KEYS else "size",
        flipped=bool(get("flipped")),
        cluster=get("cluster") if get("cluster_of") == key else None,
        node=get("node") if get("cluster_of") == key else None,
        typed=dict(get("edits") or {}),
        selected=ctx.selected[0] if len(ctx.selected) == 1 else None,
        search=(find.get("name") or "").strip(),
        asked_page=int(find.get("page") or 0),
        draw=int(get("draw") or 0),
    )


def _shown_key(
    asked: str | None, keys: list[str], states: dict[str, LiveState], finished: Sequence[str] = ()
) -> str | None:
    """Key of the run to show: the requested one, else a busy one, else the newest finished or other run."""
    if asked in keys:
        return asked
    busy = [key for key in keys if key in states and states[key].busy]
    candidates = busy or list(finished) or keys
    return candidates[-1] if candidates else None
