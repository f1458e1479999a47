"""Key words of the clusters of a run, and a tree of clusters: ``key_words`` and ``build_tree``."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.analysis.texts import KeyWord
from fiftyone_deepcluster.core.progress import check_observer
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.dataset.display.sidebar import add_group
from fiftyone_deepcluster.dataset.io.fields import changing, declare_missing, drop_empty
from fiftyone_deepcluster.dataset.io.read_fields import read_values
from fiftyone_deepcluster.dataset.io.side_fields import read_groups, read_texts
from fiftyone_deepcluster.dataset.io.write import NOISE, set_values
from fiftyone_deepcluster.dataset.results.open_run import images_of, open_run, store, storing
from fiftyone_deepcluster.dataset.results.results_cache import Findings
from fiftyone_deepcluster.dataset.runs.database import database_needed, until_kept
from fiftyone_deepcluster.dataset.runs.run import Run, load_run
from fiftyone_deepcluster.errors import InputError, RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import fiftyone as fo
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.category_tree import CategoryTree
    from fiftyone_deepcluster.analysis.texts import Rank
    from fiftyone_deepcluster.api.trained_run import TrainedRun
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.dataset.review.clusters import ClusterInfo

    Clusters = Sequence[ClusterInfo]

logger = logging.getLogger(__name__)

_WORDS, _TREE = "key_words", "tree"


@dataclass(frozen=True)
class Node:
    """A group of the category tree, or a cluster, which is a leaf.

    Attributes:
        name: value in ``dc_category`` or ``dc``; groups are named "group 1", "group 1.2" ...
        parent: name of the parent group; empty at the top level.
        size: number of images.
        clusters: names of the clusters in the group.
        leaf: whether the node is a cluster.
    """

    name: str
    parent: str
    size: int
    clusters: tuple[str, ...]
    leaf: bool


@database_needed("repeat the call")
def key_words(
    samples: fo.core.collections.SampleCollection,
    key: str,
    text_field: str | None = None,
    *,
    n_words: int = 10,
    common: float = 1.0,
    rank: Rank = "count",
    group_field: str | None = None,
    observer: Observer | None = None,
) -> dict[str, list[KeyWord]]:
    """The most frequent words of each cluster's reports (Wang et al., LDPO, section 3.2), stored with the run.

    Words are taken from the reports unchanged, so patient identities must have been removed beforehand.

    Args:
        samples: the dataset, or any view of it.
        key: key of the run.
        text_field: string field with the reports; by default the run's own ``text_field``.
        n_words: maximum number of words per cluster.
        common: words found in at least this share of the clusters are excluded; 1: words found in all clusters, as
            in the paper.
        rank: ``count``: by frequency, as in the paper; ``distinct``: by how much more often a word occurs in the
            cluster than elsewhere, without words explained by chance. Better for few or small clusters.
        group_field: field with groups, such as patients, whose reports are alike: ``distinct`` counts the images of a
            group in one cluster as one; by default the run's own ``group_field``.
        observer: receives progress events; can cancel.

    Returns:
        Current cluster name -> words, best first.

    Raises:
        RunNotFoundError: no such run.
        InputError: no field is given, it is missing or contains no words, or another argument is out of range.
        CancelledError: cancelled; nothing is stored.
    """
    import numpy as np

    from fiftyone_deepcluster.analysis.texts import words_of_clusters

    check_observer(observer)
    run = load_run(samples, key)
    field = run.options.known_fields.texts if text_field is None else text_field
    if field is None:
        raise InputError(f"run {key!r} has no text_field; give the field with the reports")
    by = run.options.known_fields.groups if group_field is None else group_field
    source = images_of(run)
    groups = None if by is None else read_groups(source, by)
    names, labels = _numbered(read_values(source, run.fields.view_path("label")))
    found = words_of_clusters(
        read_texts(source, field), np.asarray(labels),
        n_words=n_words, common=common, rank=rank, groups=groups, observer=observer,
    )  # fmt: skip
    words = {names[cluster]: entry for cluster, entry in found.items()}
    if not any(words.values()):
        logger.warning(
            "run %r: no word of %r distinguishes a cluster from the others, so there are no key words",
            key,
            field,
        )
    kept = {name: [asdict(word) for word in entry] for name, entry in words.items()}
    content = {"text_field": field, "words": kept}
    store(run, "key_words", lambda now: Findings(now).save(_WORDS, {**content, "ids": _ids(now)}))
    return words


@database_needed("repeat the call")
def build_tree(
    samples: fo.core.collections.SampleCollection, key: str, *, observer: Observer | None = None
) -> list[Node]:
    """Merge the clusters of a run into a tree by how often its network confuses them, and write every image's path.

    Affinities are the network's mean softmax scores between clusters (Wang et al., LDPO, equations 4 to 7), grouped
    repeatedly by affinity propagation. The network's classes are the pseudo-classes of its last round; each belongs to
    the cluster whose images give it the highest total score. Current clusters and names are used, so merge and
    rename first.

    Writes ``dc_category`` (for the key ``dc``): the names of the groups, widest first, for filtering in the sidebar.
    Building the tree again replaces it.

    Args:
        samples: the dataset, or any view of it.
        key: key of the run.
        observer: receives progress events; can cancel, and then nothing is written.

    Returns:
        Groups and clusters, parents before children; only clusters if there are no groups, which logs a warning.

    Raises:
        RunNotFoundError: no such run.
        RunError: the run's network is not stored on this machine, or has no classes.
        RunLockedError: the run is being resumed, or images are being assigned to it; nothing is written.
        InputError: fewer than two clusters.
    """
    import numpy as np

    check_observer(observer)
    run = load_run(samples, key)
    source = images_of(run)
    names, labels = _numbered(read_values(source, run.fields.view_path("label")))
    if len(names) < 2:
        raise InputError(f"run {key!r} has {counted(len(names), 'cluster')}; a tree needs 2 or more")
    with open_run(run, source, observer) as trained_run:
        tree = _merged(run, trained_run, np.asarray(labels))
    nodes, paths = _nodes(tree, names)
    if all(node.leaf for node in nodes):
        logger.warning("run %r: no clusters are confused more than others, so its tree has no groups", key)
    # None and not an empty list: a field without any groups is dropped
    written = [paths[label] or None if label >= 0 else None for label in labels]
    with storing(run) as now:
        # the file first: a full disk must not leave the field without it
        Findings(now).save(_TREE, {"nodes": [asdict(node) for node in nodes], "ids": _ids(now)})
        until_kept(run.dataset, lambda: _write(now, source, written))
    return nodes


def stored_key_words(run: Run, clusters: Clusters | None = None) -> dict[str, list[KeyWord]] | None:
    """Stored result of ``key_words``, by current cluster name; None if there is none.

    Args:
        run: run of the clusters.
        clusters: the current clusters; queried if None.
    """
    found = Findings(run).load(_WORDS)
    if found is None:
        return None
    now = _names_now(run, found, clusters)
    return {
        now.get(name, name): [KeyWord(**word) for word in words] for name, words in found["words"].items()
    }


def stored_tree(run: Run, clusters: Clusters | None = None) -> list[Node] | None:
    """Stored result of ``build_tree``, with current cluster names; None if there is none.

    Args:
        run: run of the clusters.
        clusters: the current clusters; queried if None.
    """
    found = Findings(run).load(_TREE)
    if found is None:
        return None
    now = _names_now(run, found, clusters)
    nodes = []
    for node in found["nodes"]:
        name = now.get(node["name"], node["name"]) if node["leaf"] else node["name"]
        inside = tuple(now.get(cluster, cluster) for cluster in node["clusters"])
        nodes.append(Node(**{**node, "name": name, "clusters": inside}))
    return nodes


def _ids(run: Run) -> dict[str, list[int]]:
    """The run's cluster numbers of each cluster, which identify it after a rename."""
    return {info.name: list(info.ids) for info in run.clusters(0)}


def _names_now(run: Run, found: dict[str, Any], clusters: Clusters | None) -> dict[str, str]:
    """Cluster name when a result was stored -> current name."""
    now = {info.ids: info.name for info in (run.clusters(0) if clusters is None else clusters)}
    return {name: now.get(tuple(ids), name) for name, ids in found.get("ids", {}).items()}


def _numbered(labels: list[object | None]) -> tuple[list[str], list[int]]:
    """Names of the clusters, and the index of each image's cluster; -1 for noise and no cluster."""
    names = sorted({str(label) for label in labels if label not in (None, NOISE)})
    places: dict[Any, int] = {name: place for place, name in enumerate(names)}
    return names, [places.get(label, -1) for label in labels]


def _merged(run: Run, trained_run: TrainedRun, labels: NDArray[np.int64]) -> CategoryTree:
    import numpy as np

    from fiftyone_deepcluster.analysis.category_tree import by_cluster, category_tree, class_mass

    if not trained_run.trained.network.n_outputs:
        raise RunError(
            f"the network of run {run.key!r} ({run.record.method}) has no softmax layer, so confusions of clusters "
            "cannot be computed; choose a run of a method that trains one, such as deepcluster or ldpo"
        )
    known = labels[trained_run.store.kept]
    n_clusters = int(labels.max()) + 1
    sizes = np.bincount(known[known >= 0], minlength=n_clusters)
    mass = class_mass(trained_run.trained, known, n_clusters)
    return category_tree(by_cluster(mass, sizes), sizes, run.options.seed)


def _nodes(tree: CategoryTree, names: list[str]) -> tuple[list[Node], list[list[str]]]:
    """Nodes, and the path of each cluster; a root with all clusters is not a group."""
    levels = [level for level in tree.levels[::-1] if level.max() > 0]
    paths: list[list[str]] = [[] for _ in names]
    numbers: dict[tuple[str, int], str] = {}
    nodes: dict[str, Node] = {}
    for level in levels:
        parents = [path[-1] if path else "" for path in paths]
        places = set(zip(parents, level.tolist(), strict=True))
        alone = {parent for parent in parents if sum(known == parent for known, _ in places) == 1}
        for cluster, group in enumerate(level.tolist()):
            parent = parents[cluster]
            place = (parent, group)
            if parent in alone:
                continue  # this level does not split the parent
            if place not in numbers:
                children = sum(1 for known, _ in numbers if known == parent)
                numbers[place] = f"{parent or 'group '}{'.' if parent else ''}{children + 1}"
            name = numbers[place]
            paths[cluster].append(name)
            before = nodes.get(name, Node(name, parent, 0, (), leaf=False))
            nodes[name] = Node(
                name,
                parent,
                before.size + int(tree.sizes[cluster]),
                (*before.clusters, names[cluster]),
                leaf=False,
            )
    leaves = [
        Node(name, paths[i][-1] if paths[i] else "", int(tree.sizes[i]), (name,), leaf=True)
        for i, name in enumerate(names)
    ]
    return [*nodes.values(), *leaves], paths


def _write(run: Run, source: SampleSource, paths: list[list[str] | None]) -> None:
    from bson import ObjectId

    path = run.fields.path("category")
    with changing(run.dataset):
        declare_missing(run.dataset, run.fields, ["category"])
    places = [(ObjectId(s), ObjectId(i)) for s, i in zip(source.sample_ids, source.ids, strict=True)]
    set_values(run.dataset, path, run.fields, places, paths)
    drop_empty(run.dataset, run.fields)
    run.dataset.reload()
    add_group(run.dataset, run.fields)
