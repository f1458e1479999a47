"""Seconds of the Clusters panel's events on a large dataset, beside the bare database calls.

    python -m benchmarks.panel [--n 100000] [--clusters 1000]
    python -m benchmarks.panel --audit [--n 100000]

A MongoDB of its own is started in a temporary folder. N samples with random vectors are clustered once; then each event
is sent to the panel as its React component sends it. The bare call reads or writes the same values of the same samples
through pymongo. With ``--audit`` the events are those of the tab Audit. FiftyOne's server, the request and the browser
come on top of both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from benchmarks.own_database import own_database
from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone as fo

DIMS, REPEATS = 16, 5


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=100_000, help="samples")
    parser.add_argument("--clusters", type=int, default=1_000)
    parser.add_argument("--audit", action="store_true", help="the label audit instead of the clusters")
    args = parser.parse_args()
    with own_database():
        rows = measured_audit(args.n) if args.audit else measured(make_dataset(args.n, args.clusters))
        header = ["event", "median, s", "slowest, s", "bare call, s", "ratio of medians"]
        print(table(header, rows))


def make_dataset(n: int, n_clusters: int) -> fo.Dataset:
    """N samples in one run ``dc``; its first clusters are merged into one of about 10,000 images."""
    import fiftyone as fo
    import numpy as np

    import fiftyone_deepcluster as fdc

    dataset = fo.Dataset("panel")
    dataset.add_samples([fo.Sample(f"/none/{at}.png") for at in range(n)], progress=False)
    rng = np.random.default_rng(0)
    dataset.add_sample_field("vector", fo.VectorField)
    vectors = rng.normal(size=(n_clusters, DIMS))[rng.integers(n_clusters, size=n)]
    vectors = (vectors + 0.1 * rng.normal(size=(n, DIMS))).astype(np.float32)
    dataset.set_values("vector", list(vectors), progress=False)
    options = {"n_clusters": n_clusters, "embeddings_field": "vector", "compute_brain": False}
    fdc.cluster(dataset, "frozen", "dc", baselines=False, progress=False, **options)
    review = fdc.review(dataset, "dc")
    large = [info.name for info in fdc.load_run(dataset, "dc").clusters(n_exemplars=0)]
    review.merge(large[: max(2, n_clusters // 10)], into="large")
    return dataset


def measured(dataset: fo.Dataset) -> list[list[str]]:
    """One row for each event."""
    ask = asker(dataset)
    samples, label = dataset._sample_collection, "dc.label"
    names = [row["name"] for row in ask("load", key="dc")["clusters"]]
    asked = {"key": "dc", "order": "nearest", "offset": 0, "limit": 200}
    one, other = names[1], names[2]
    ids = [document["_id"] for document in samples.find({label: "large"}, {"_id": 1}).limit(500)]
    chosen = {"ids": [str(name) for name in ids]}

    def edit(**verb: Any) -> Any:
        return ask("edit", key="dc", edit=verb, dry_run=False)

    def write(match: dict[str, Any]) -> None:
        now = datetime.now(timezone.utc)
        samples.update_many(match, {"$set": {label: "other", "last_modified_at": now}})
        samples.update_many({label: "other"}, {"$set": {label: "large", "last_modified_at": now}})

    group = [{"$match": {label: {"$ne": None}}}, {"$group": {"_id": f"${label}", "n": {"$sum": 1}}}]
    sort = [{"$match": {label: one}}, {"$sort": {"dc.distance": 1}}, {"$limit": 200}]
    size = dataset.count_values(label)["large"]
    events: list[tuple[str, Callable[[], Any], Callable[[], Any], float]] = [
        ("open: all clusters", lambda: ask("load", key="dc"), lambda: list(samples.aggregate(group)), 1),
        (
            "strips of 60 clusters",
            lambda: ask("strips", key="dc", clusters=names[1:61], n=16),
            lambda: [list(samples.find({label: name}).limit(16)) for name in names[1:61]],
            1,
        ),
        (
            "next cluster",
            lambda: ask("images", cluster=one, **asked),
            lambda: list(samples.aggregate(sort)),
            1,
        ),
        (
            f"page of a cluster of {size:,}",
            lambda: ask("images", cluster="large", **asked),
            lambda: list(samples.aggregate([{"$match": {label: "large"}}, *sort[1:]])),
            1,
        ),
        (
            "move 500 images, and undo",
            lambda: (edit(verb="move", images=chosen, to=other), edit(verb="undo")),
            lambda: write({"_id": {"$in": ids}}),
            2,
        ),
        (
            f"rename {size:,} images, and undo",
            lambda: (edit(verb="rename", cluster="large", new_name="larger"), edit(verb="undo")),
            lambda: write({label: "large"}),
            2,
        ),
        (
            "poll",
            lambda: ask("poll", key="dc", version=0),
            lambda: dataset._sample_collection.database.command("ping"),
            1,
        ),
    ]
    return [row_of(name, ours, bare, parts) for name, ours, bare, parts in events]


def make_audit(n: int, n_classes: int = 10) -> fo.Dataset:
    """N samples in classes, 10 % of the labels wrong, with an audit ``audit``."""
    import fiftyone as fo
    import numpy as np

    import fiftyone_deepcluster as fdc

    dataset = fo.Dataset("audit")
    dataset.add_samples([fo.Sample(f"/none/{at}.png") for at in range(n)], progress=False)
    rng = np.random.default_rng(0)
    classes = rng.integers(n_classes, size=n)
    vectors = (rng.normal(size=(n_classes, DIMS))[classes] + rng.normal(size=(n, DIMS))).astype(np.float32)
    labels = np.where(rng.random(n) < 0.1, rng.integers(n_classes, size=n), classes)
    dataset.add_sample_field("vector", fo.VectorField)
    dataset.set_values("vector", list(vectors), progress=False)
    dataset.set_values(
        "truth", [fo.Classification(label=f"class {label}") for label in labels], progress=False
    )
    fdc.audit_labels(dataset, "truth", embeddings_field="vector")
    return dataset


def measured_audit(n: int) -> list[list[str]]:
    """One row for each event of the tab Audit; the slowest decision is the last of them."""
    started = time.perf_counter()
    dataset = make_audit(n)
    print(f"made and audited in {time.perf_counter() - started:.0f} s\n", flush=True)
    ask = asker(dataset)
    samples = dataset._sample_collection
    undecided = {"audit_rank": {"$gte": 0}, "audit_decision": None}

    def bare(n_items: int, **more: Any) -> list[Any]:
        found = list(samples.find({**undecided, **more}).sort("audit_rank", 1).limit(n_items))
        near = [ObjectId(name) for document in found for name in document.get("audit_neighbors") or ()]
        return [found, list(samples.find({"_id": {"$in": near}}))]

    def queue(n_items: int, *, count: bool = False, **wanted: Any) -> Any:
        return ask("audit_queue", audit="audit", n=n_items, first=None, wanted=wanted, count=count)

    def decide() -> Any:
        image = queue(1)["items"][0]["id"]
        start = time.perf_counter()
        edit = {"verb": "decide", "image": image, "decision": "keep"}
        ask("audit_edit", audit="audit", edit=edit, version=0)
        return time.perf_counter() - start

    def write() -> None:
        one = samples.find_one(undecided, {"_id": 1})
        samples.update_one({"_id": one["_id"]}, {"$set": {"audit_decision": None}})

    pair = queue(1)["items"][0]
    cell = {"given": pair["given"], "suggestion": pair["suggestion"], "p_wrong": 0.5}
    inside = {
        "audit_given": pair["given"],
        "audit_suggestion": pair["suggestion"],
        "audit_p_wrong": {"$gte": 0.5},
    }
    rows = [
        row_of(
            "open: tables",
            lambda: ask("audit_load", audit="audit"),
            lambda: samples.count_documents(undecided),
            1,
        ),
        row_of("next image", lambda: queue(1), lambda: bare(1), 1),
        row_of("next 20 images", lambda: queue(20), lambda: bare(20), 1),
        row_of("a queue is opened", lambda: queue(20, count=True), lambda: bare(20), 1),
        row_of("that of a cell", lambda: queue(20, count=True, **cell), lambda: bare(20, **inside), 1),
        row_of(
            "poll",
            lambda: ask("audit_poll", audit="audit", version=0),
            lambda: samples.database.command("ping"),
            1,
        ),
    ]
    for number in (10, 100, 500):
        mine = [decide() for _ in range(number)]
        theirs = statistics.median(seconds(write) for _ in range(REPEATS))
        middle = statistics.median(mine[-10:])
        rows.append(
            [
                f"a decision, after {number:,} more",
                f"{middle:.3f}",
                f"{max(mine):.3f}",
                f"{theirs:.3f}",
                f"{middle / theirs:.1f}",
            ]
        )
    rows.append(row_of("next 20 images, after them", lambda: queue(20), lambda: bare(20), 1))
    start = time.perf_counter()
    ask("audit_refit", audit="audit")
    rows.append(["refit", f"{time.perf_counter() - start:.1f}", "", "", ""])
    return rows


def row_of(name: str, ours: Callable[[], Any], bare: Callable[[], Any], parts: float) -> list[str]:
    """Times of an event that consists of ``parts`` equal parts."""
    mine = [seconds(ours) / parts for _ in range(REPEATS)]
    theirs = statistics.median(seconds(bare) / parts for _ in range(REPEATS))
    middle = statistics.median(mine)
    return [name, f"{middle:.3f}", f"{max(mine):.3f}", f"{theirs:.3f}", f"{middle / max(theirs, 1e-4):.1f}"]


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def asker(dataset: fo.Dataset) -> Callable[..., Any]:
    """Function that sends an event to the panel and returns the value of its answer."""
    from fiftyone.operators.executor import ExecutionContext, Executor

    from fiftyone_deepcluster.app.panels.clusters import ClustersPanel

    panel = ClustersPanel()

    def ask(event: str, **params: Any) -> Any:
        given = {"panel_id": "p", "panel_state": {}, "__method__": event, **params}
        request = {"dataset_name": dataset.name, "params": given}
        answer = panel.execute(ExecutionContext(request_params=request, executor=Executor()))
        if answer is None or "message" in answer:
            raise SystemExit(f"{event}: {answer}")
        return answer["value"]

    return ask


if __name__ == "__main__":
    main()
