"""Analyses of a run that the Clusters panel shows."""

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
    """Stored analyses of a run; None where an analysis was not computed.

    Attributes:
        run: the run shown.
        selected: id of the image selected in the grid; None unless exactly one is selected.
        clusters: current clusters of the run.
    """

    run: Run
    selected: str | None
    clusters: Sequence[ClusterInfo]

    @cached_property
    def probe(self) -> ProbeResult | None:
        """Last linear probe."""
        from fiftyone_deepcluster.dataset.results.probes import stored_probe

        return stored_probe(self.run)

    @cached_property
    def filters(self) -> tuple[str, list[DrawnUnit]] | None:
        """Layer drawn last, and its units."""
        from fiftyone_deepcluster.dataset.results.filters import stored_filters

        return stored_filters(self.run)

    @cached_property
    def scores(self) -> Retrieval | None:
        """Retrieval scores."""
        from fiftyone_deepcluster.dataset.results.neighbors import stored_scores

        return stored_scores(self.run)

    @cached_property
    def neighbors(self) -> dict[str, list[Neighbor]] | None:
        """Neighbors of the selected image by kind of features; empty if it has none; None if not computed."""
        from fiftyone_deepcluster.dataset.results.neighbors import indexed_neighbors

        return indexed_neighbors(self.run, self.selected or "")

    @cached_property
    def tree(self) -> list[Node] | None:
        """Category tree built last."""
        from fiftyone_deepcluster.dataset.results.categories import stored_tree

        return stored_tree(self.run, self.clusters)

    @cached_property
    def words(self) -> dict[str, list[str]] | None:
        """Key words by cluster name, most frequent first."""
        from fiftyone_deepcluster.dataset.results.categories import stored_key_words

        found = stored_key_words(self.run, self.clusters)
        return None if found is None else {name: [word.word for word in some] for name, some in found.items()}

    @cached_property
    def paths(self) -> dict[str, str]:
        """File paths of the neighbors by sample id."""
        from fiftyone_deepcluster.dataset.io.read_images import flat

        ids = {near.sample_id for kind in (self.neighbors or {}).values() for near in kind}
        chosen = flat(self.run.dataset).select([*ids])
        return dict(zip(*chosen.values(["id", "filepath"]), strict=True))
