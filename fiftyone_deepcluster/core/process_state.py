"""Change process-wide or thread-wide settings; the context managers restore them on exit.

Thread counts, warning filters and torch's random generator are shared with the caller's code and with
concurrent calls. Where calls that change the same setting overlap, the last one to exit restores it:
if each call restored the value it found, the value set by an overlapping call could remain.
"""

from __future__ import annotations

import random
import re
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator


def _import_rich() -> None:
    """Import ``rich``, which scikit-learn would import later, and which draws from Python's generator when imported."""
    state = random.getstate()
    import rich.style  # noqa: F401

    random.setstate(state)


_import_rich()

_TORCH_THREADS = threading.Lock()
_TORCH_RANDOM = threading.RLock()


def set_torch_threads(n: int) -> None:
    """Set torch's number of threads for the calling thread only.

    ``torch.set_num_threads`` also changes the default of threads started later; that default is restored.
    """
    import torch

    with _TORCH_THREADS, ThreadPoolExecutor(1) as other:
        default = other.submit(torch.get_num_threads).result()
        torch.set_num_threads(n)
        other.submit(torch.set_num_threads, default).result()


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch, OpenMP and BLAS to one thread within the context.

    torch and OpenMP are limited in the calling thread only, BLAS in the whole process.
    """
    import torch

    with kept_threads():
        before = torch.get_num_threads()
        with _BLAS.held(one=True):
            if before > 1:
                set_torch_threads(1)
            _THREAD_POOLS.of("openmp").limit(limits=1)  # restored by kept_threads
            try:
                yield
            finally:
                if before > 1:
                    set_torch_threads(before)


@contextmanager
def kept_threads() -> Iterator[None]:
    """Restore on exit the thread counts that other libraries change within the context.

    Numba's OpenMP layer, used by UMAP, sets the calling thread's OpenMP threads to the number of cores and
    does not restore them; torch then uses that number. scikit-learn temporarily limits BLAS.
    """
    import torch

    torch.get_num_threads()  # its first call in a thread sets that thread's OpenMP threads
    before = _THREAD_POOLS.of("openmp").limit(limits=None)
    try:
        with _BLAS.held(one=False):
            yield
    finally:  # last: a BLAS that uses OpenMP, such as Faiss', sets the number of OpenMP, too
        before.restore_original_limits()


class _ThreadPools:
    """OpenMP and BLAS libraries of the process; a search takes milliseconds, so only an import leads to a new one."""

    def __init__(self) -> None:
        self._n_modules = 0
        self._controller: Any = None

    def of(self, user_api: str) -> Any:
        """Controller of ``"openmp"`` or ``"blas"``."""
        from threadpoolctl import ThreadpoolController

        n_modules = len(sys.modules)
        if n_modules != self._n_modules:
            self._controller, self._n_modules = ThreadpoolController(), n_modules
        return self._controller.select(user_api=user_api)


_THREAD_POOLS = _ThreadPools()


class _Blas:
    """BLAS' number of threads, which is shared by all threads of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = self._limiting = 0
        self._libraries: Any = None
        self._found: Any = None

    @contextmanager
    def held(self, *, one: bool) -> Iterator[None]:
        """Restore the number when the last holder exits; with ``one``, limit it to one thread within."""
        self._enter(one)
        try:
            yield
        finally:
            self._leave(one)

    def _enter(self, one: bool) -> None:
        with self._lock:
            if not self._holders:
                self._libraries = _THREAD_POOLS.of("blas")
                self._found = self._libraries.limit(limits=None)
            self._holders += 1
            self._limiting += one
            if one and self._limiting == 1:
                self._libraries.limit(limits=1)

    def _leave(self, one: bool) -> None:
        with self._lock:
            self._holders -= 1
            self._limiting -= one
            if not self._holders or (one and not self._limiting):
                self._found.restore_original_limits()


_BLAS = _Blas()


@contextmanager
def blas_of_one_thread() -> Iterator[None]:
    """Limit BLAS to one thread in the whole process; the calling thread's OpenMP threads are restored, too."""
    with kept_threads(), _BLAS.held(one=True):
        yield


class _Cudnn:
    """cuDNN's choice of algorithms, which is shared by all threads of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._found = False, False

    def enter(self) -> None:
        """Choose deterministic algorithms; the first holder saves the settings."""
        from torch.backends import cudnn

        with self._lock:
            if not self._holders:
                self._found = cudnn.deterministic, cudnn.benchmark
            self._holders += 1
            cudnn.deterministic, cudnn.benchmark = True, False

    def leave(self) -> None:
        """Undo one ``enter``; the last holder restores the settings."""
        from torch.backends import cudnn

        with self._lock:
            self._holders -= 1
            if not self._holders:
                cudnn.deterministic, cudnn.benchmark = self._found


_CUDNN = _Cudnn()


@contextmanager
def deterministic_cudnn() -> Iterator[None]:
    """Use deterministic cuDNN algorithms within the context: convolutions sum gradients in the same order in every run.

    cuDNN's benchmark mode is off, too, since the fastest algorithm may differ between runs.
    """
    _CUDNN.enter()
    try:
        yield
    finally:
        _CUDNN.leave()


class _Ignored:
    """Reference-counted warning filters: installed by the first user, removed by the last.

    ``warnings.catch_warnings`` is not thread-safe: it restores the whole list of filters, so overlapping
    threads leave each other's filters behind and discard those that the caller sets meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: dict[tuple[Any, ...], int] = {}
        self._lists: dict[tuple[Any, ...], list[Any]] = {}

    def add(self, item: tuple[Any, ...]) -> None:
        """Register a user of the filter; the first one installs it."""
        with self._lock:
            self._users[item] = self._users.get(item, 0) + 1
            if self._users[item] == 1:
                self._lists[item] = cast("list[Any]", warnings.filters)
                self._lists[item].insert(0, item)

    def drop(self, item: tuple[Any, ...]) -> None:
        """Undo one ``add``."""
        with self._lock:
            self._users[item] -= 1
            if self._users[item]:
                return
            del self._users[item]
            # catch_warnings in the caller's code may have replaced the list.
            lists = {id(known): known for known in (self._lists.pop(item), warnings.filters)}
            for known in lists.values():
                if item in known:
                    cast("list[Any]", known).remove(item)


_IGNORED = _Ignored()


@contextmanager
def ignored_warnings(*wanted: str | type[Warning]) -> Iterator[None]:
    """Ignore warnings by category, or by a regular expression that matches the message."""
    with ExitStack() as stack:
        for what in wanted:
            message = re.compile(what, re.IGNORECASE) if isinstance(what, str) else None
            item = ("ignore", message, Warning if isinstance(what, str) else what, None, 0)
            _IGNORED.add(item)
            stack.callback(_IGNORED.drop, item)
        yield


class _Said:
    """What was said once in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[Hashable] = set()
        self._last: dict[Hashable, Hashable] = {}

    def first_time(self, what: Hashable) -> bool:
        """Whether this is the first call with ``what``."""
        with self._lock:
            before = len(self._known)
            self._known.add(what)
            return len(self._known) > before

    def changed(self, what: Hashable, state: Hashable) -> bool:
        """Whether the last call with ``what`` had another state, or there was none."""
        with self._lock:
            before = self._last.get(what)
            self._last[what] = state
            return before != state


_SAID = _Said()


def first_time(what: Hashable) -> bool:
    """Whether this process has not called this with ``what`` before; for warnings in calls that are repeated often."""
    return _SAID.first_time(what)


def changed(what: Hashable, state: Hashable) -> bool:
    """Whether the state of something differs from that of the last call in this process; at first: from None."""
    return _SAID.changed(what, state)


@contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator within the context, for functions that accept no generator.

    The state is restored on exit. A lock admits one caller at a time, so keep the body short.
    """
    import torch

    with _TORCH_RANDOM, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the GPUs
        yield
