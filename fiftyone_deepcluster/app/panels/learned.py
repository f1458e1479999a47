"""What the Clusters panel shows of what a run learned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiftyone_deepcluster.analysis.linear_probe import ProbeResult
    from fiftyone_deepcluster.dataset.results.categories import Node
    from fiftyone_deepcluster.dataset.results.filters import DrawnUnit
    from fiftyone_deepcluster.dataset.results.neighbors import Neighbor, Retrieval
    from fiftyone_deepcluster.dataset.review.clusters import ClusterInfo
    from fiftyone_deepcluster.dataset.runs.run import Run


@dataclass
class LearnedModel:
    """Findings about a run, as far as they were made.

    Attributes:
        run: that is shown.
        selected: id of the one image that is selected in the grid, or None.
        clusters: of the run, as they are now.
    """

    run: Run
    selected: str | None
    clusters: Sequence[ClusterInfo]

    @cached_property
    def probe(self) -> ProbeResult | None:
        """The last probe."""
        from fiftyone_deepcluster.dataset.results.probes import stored_probe

        return stored_probe(self.run)

    @cached_property
    def filters(self) -> tuple[str, list[DrawnUnit]] | None:
        """The layer that was drawn last, and its units."""
        from fiftyone_deepcluster.dataset.results.filters import stored_filters

        return stored_filters(self.run)

    @cached_property
    def scores(self) -> Retrieval | None:
        """Retrieval figures."""
        from fiftyone_deepcluster.dataset.results.neighbors import stored_scores

        return stored_scores(self.run)

    @cached_property
    def neighbors(self) -> dict[str, list[Neighbor]] | None:
        """Of the selected image, by kind of features; empty where none are known; None: none were sought."""
        from fiftyone_deepcluster.dataset.results.neighbors import indexed_neighbors

        return indexed_neighbors(self.run, self.selected or "")

    @cached_property
    def tree(self) -> list[Node] | None:
        """The category tree that was built last."""
        from fiftyone_deepcluster.dataset.results.categories import stored_tree

        return stored_tree(self.run, self.clusters)

    @cached_property
    def words(self) -> dict[str, list[str]] | None:
        """Key words of the clusters by their names, most frequent first."""
        from fiftyone_deepcluster.dataset.results.categories import stored_key_words

        found = stored_key_words(self.run, self.clusters)
        return None if found is None else {name: [word.word for word in some] for name, some in found.items()}

    @cached_property
    def paths(self) -> dict[str, str]:
        """Files of the samples among the neighbors, and of the selected one."""
        from fiftyone_deepcluster.dataset.io.read_images import flat

        ids = {near.sample_id for kind in (self.neighbors or {}).values() for near in kind}
        chosen = flat(self.run.dataset).select([*ids])
        return dict(zip(*chosen.values(["id", "filepath"]), strict=True))
