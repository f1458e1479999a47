"""One seed: bitwise equal results with the same number of threads, and nearly the same clusters with another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.methods.base import parse_options
from fiftyone_deepcluster.metrics.agreement import agreement
from tests.process_facts import changes, open_files, process_facts

SCRIPT = """
import json
import sys
import numpy as np
import torch
from sklearn.datasets import load_digits
import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.methods.base import parse_options

torch.set_num_threads(int(sys.argv[2]))  # OMP_NUM_THREADS is a bound, which MKL lowers to the number of cores
images = (load_digits().images[:600] * 15.9375).astype(np.uint8)
common = {"n_clusters": 10, "rounds": 2, "seed": 51, "baselines": False}
found = {"threads": torch.get_num_threads()}
for method, more in json.loads(sys.argv[3]).items():
    options = parse_options(method, common | more)
    first, second = (fdc.fit(images, options) for _ in range(2))
    equal = all(
        np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True)
        for name in ("labels", "confidence", "distance", "margin", "embeddings", "round_labels", "round_losses")
    )
    found[method] = {"equal": equal, "labels": first.labels.tolist()}
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
"""
SHORT = {"image_size": 16, "min_steps": 30}
AGREEMENT = {
    "deepcluster": (SHORT, 0.85),
    "deepcluster-manifold": (SHORT, 0.85),
    "ucnn": ({"pixel_epochs": 5}, 0.4),
}
"""Further options, and the least NMI of the labels between one thread and two; see docs/guide/reproducibility.md.

UCNN makes its targets batch by batch, from centers that the batch before has moved: rounding decides more there."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a process with one thread, and one with two, found: each method is fitted twice."""
    folder = tmp_path_factory.mktemp("threads")
    methods = json.dumps({method: more for method, (more, _) in AGREEMENT.items()})
    answers = []
    for threads in ("1", "2"):  # more than cores would take minutes
        path = folder / f"{threads}.json"
        variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SCRIPT, str(path), threads, methods],
            capture_output=True, text=True, check=False, env={**os.environ, **variables},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        answers.append(json.loads(path.read_text()))
    assert [answer["threads"] for answer in answers] == [1, 2]
    return answers


@pytest.mark.slow
@pytest.mark.parametrize("method", AGREEMENT)
def test_one_seed_gives_the_same_clusters_with_the_same_and_nearly_with_another_number_of_threads(
    found, method
):
    one, other = (answer[method] for answer in found)
    assert one["equal"]
    assert other["equal"]
    assert agreement(np.array(one["labels"]), np.array(other["labels"])).nmi >= AGREEMENT[method][1]


FIRST_CALL = """
import random
import sys
random.seed(3)
before = random.getstate()
import numpy as np
import fiftyone_deepcluster as fdc
images = np.random.default_rng(0).integers(0, 255, (40, 8, 8)).astype(np.uint8)
fdc.fit(images, fdc.Frozen(n_clusters=3, baselines=False))
print(random.getstate() == before, "torchvision" in sys.modules)
"""


def test_the_first_call_of_a_process_draws_from_no_generator_of_the_caller():
    """Libraries that are imported by the first call may draw random numbers, as ``rich`` does.

    torchvision takes seconds to import, and clusters of pixels do not need it.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FIRST_CALL], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "True False", done.stderr[-3000:]


# ---------------------------------------------------------------- calls at the same time

METHODS = {
    "deepcluster": {"n_clusters": 5, "rounds": 2, "image_size": 16, "min_steps": 5},
    "deepcluster-manifold": {"n_clusters": 5, "rounds": 1, "image_size": 16, "min_steps": 5},
    "frozen": {"n_clusters": 5, "clusterer": "gmm"},
}


@contextmanager
def two_at_once():
    barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2, initializer=barrier.wait) as pool:
        yield pool


@pytest.mark.parametrize("method", METHODS)
def test_two_calls_at_once_give_what_each_gives_alone_and_leave_the_process_as_it_was(method):
    images = (load_digits().images[:120] * 15.9375).astype(np.uint8)

    def work(seed):
        found = fdc.fit(images, _options(method, seed))
        return found.labels, found.embeddings

    alone = [work(seed) for seed in (1, 2)]
    before, opened = process_facts(), open_files()
    with two_at_once() as pool:
        together = list(pool.map(work, (1, 2)))
    assert changes(before, process_facts()) == []
    assert not open_files() - opened
    for (labels, vectors), (same_labels, same_vectors) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(labels, same_labels)
        np.testing.assert_array_equal(vectors, same_vectors)
    assert not np.array_equal(alone[0][0], alone[1][0]), "the seeds differ"


def _options(method, seed):
    return parse_options(method, {**METHODS[method], "seed": seed, "baselines": False})
