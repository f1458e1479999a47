"""Functions of jobs: each verb is a function of samples, observer and arguments, which are JSON values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from fiftyone_deepcluster.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone as fo

    from fiftyone_deepcluster.analysis.linear_probe import ProbeResult
    from fiftyone_deepcluster.clusterers.number import NumberSweep
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.audit.audit import Audit
    from fiftyone_deepcluster.dataset.results.categories import Node

    Samples: TypeAlias = fo.core.collections.SampleCollection

_SHOWN_LINES = 4  # of the summary of an import


@dataclass(frozen=True)
class Outcome:
    """Result of a job.

    Attributes:
        text: a sentence; empty for a run, which has a record.
        made: name of the dataset that was filled, if it is not that of the samples.
    """

    text: str = ""
    made: str = ""


def _cluster(samples: Samples, observer: Observer, **given: Any) -> Outcome:
    from fiftyone_deepcluster.dataset.api import cluster

    cluster(samples, observer=observer, **given)
    return Outcome()


def _resume(samples: Samples, observer: Observer, **given: Any) -> Outcome:
    from fiftyone_deepcluster.dataset.api import resume

    resume(samples, observer=observer, **given)
    return Outcome()


def _refine(samples: Samples, observer: Observer, **given: Any) -> Outcome:
    from fiftyone_deepcluster.dataset.refining import refine

    refine(samples, observer=observer, **given)
    return Outcome()


def _probe_layers(samples: Samples, observer: Observer, **given: Any) -> Outcome:
    from fiftyone_deepcluster.dataset.results.probes import probe

    return Outcome(_best_layer(probe(samples, observer=observer, **given)))


def _best_layer(found: ProbeResult) -> str:
    scores = found.scores
    best = max((score for score in scores if score.network == "trained"), key=lambda score: score.logistic)
    before = [score.logistic for score in scores if score.network == "initial" and score.layer == best.layer]
    untrained = f", {before[0]:.1%} before training" if before else ""
    return (
        f"{best.layer} predicts {found.label_field} best: {best.logistic:.1%} of held-out images{untrained}"
    )


def _draw_filters(samples: Samples, observer: Observer, **given: Any) -> Outcome:
    from fiftyone_deepcluster.dataset.results.filters import draw_filters

    drawn = draw_filters(samples, observer=observer, **given)
    return Outcome(
        f"{counted(len(drawn.units), 'unit')} of {drawn.layer} drawn; files in {drawn.montage.parent}"
    )


def _find_neighbors(samples: Samples, observer: Observer, key: str, label_field: str | None) -> Outcome:
    from fiftyone_deepcluster.dataset.results.neighbors import index_neighbors, retrieval_score

    n = index_neighbors(samples, key, observer=observer)
    if label_field is not None:
        retrieval_score(samples, key, label_field, observer=observer)
    return Outcome(
        f"Neighbors of {counted(n, 'image')} found: select an image to see its neighbors in the Clusters panel"
    )


def _find_key_words(samples: Samples, observer: Observer, **given: Any) -> Outcome:
    from fiftyone_deepcluster.dataset.results.categories import key_words

    found = key_words(samples, observer=observer, **given)
    return Outcome(
        f"Key words of {sum(bool(words) for words in found.values())} of {counted(len(found), 'cluster')}"
    )


def _build_category_tree(samples: Samples, observer: Observer, key: str) -> Outcome:
    from fiftyone_deepcluster.dataset.results.categories import build_tree

    return Outcome(_groups(build_tree(samples, key, observer=observer), key))


def _groups(nodes: list[Node], key: str) -> str:
    groups = sum(not node.leaf for node in nodes)
    if not groups:
        return f"The network confuses no clusters more than others: the {counted(len(nodes), 'cluster')} form no groups"
    there = f"{counted(len(nodes) - groups, 'cluster')} in {counted(groups, 'group')}"
    return f"{there}; filter by {key}_category in the sidebar"


def _recommend_number(samples: Samples, observer: Observer, **given: Any) -> Outcome:
    from fiftyone_deepcluster.dataset.results.numbers import recommend_number

    return Outcome(advice_of(recommend_number(samples, observer=observer, **given)))


def advice_of(found: NumberSweep) -> str:
    """The advice of a sweep as a sentence."""
    return f"{found.advice[0].upper()}{found.advice[1:]}"


def _audit_labels(samples: Samples, observer: Observer, **given: Any) -> Outcome:
    from fiftyone_deepcluster.dataset.audit.audit import audit_labels

    return Outcome(_suspicious(audit_labels(samples, observer=observer, **given)))


def _suspicious(audit: Audit) -> str:
    noise = audit.record.noise
    share = "" if noise is None else f"; about {noise.rate:.1%} of the labels are wrong"
    issues = {issue.kind: issue.n_images for issue in audit.record.issues}
    return f"{counted(audit.record.n_audited, 'label')} audited{share}; {issues.get('wrong_label', 0):,} to check"


def _import_dicom(
    samples: Samples, observer: Observer, files: str, new_dataset: str | None, **options: Any
) -> Outcome:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.dicom.import_files import add_dicom
    from fiftyone_deepcluster.dataset.io.read_images import root_dataset

    summary = add_dicom(files, new_dataset or root_dataset(samples), observer=observer, **options)
    text = "\n".join(str(summary).splitlines()[:_SHOWN_LINES])
    if new_dataset is None or not fo.dataset_exists(new_dataset):  # without any image, none is created
        return Outcome(text)
    return Outcome(text, new_dataset)


VERBS: dict[str, Callable[..., Outcome]] = {
    "cluster": _cluster,
    "resume": _resume,
    "refine": _refine,
    "probe_layers": _probe_layers,
    "draw_filters": _draw_filters,
    "find_neighbors": _find_neighbors,
    "find_key_words": _find_key_words,
    "build_category_tree": _build_category_tree,
    "recommend_number": _recommend_number,
    "audit_labels": _audit_labels,
    "import_dicom": _import_dicom,
}
"""Functions of a job by its verb."""

RUN_VERBS = ("cluster", "resume", "refine")
"""Verbs that create or resume a run, which writes its own live state."""

ABOUT_A_RUN = (
    "refine",
    "probe_layers",
    "draw_filters",
    "find_neighbors",
    "find_key_words",
    "build_category_tree",
    "recommend_number",
)
"""Verbs whose argument ``key`` is the key of an existing run, which may get another while the job waits."""
