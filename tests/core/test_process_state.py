"""Settings of the process and its threads are restored, also after overlapping calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info, threadpool_limits

from fiftyone_deepcluster.core.process_state import (
    blas_of_one_thread,
    deterministic_cudnn,
    ignored_warnings,
    kept_threads,
    one_thread,
    seeded_torch,
    set_torch_threads,
)
from tests.process_facts import changes, process_facts


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture(params=[1, 3])
def threads(request):
    """Numbers of threads that no machine has by itself, in this thread and for BLAS."""
    import faiss  # noqa: F401  # older releases bring a BLAS that uses OpenMP

    before = torch.get_num_threads()
    with threadpool_limits(request.param + 1, user_api="blas"):
        set_torch_threads(
            request.param
        )  # after the limit: a BLAS that uses OpenMP changes torch's number, too
        yield request.param
    set_torch_threads(before)


def test_libraries_that_are_imported_later_are_limited_too():
    code = (
        "from fiftyone_deepcluster.core.process_state import one_thread\n"
        "with one_thread(): pass\n"
        "import scipy.linalg, sklearn.cluster\n"
        "from threadpoolctl import threadpool_info\n"
        "with one_thread(): print([pool['num_threads'] for pool in threadpool_info()])"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    numbers = json.loads(done.stdout)
    assert len(numbers) > 2
    assert set(numbers) == {1}


def overlapping(make):
    """Two threads enter a context one after the other, and leave it in the same order."""
    steps = [threading.Event() for _ in range(3)]

    def first():
        with make():
            steps[0].set()
            assert steps[1].wait(30)
        steps[2].set()

    def second():
        assert steps[0].wait(30)
        with make():
            steps[1].set()
            assert steps[2].wait(30)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result(60)


def test_threads_are_set_for_the_calling_thread_alone(threads):
    with ThreadPoolExecutor(1) as other:
        default = other.submit(torch.get_num_threads).result()
        set_torch_threads(threads + 4)
        assert torch.get_num_threads() == threads + 4
        assert other.submit(torch.get_num_threads).result() == default
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == default


@pytest.mark.parametrize("context", [one_thread, kept_threads, blas_of_one_thread])
def test_numbers_of_threads_are_restored(threads, context):
    before = process_facts()
    assert set(blas_threads()) == {threads + 1}
    with context(), context():
        if context is not kept_threads:
            assert set(blas_threads()) == {1}
        if context is one_thread:
            assert torch.get_num_threads() == 1
    assert changes(before, process_facts()) == []


@pytest.mark.parametrize("context", [one_thread, kept_threads, blas_of_one_thread])
def test_numbers_of_threads_are_restored_after_overlapping_calls(threads, context):
    before = process_facts()
    overlapping(context)
    assert changes(before, process_facts()) == []


def test_changes_by_others_inside_the_context_are_undone(threads):
    before = process_facts()
    with kept_threads():
        threadpool_limits(threads + 5)  # as numba's OpenMP layer: never restored
        assert torch.get_num_threads() == threads + 5
    assert changes(before, process_facts()) == []


def test_numbers_of_threads_are_restored_after_an_error(threads):
    before = process_facts()
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert changes(before, process_facts()) == []


def test_umap_does_not_change_the_number_of_threads(threads):
    from fiftyone_deepcluster.dataset.display.brain import map_to_2d
    from fiftyone_deepcluster.reducers.umap import Umap

    digits = torch.from_numpy(load_digits().data[:100]).float()
    Umap(n_components=2, epochs=5).embed(digits, seed=0)
    map_to_2d(digits.numpy())
    assert torch.get_num_threads() == threads


def test_warnings_are_ignored_inside_only():
    before = list(warnings.filters)
    with ignored_warnings(ConvergenceWarning, "too .* iterations"):
        warnings.warn("no end", ConvergenceWarning, stacklevel=1)
        warnings.warn("Too many iterations", UserWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="another"):
            warnings.warn("another", UserWarning, stacklevel=1)
    assert warnings.filters == before
    with pytest.raises(ConvergenceWarning):
        warnings.warn("no end", ConvergenceWarning, stacklevel=1)


def test_warning_filters_are_restored_after_overlapping_calls():
    before = list(warnings.filters)
    overlapping(lambda: ignored_warnings(ConvergenceWarning))
    assert warnings.filters == before


@pytest.mark.parametrize("callers_ends_first", [True, False])
def test_warning_filters_are_restored_inside_the_callers_catch_warnings(callers_ends_first):
    before, ours, callers = list(warnings.filters), ExitStack(), ExitStack()
    ours.enter_context(ignored_warnings(ConvergenceWarning))
    callers.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore", DeprecationWarning)
    for stack in (callers, ours) if callers_ends_first else (ours, callers):
        stack.close()
    assert warnings.filters == before


def test_seeded_torch_gives_the_same_numbers_and_puts_the_state_back():
    before = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with seeded_torch(5):
            drawn.append(torch.rand(4))
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), before)


def test_cudnn_is_deterministic_as_long_as_anyone_needs_it():
    from torch.backends import cudnn

    before = cudnn.deterministic, cudnn.benchmark
    with deterministic_cudnn():
        assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
    overlapping(deterministic_cudnn)
    assert (cudnn.deterministic, cudnn.benchmark) == before
