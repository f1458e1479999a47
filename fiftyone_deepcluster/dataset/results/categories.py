"""What the clusters of a run are about, and how they hang together: ``key_words`` and ``build_tree``."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.analysis.texts import KeyWord
from fiftyone_deepcluster.dataset.io.fields import changing
from fiftyone_deepcluster.dataset.io.read_images import read_values
from fiftyone_deepcluster.dataset.io.side_fields import read_texts
from fiftyone_deepcluster.dataset.io.write import NOISE, set_values
from fiftyone_deepcluster.dataset.results.open_run import images_of, open_run, path_in
from fiftyone_deepcluster.dataset.results.results_cache import Findings
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
        name: as ``dc_category`` and ``dc`` have it; groups are "group 1", "group 1.2" ...
        parent: name of the wider group; empty at the top.
        size: images.
        clusters: names of the clusters in it.
        leaf: whether it is a cluster.
    """

    name: str
    parent: str
    size: int
    clusters: tuple[str, ...]
    leaf: bool


def key_words(
    samples: fo.core.collections.SampleCollection,
    key: str,
    text_field: str | None = None,
    *,
    n_words: int = 10,
    common: float = 1.0,
    rank: Rank = "count",
) -> dict[str, list[KeyWord]]:
    """The most frequent words of each cluster's reports (Wang et al., LDPO, section 3.2), kept with the run.

    Words are taken from the reports as they are: what identifies a patient must have been removed from them.

    Args:
        samples: the dataset, or any view of it.
        key: of the run.
        text_field: string field with the reports; by default the run's own ``text_field``.
        n_words: at most so many a cluster.
        common: words found in at least this share of the clusters are left out; 1: in all of them, as in the paper.
        rank: ``count``, as in the paper; ``distinct``: by how much more often a word is found in the cluster than
            elsewhere, without those that chance explains. Better where clusters are few or small.

    Returns:
        Name of the cluster as it is now -> words, best first.

    Raises:
        RunNotFoundError: no such run.
        InputError: no field is named, it is missing or holds no words, or another argument is out of range.
    """
    import numpy as np

    from fiftyone_deepcluster.analysis.texts import words_of_clusters

    run = load_run(samples, key)
    field = text_field or getattr(run.options, "text_field", None)
    if not field:
        raise InputError(f"run {key!r} names no text_field; give the field with the reports")
    source = images_of(run)
    names, labels = _numbered(read_values(source, path_in(run, "label")))
    found = words_of_clusters(
        read_texts(source, field), np.asarray(labels), n_words=n_words, common=common, rank=rank
    )
    words = {names[cluster]: entry for cluster, entry in found.items()}
    if not any(words.values()):
        logger.warning(
            "run %r: no word of %r tells a cluster from the others, so none has key words", key, field
        )
    kept = {name: [asdict(word) for word in entry] for name, entry in words.items()}
    Findings(run).save(_WORDS, {"text_field": field, "words": kept, "ids": _ids(run)})
    return words


def build_tree(
    samples: fo.core.collections.SampleCollection, key: str, *, observer: Observer | None = None
) -> list[Node]:
    """Merge the clusters of a run into a tree by what its network confuses, and write every image's path.

    Affinities are the network's mean softmax scores between clusters (Wang et al., LDPO, equations 4 to 7), grouped by
    affinity propagation, again and again. The network's classes are those of its last round; each counts for the
    cluster that it goes to most. Clusters are taken as they are named now, so merge and rename first.

    Written is ``dc_category`` (for the key ``dc``): the names of the groups from the widest down, for the sidebar to
    filter. Building again replaces it.

    Args:
        samples: the dataset, or any view of it.
        key: of the run.
        observer: told of progress; may cancel, and then nothing is written.

    Returns:
        Groups and clusters, parents before children; clusters only where nothing groups, which is logged.

    Raises:
        RunNotFoundError: no such run.
        RunError: the run's network is not here, or has no classes.
        InputError: fewer than two clusters.
    """
    import numpy as np

    run = load_run(samples, key)
    source = images_of(run)
    names, labels = _numbered(read_values(source, path_in(run, "label")))
    if len(names) < 2:
        raise InputError(f"run {key!r} has {len(names)} cluster; a tree needs 2 or more")
    with open_run(run, source, observer) as trained_run:
        tree = _merged(run, trained_run, np.asarray(labels))
    nodes, paths = _nodes(tree, names)
    if all(node.leaf for node in nodes):
        logger.warning("run %r: no clusters are mixed up more than others, so its tree has no groups", key)
    _write(run, source, [paths[label] if label >= 0 else None for label in labels])
    Findings(run).save(_TREE, {"nodes": [asdict(node) for node in nodes], "ids": _ids(run)})
    return nodes


def stored_key_words(run: Run, clusters: Clusters | None = None) -> dict[str, list[KeyWord]] | None:
    """The key words that were found last, by the clusters' names of now; None where nobody looked for them.

    Args:
        run: of the clusters.
        clusters: as they are now, where they are at hand.
    """
    found = Findings(run).load(_WORDS)
    if found is None:
        return None
    now = _names_now(run, found, clusters)
    return {
        now.get(name, name): [KeyWord(**word) for word in words] for name, words in found["words"].items()
    }


def stored_tree(run: Run, clusters: Clusters | None = None) -> list[Node] | None:
    """The tree that was built last, its clusters by their names of now; None where there is none.

    Args:
        run: of the clusters.
        clusters: as they are now, where they are at hand.
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
    """The run's own numbers of each cluster: a person may rename it later."""
    return {info.name: list(info.ids) for info in run.clusters(0)}


def _names_now(run: Run, found: dict[str, Any], clusters: Clusters | None) -> dict[str, str]:
    """Names that the clusters had when something was found out, and those that they have now."""
    now = {info.ids: info.name for info in (run.clusters(0) if clusters is None else clusters)}
    return {name: now.get(tuple(ids), name) for name, ids in found.get("ids", {}).items()}


def _numbered(labels: list[object | None]) -> tuple[list[str], list[int]]:
    """Names of the clusters, and each image's place among them; -1 for noise and none."""
    names = sorted({str(label) for label in labels if label not in (None, NOISE)})
    places: dict[Any, int] = {name: place for place, name in enumerate(names)}
    return names, [places.get(label, -1) for label in labels]


def _merged(run: Run, trained_run: TrainedRun, labels: NDArray[np.int64]) -> CategoryTree:
    import numpy as np

    from fiftyone_deepcluster.analysis.category_tree import by_cluster, category_tree, class_mass

    if not trained_run.trained.network.n_outputs:
        raise RunError(
            f"the network of run {run.key!r} ({run.record.method}) has no softmax layer, so there is nothing that it "
            "confuses; choose a run of a method that teaches one, such as deepcluster or ldpo"
        )
    known = labels[trained_run.store.kept]
    n_clusters = int(labels.max()) + 1
    sizes = np.bincount(known[known >= 0], minlength=n_clusters)
    mass = class_mass(trained_run.trained, known, n_clusters)
    return category_tree(by_cluster(mass, sizes), sizes, run.options.seed)


def _nodes(tree: CategoryTree, names: list[str]) -> tuple[list[Node], list[list[str]]]:
    """Nodes, and the path of each cluster; a root that holds everything is no group."""
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
                continue  # the same clusters once more
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
    import fiftyone as fo
    from bson import ObjectId

    path = run.fields.path("category")
    if run.dataset.get_field(path) is None:  # a run of an earlier version
        with changing(run.dataset):
            run.dataset.add_sample_field(path, fo.ListField, subfield=fo.StringField)
    places = [(ObjectId(s), ObjectId(i)) for s, i in zip(source.sample_ids, source.ids, strict=True)]
    set_values(run.dataset, path, run.fields, places, paths)
    run.dataset.reload()
