"""Settings of this process that a public call must leave as it found them."""

from __future__ import annotations

import decimal
import hashlib
import locale
import logging
import os
import pickle
import random
import signal
import socket
import sys
import threading
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

# FiftyOne notes once whether it runs in a notebook.
_NOT_OURS = {"FIFTYONE_CONTEXT"}


def _digest(value: object) -> str:
    return hashlib.sha256(pickle.dumps(value)).hexdigest()[:12]


def _of_python() -> dict[str, Any]:
    facts: dict[str, Any] = {
        "Python's random state": _digest(random.getstate()),
        "working directory": str(Path.cwd()),
        "umask": _umask(),
        "locale": locale.setlocale(locale.LC_ALL),
        "recursion limit": sys.getrecursionlimit(),
        "socket timeout": socket.getdefaulttimeout(),
        "decimal context": repr(decimal.getcontext()),
        "sys.excepthook": sys.excepthook,
        "warnings.showwarning": warnings.showwarning,
        "warning filters": tuple(map(str, warnings.filters)),
        "root logger": (
            logging.getLogger().level,
            logging.getLogger().disabled,
            logging.root.manager.disable,
        ),
    }
    if not str(getattr(threading.excepthook, "__module__", "")).startswith("_pytest"):
        facts["threading.excepthook"] = threading.excepthook  # pytest before 8.4 sets its own during a test
    facts |= _signals()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    facts |= {f"environment variable {name}": environment[name] for name in environment.keys() - _NOT_OURS}
    if _connected():
        del facts["Python's random state"]
    return facts


def _signals() -> dict[str, Any]:
    """Handlers, without pytest-timeout's, which comes and goes during a test."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return {
        f"signal {int(number)}": signal.SIG_DFL if "pytest_timeout" in repr(handler) else handler
        for number, handler in handlers.items()
    }


def _connected() -> bool:
    """Whether MongoDB's driver is at work: it numbers its messages by Python's generator, also in the background."""
    database = sys.modules.get("fiftyone.core.odm.database")
    return database is not None and database._client is not None


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def _of_loggers() -> dict[str, Any]:
    """Levels of loggers; those made meanwhile by an import have none to compare."""
    loggers = {
        name: item
        for name, item in list(logging.root.manager.loggerDict.items())
        if isinstance(item, logging.Logger)
    }
    return {
        f"logging level of {name}": (item.level, item.disabled, item.propagate)
        for name, item in loggers.items()
    }


def open_files() -> Counter[str]:
    """Open regular files and folders, by path and how often; none where the system does not list them."""
    counts: Counter[str] = Counter()
    listed = Path("/proc/self/fd")
    for link in listed.iterdir() if listed.is_dir() else ():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("/") and not target.startswith(("/dev/", "/proc/")):
            counts[target] += 1
    return counts


def _of_numpy(numpy: Any) -> dict[str, Any]:
    return {
        "NumPy's random state": _digest(numpy.random.get_state()),
        "NumPy's error handling": numpy.geterr(),
        "NumPy's print options": numpy.get_printoptions(),
    }


def _of_torch(torch: Any) -> dict[str, Any]:
    return {
        "torch's threads": torch.get_num_threads(),
        "torch's threads in new threads": _in_new_thread(torch.get_num_threads),
        "torch's threads between operations": torch.get_num_interop_threads(),
        "torch's random state": _digest(torch.get_rng_state().numpy().tobytes()),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": str(torch.get_default_device()),
        "torch's deterministic flags": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.allow_tf32,
            torch.get_float32_matmul_precision(),
        ),
        "torch's gradients": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_anomaly_enabled(),
        ),
        "torch's autocast": torch.is_autocast_enabled("cpu"),
    }


def _in_new_thread(ask: Any) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(ask()))
    thread.start()
    thread.join()
    return found[0]


_FOUND: dict[int, Any] = {}
"""Controller of thread pools by number of loaded modules: searching again after each test would take minutes."""


def _of_threadpools(threadpoolctl: Any) -> dict[str, Any]:
    n_modules = len(sys.modules)
    if n_modules not in _FOUND:
        _FOUND.clear()
        _FOUND[n_modules] = threadpoolctl.ThreadpoolController()
    return {
        f"threads of {Path(pool['filepath']).name} ({pool['user_api']})": pool["num_threads"]
        for pool in _FOUND[n_modules].info()
    }


def _of_pillow(image: Any) -> dict[str, Any]:
    from PIL import ImageFile

    return {"Pillow's limits": (image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)}


def _of_pydicom(config: Any) -> dict[str, Any]:
    names = (
        "enforce_valid_values",
        "datetime_conversion",
        "use_DS_decimal",
        "use_DS_numpy",
        "use_IS_numpy",
        "INVALID_KEYWORD_BEHAVIOR",
        "replace_un_with_known_vr",
        "use_none_as_empty_text_VR_value",
        "convert_wrong_length_to_UN",
        "assume_implicit_vr_switch",
    )
    facts = {f"pydicom.config.{name}": getattr(config, name, None) for name in names}
    return {
        **facts,
        "pydicom's validation": (
            config.settings.reading_validation_mode,
            config.settings.writing_validation_mode,
        ),
    }


_MODULES = "modules"
_BY_MODULE = {
    "numpy": _of_numpy,
    "torch": _of_torch,
    "threadpoolctl": _of_threadpools,
    "PIL.Image": _of_pillow,
    "pydicom.config": _of_pydicom,
}


def process_facts() -> dict[str, Any]:
    """Current settings by name, of Python and of the loaded libraries."""
    facts = _of_python() | _of_loggers()
    for name, ask in _BY_MODULE.items():
        module = sys.modules.get(name)
        if module is not None:
            facts |= ask(module)
    return {**facts, _MODULES: set(sys.modules)}


_SET_BY_IMPORTS = ("warning filters", "sys.excepthook", "threading.excepthook")


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """One line for every setting that differs.

    If a module was imported in between, warning filters, exception hooks and new environment variables are ignored:
    libraries add their own on import. Settings of libraries that were not loaded before are always ignored.
    """
    imported = [
        name
        for name in after[_MODULES] - before[_MODULES]
        if not name.startswith(("fiftyone_deepcluster", "tests"))
    ]
    found = []
    for name in sorted(before.keys() | after.keys()):
        compared = name in before and name in after
        if name == _MODULES or (not compared and not name.startswith("environment")):
            continue
        if imported and (name in _SET_BY_IMPORTS or name not in before):
            continue
        if before.get(name) != after.get(name):
            found.append(f"{name}: {before.get(name, 'unset')} before, {after.get(name, 'unset')} after")
    return found
