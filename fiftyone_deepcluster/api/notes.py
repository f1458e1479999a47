"""Notes of a run record that limit how far the result can be trusted, as sentences."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.record import StopReason
from fiftyone_deepcluster.core.words import counted, part_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from fiftyone_deepcluster.api.assembly import ImageInput
    from fiftyone_deepcluster.core.record import Round
    from fiftyone_deepcluster.images.store import ImageStore

SETTLED_NMI = 0.92
"""Minimum NMI of the last two rounds for settled clusters: runs on digits end at 0.98, on clothes at 0.85."""

UNLEARNED_SHARE = 0.99
"""Share of the first epoch's loss: if training on given labels ends above it, the network has not learned them."""


def unread(store: ImageStore, images: ImageInput = None) -> list[str]:
    """How many images could not be read, and the reason for one of them; its file, if ``images`` has files."""
    errors = store.errors
    if not errors:
        return []
    n, first = len(errors) + len(store.kept), min(errors)
    reason = f"{len(errors):,} of {counted(n, 'image')} could not be read and have no cluster, such as number {first}"
    return [f"{reason}{_file_of(images, first)}: {errors[first]}"]


def _file_of(images: ImageInput, row: int) -> str:
    """Name of an image's file in brackets; empty for an array."""
    if images is None or isinstance(images, np.ndarray):
        return ""
    image = next(islice(images, row, None))
    return f" ({short(Path(getattr(image, 'path', image)).name)})"


def without_baselines(lost: str) -> list[str]:
    """Why a continued run has no baselines: files are gone; none if ``lost`` is empty."""
    reason = (
        f"the baselines on features of the given weights were left out: the run was made with {lost}, which is gone; "
        "put it back and resume the run to compute them"
    )
    return [reason] if lost else []


def in_no_cluster(labels: NDArray[np.int64], options: Mapping[str, object]) -> list[str]:
    """A warning if at least half of the labels (N,) are -1 (noise), with what to change among the method's options."""
    noise, n = int((labels < 0).sum()), len(labels)
    if 2 * noise < n or not n:
        return []
    reason = "all images are" if noise == n else f"{noise:,} of {n:,} images are"
    clusterer, reducer = options.get("clusterer"), options.get("reducer")
    remedies = []
    if isinstance(clusterer, dict) and "min_cluster_size" in clusterer:
        remedies.append("lower the clusterer's min_cluster_size")
    if isinstance(reducer, dict) and reducer.get("name") != "umap":
        remedies.append("use reducer='umap'")
    if "clusterer" in options:
        remedies.append("use a clusterer that assigns every image, such as 'kmeans'")
    return [f"{reason} noise and in no cluster{'; ' if remedies else ''}{', or '.join(remedies)}"]


def in_one_cluster(labels: NDArray[np.int64], n_clusters: int | None) -> list[str]:
    """A warning if all labels (N,) are the same, although more clusters were to be found."""
    if len(labels) < 2 or n_clusters == 1 or labels.min() < 0 or labels.min() != labels.max():
        return []
    reason = f"all {len(labels):,} images are in one cluster"
    if n_clusters is None:
        return [f"{reason}, which the clusterer found; give n_clusters, or other options of the clusterer"]
    cause = "their vectors are the same, or hardly differ"
    return [f"{reason}: {cause}; check that the images differ, and that the network suits them"]


def kept(initial: NDArray[np.int64] | None, fixed: NDArray[np.bool_], labels: NDArray[np.int64]) -> list[str]:
    """Number of fixed images that kept their label, and of other images that changed theirs; all arguments (M,)."""
    if initial is None:
        return []
    out, free = fixed & (initial < 0), ~fixed
    changed = int((labels != initial)[free].sum())
    no_cluster = f", {counted(int(out.sum()), 'is', 'are')} in no cluster" if out.any() else ""
    what = "reviewed image kept its cluster", "reviewed images kept their cluster"
    stayed = f"{counted(int((fixed & ~out).sum()), *what)}{no_cluster}"
    moved = f"{changed:,} of the other {int(free.sum()):,} {'is' if changed == 1 else 'are'}"
    return [f"{stayed}; {moved} in another cluster than before"]


def without_vectors(vectors: NDArray[np.float32] | None) -> list[str]:
    """Number of images that have no vector of another source; (M, D), rows that are not finite where there is none."""
    missing = 0 if vectors is None else int((~np.isfinite(vectors).all(axis=1)).sum())
    if vectors is None or not missing:
        return []
    what = part_of(missing, len(vectors), "image", "has no given vector", "have no given vector")
    return [f"{what}: clustered by the network's features only"]


def not_computed(what: str, error: Exception) -> str:
    """A note about an error in a computation after the run, such as a baseline."""
    return f"{what} could not be computed ({type(error).__name__}: {error}); the rest of the run is complete"


def votes(rounds: Sequence[Round]) -> list[str]:
    """Number of clusterings that a consensus combined, and of local minima that the others reached."""
    scores = rounds[-1].scores if rounds else {}
    if not {"runs", "kept", "modes"} <= scores.keys() or scores["modes"] < 2:
        return []
    if scores.get("comparable") == 0:
        voters = f"all {scores['kept']:.0f} clusterings with a reducer were combined"
        return [f"{voters}: refining them by k-means on the vectors changes them more than another seed does"]
    kept, runs, others = int(scores["kept"]), int(scores["runs"]), int(scores["modes"]) - 1
    rest = f"the rest ended in {others} other minim{'a' if others > 1 else 'um'}"
    return [
        f"{kept} of {runs} clusterings ended in the minimum with the lowest objective and were combined; {rest}"
    ]


def plain_start(rounds: Sequence[Round]) -> list[str]:
    """That self-training started from clusters of the images' own features, without views."""
    scores = rounds[0].scores if rounds else {}
    plain, views = scores.get("information_plain", 0.0), scores.get("information_views", 0.0)
    if plain <= views:
        return []
    about = f"give {plain:.3f} nats of information about them, and {views:.3f} about those of the views"
    return [
        f"training started from UMAP + k-means on the images' own features: the view-whitened features {about}"
    ]


def first_kept(rounds: Sequence[Round]) -> list[str]:
    """That training did not improve the clusters, so that those before it were returned; or that this is not known."""
    scores = rounds[-1].scores if rounds else {}
    if scores.get("compared") == 0:
        why = "they have noise, or on average fewer than 20 images each"
        return [
            f"whether training improved the clusters is not known: {why}; those after training are returned"
        ]
    after, before = scores.get("information", 0.0), scores.get("information_first", 0.0)
    if after >= before:
        return []
    about = f"give {after:.3f} nats of information about the clusters after it, and {before:.3f} about those before it"
    why = f"training did not improve the clusters: the features before training {about}"
    remedy = "keep_first=False returns those after it"
    return [f"{why}. The clusters and the network of before training are returned; {remedy}"]


def of_rounds(rounds: Sequence[Round]) -> list[str]:
    """All notes that the rounds alone give."""
    return [
        note for kind in (initial_training, votes, choice, plain_start, first_kept) for note in kind(rounds)
    ]


def initial_training(rounds: Sequence[Round]) -> list[str]:
    """Number of epochs of a first round that was trained until its loss converged, and whether it did."""
    scores = rounds[0].scores if rounds else {}
    if "initial_epochs" not in scores:
        return []
    share = scores.get("initial_loss_share", 0.0)
    trained = f"the first round was trained on its given labels for {scores['initial_epochs']:.0f} epochs"
    if not scores.get("initial_converged"):
        remedy = "raise initial_max_epochs, or initial_tolerance"
        return [f"{trained}, the maximum, and the loss had not converged; {remedy}"]
    unlearned = "; nothing was learned: change learning_rate" if share >= UNLEARNED_SHARE else ""
    return [f"{trained}, until the loss converged at {share:.0%} of the first epoch's{unlearned}"]


def choice(rounds: Sequence[Round]) -> list[str]:
    """The candidate that ``best-of`` chose in the last round, why, and the runner-up; those that were not run."""
    from fiftyone_deepcluster.clusterers.best_of import NOT_RUN
    from fiftyone_deepcluster.clusterers.candidates import reason

    details = dict(rounds[-1].details) if rounds else {}
    not_run = details.pop(NOT_RUN, [])
    if not {"candidate", "rank", "information"} <= details.keys():
        return []
    return [f"best-of chose {reason(details)}", *(f"best-of: {why}" for why in not_run)]


def not_held_out(groups: NDArray[np.int64], rounds: Sequence[Round]) -> list[str]:
    """A warning if the groups (M,), -1 unknown, left no test images in some rounds."""
    without = sum("test_top1" not in entry.scores for entry in rounds)
    if not without:
        return []
    n_groups = len(np.unique(groups[groups >= 0]))
    reason = f"in {without:,} of {counted(len(rounds), 'round')} no images were held out for testing"
    what = f"groups are never split, and {counted(n_groups, 'group is', 'groups are')} too few or too uneven"
    return [f"{reason}: {what} for the requested shares"]


def not_settled(
    rounds: Sequence[Round], stop_reason: StopReason | None, options: Collection[str]
) -> list[str]:
    """A warning if the clusters had not settled, with what to change among the method's options."""
    change = rounds[-1].change if rounds else None
    scores = rounds[-1].scores if rounds else {}
    if scores.get("information", 0.0) < scores.get("information_first", 0.0):
        return []  # other clusters than those of the last two rounds
    if change is None or change.nmi >= SETTLED_NMI or stop_reason == StopReason.CANCELLED:
        return []
    reached = math.floor(1000 * change.nmi) / 1000  # rounding up could show the threshold that was missed
    others = [f"another {name}" for name in ("n_clusters", "augmentation") if name in options]
    warning = (
        f"the clusters had not settled: those of the last two rounds agree to NMI {reached:.3f} "
        f"(settled runs reach {SETTLED_NMI}); treat them as groups, not as classes, and try "
        f"{' or '.join(['more rounds', *others])}"
    )
    return [warning]
