"""Our share of the time of a keystroke in the App's form: drawing the form of every method again.

    python -m benchmarks.form

A dataset of ten samples is made and deleted. The limit we set ourselves is 50 ms; FiftyOne's own share, the request
and the browser come on top.
"""

from __future__ import annotations

import argparse
import statistics
import time

import fiftyone as fo
import fiftyone.operators as foo

from benchmarks.report import table
from fiftyone_deepcluster.app.operators import ClusterImages
from fiftyone_deepcluster.methods.base import list_methods

LIMIT = 50.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=30, help="keystrokes for each method")
    keys = parser.parse_args().keys
    dataset = fo.Dataset()
    try:
        dataset.add_samples([fo.Sample(f"/none/{i}.png") for i in range(10)], progress=False)
        rows = [[method, *measured(dataset, method, keys)] for method in list_methods()]
    finally:
        dataset.delete()
    print(table(["method", "median, ms", "worst, ms", f"median / limit of {LIMIT:.0f} ms"], rows))


def measured(dataset: fo.Dataset, method: str, keys: int) -> list[str]:
    """Milliseconds of ``keys`` drawings of one method's whole form; the first warms up."""
    spent = []
    for _ in range(keys + 1):
        params = {"method": {"name": method, method: {"show_advanced": True}}, "key": "abc"}
        context = foo.ExecutionContext(
            request_params={"dataset_name": dataset.name, "params": params}, executor=foo.executor.Executor()
        )
        _ = context.view
        start = time.perf_counter()
        ClusterImages().resolve_input(context)
        spent.append(1000 * (time.perf_counter() - start))
    median = statistics.median(spent[1:])
    return [f"{median:.1f}", f"{max(spent[1:]):.1f}", f"{median / LIMIT:.2f}"]


if __name__ == "__main__":
    main()
