"""Seconds to write a run's results into FiftyOne, divided by those of bare ``set_values`` calls for the same values.

``python -m benchmarks.write [--n 100000] [--dims 256]`` starts a MongoDB of its own in a temporary folder,
writes N clusters with confidence, distance, margin, a D-dimensional embedding, two 10-round histories and
three figures, once with ``set_values`` (fields declared before, no schema expansion: its fastest form) and
once with this package, into two fresh datasets, and prints both times, their ratio and what was checked.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from benchmarks.own_database import own_database

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone as fo

    from fiftyone_deepcluster.api.fit import FitResult

_CLUSTERS, _ROUNDS = 100, 10


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=100_000, help="images")
    parser.add_argument("--dims", type=int, default=256, help="dimensions of the embeddings")
    args = parser.parse_args()
    with own_database():
        compare(args.n, args.dims)


def compare(n: int, dims: int) -> None:
    """Write the same values both ways and print the figures."""
    result = random_result(n, dims)
    bare, ours = make_dataset(n), make_dataset(n)
    bare_seconds = clock(lambda: write_bare(bare, result))
    our_seconds = clock(lambda: write_ours(ours, result))
    check(ours, bare, result)
    print(f"{n:,} clusters with attributes, {dims}-d embeddings and {_ROUNDS} rounds of history")
    print(f"bare set_values  {bare_seconds:7.1f} s  {n / bare_seconds:9,.0f} images/s")
    print(f"this package     {our_seconds:7.1f} s  {n / our_seconds:9,.0f} images/s")
    print(
        f"ratio            {our_seconds / bare_seconds:7.2f}    (declaring fields and the label index included)"
    )


def random_result(n: int, dims: int) -> FitResult:
    """A result of random values."""
    import numpy as np

    from fiftyone_deepcluster.api.fit import FitResult
    from fiftyone_deepcluster.core.history import RoundHistory
    from fiftyone_deepcluster.core.record import RunRecord
    from fiftyone_deepcluster.core.types import Assignment

    draw = np.random.default_rng(51)
    history = draw.integers(0, _CLUSTERS, (n, _ROUNDS)).astype(np.int32)
    figures = draw.random((3, n), np.float32)
    embeddings = draw.standard_normal((n, dims), np.float32)
    losses = draw.random((n, _ROUNDS), np.float32)
    labels = history[:, -1].astype(np.int64)
    record = RunRecord(method="random", n_images=n, n_clusters=_CLUSTERS)
    centers = draw.standard_normal((_CLUSTERS, dims), np.float32)
    found = Assignment(labels, figures[0], figures[1], figures[2], embeddings, centers)
    rounds = RoundHistory(n)
    for round_labels, round_losses in zip(history.T, losses.T, strict=True):
        rounds.append(round_labels, round_losses)
    return FitResult(found, rounds, record)


def make_dataset(n: int) -> fo.Dataset:
    """A dataset of N samples; the files need not exist."""
    import fiftyone as fo

    dataset = fo.Dataset()
    dataset.add_samples((fo.Sample(filepath=f"/nowhere/{row:07d}.png") for row in range(n)), progress=False)
    return dataset


def write_ours(dataset: fo.Dataset, result: FitResult) -> None:
    """As ``fiftyone_deepcluster.cluster`` does."""
    from fiftyone_deepcluster.dataset.io.fields import FieldNames, declare
    from fiftyone_deepcluster.dataset.io.read_images import collect_images
    from fiftyone_deepcluster.dataset.io.write import Columns, write
    from fiftyone_deepcluster.metrics.matching import cluster_names

    names = FieldNames("dc")
    source = collect_images(dataset)
    declare(dataset, names)
    write(source, names, Columns(result, cluster_names(_CLUSTERS)))


def write_bare(dataset: fo.Dataset, result: FitResult) -> None:
    """The bare calls: one ``set_values`` per field."""
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.fields import FieldNames, declare
    from fiftyone_deepcluster.dataset.io.write import last_finite
    from fiftyone_deepcluster.metrics.matching import changes, cluster_names, stability

    declare(dataset, FieldNames("dc"))
    names = cluster_names(_CLUSTERS)
    labels = result.labels.tolist()
    figures = zip(
        labels, result.confidence.tolist(), result.distance.tolist(), result.margin.tolist(), strict=True
    )
    values: dict[str, list[Any]] = {
        "dc": [
            fo.Classification(label=names[i], confidence=c, cluster=i, distance=d, margin=m)
            for i, c, d, m in figures
        ],
        "dc_embedding": list(result.embeddings),
        "dc_round_labels": list(result.round_labels),
        "dc_round_losses": list(result.round_losses),
        "dc_changes": changes(result.round_labels).tolist(),
        "dc_stability": stability(result.round_labels).tolist(),
        "dc_loss": last_finite(result.round_losses),
    }
    for field, column in values.items():
        dataset.set_values(field, column, expand_schema=False)


def check(ours: fo.Dataset, bare: fo.Dataset, result: FitResult) -> None:
    """Exit with an error if the two datasets differ."""
    import numpy as np

    for path in ("dc.label", "dc.cluster", "dc.distance", "dc_changes", "dc_stability"):
        if ours.values(path) != bare.values(path):
            raise SystemExit(f"{path} differs")
    rows = slice(0, len(result.labels), max(1, len(result.labels) // 1000))
    ids = ours.values("id")[rows]
    if not np.array_equal(np.stack(ours.select(ids).values("dc_embedding")), result.embeddings[rows]):
        raise SystemExit("dc_embedding differs")


def clock(work: Callable[[], None]) -> float:
    """Seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
