"""The ``doctor`` command: check the installation and name the command that fixes each problem."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fiftyone_deepcluster
from fiftyone_deepcluster.cli.checks import Check, check_installed, pip_install, requirement_of, version_of
from fiftyone_deepcluster.cli.database import check_mongod, database_uri
from fiftyone_deepcluster.cli.plugin import PLUGIN_NAME
from fiftyone_deepcluster.core.disk import folder_bytes, folder_problem
from fiftyone_deepcluster.core.environment import Need, child_environment
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Callable

_PYTHONS = ((3, 10), (3, 13))  # first and last version of requires-python in pyproject.toml
_PROBE_SECONDS = 180
_BROWSERS = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
CLEAN_COMMAND = "fiftyone-deepcluster doctor --clean"
_LOW_DISK_BYTES = 5 * 2**30
# one transfer syntax (pydicom name) per image compression format
_CODECS = {
    "JPEG": "JPEGBaseline8Bit",
    "JPEG lossless": "JPEGLosslessSV1",
    "JPEG-LS": "JPEGLSLossless",
    "JPEG 2000": "JPEG2000Lossless",
    "RLE": "RLELossless",
}


def examine(*, deep: bool = False, dev: bool = False) -> list[Check]:
    """Run all checks, ordered such that earlier problems should be fixed first.

    Args:
        deep: also connect to the database, which FiftyOne starts.
        dev: also check the requirements of the tests.
    """
    mongod = check_mongod()
    steps: list[Callable[[], Check | list[Check]]] = [
        _check_python,
        _check_package,
        lambda: mongod,
        partial(_check_fiftyone, mongod, deep=deep),
        _check_torch,
        _check_torchvision,
        _check_faiss,
        partial(check_installed, "umap", "umap-learn"),
        partial(check_installed, "accelerate", "accelerate"),
        _check_dicom,
        _check_disk,
    ]
    if dev:
        steps.append(_check_browser)
    checks: list[Check] = []
    for step in steps:
        found = step()
        checks += found if isinstance(found, list) else [found]
    return checks


def _check_python() -> Check:
    first, last = _PYTHONS
    here = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro} at {sys.executable}"
    if first <= sys.version_info[:2] <= last:
        return Check("Python", "ok", here)
    need = f"{here}; needs {first[0]}.{first[1]} to {last[0]}.{last[1]}"
    return Check("Python", "missing", need, "make demo PYTHON=python3.12")


def _check_package() -> Check:
    folder = Path(fiftyone_deepcluster.__file__).parent
    return Check("fiftyone-deepcluster", "ok", f"{fiftyone_deepcluster.__version__} at {folder}")


def _check_fiftyone(mongod: Check, *, deep: bool) -> list[Check]:
    name = "FiftyOne"
    installed = check_installed("fiftyone", "fiftyone")
    if installed.state != "ok":
        return [Check(name, "missing", installed.detail, installed.fix)]
    if mongod.state != "ok" and (deep or database_uri()):
        return [Check(name, "missing", "cannot connect: fix mongod first", mongod.fix)]
    answer = _probe_fiftyone(deep=deep)
    if isinstance(answer, str):
        return [Check(name, "missing", answer, pip_install(requirement_of("fiftyone")))]
    how = (
        f"connects, {counted(int(str(answer['datasets'])), 'dataset')}"
        if deep
        else "imports; --deep also connects"
    )
    return [
        Check(name, "ok", f"{answer['version']}, {how}"),
        _check_plugin(answer),
        _check_run_files(answer),
        _check_changes(answer),
    ]


def _probe_fiftyone(*, deep: bool) -> dict[str, Any] | str:
    """Report of ``fiftyone_probe`` run in a subprocess, or the reason why it failed."""
    words = [sys.executable, "-m", "fiftyone_deepcluster.cli.fiftyone_probe", PLUGIN_NAME]
    environment = child_environment(Need.SYSTEM, Need.PYTHON, Need.THREADS, Need.CACHE, Need.FIFTYONE)
    if deep:
        words.append("--deep")
    else:
        environment["FIFTYONE_DISABLE_SERVICES"] = "1"
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            words, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return f"did not answer within {_PROBE_SECONDS} s"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return f"fails: {lines[-1]}"
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def _check_plugin(answer: dict[str, Any]) -> Check:
    name = f"plugin {PLUGIN_NAME}"
    if answer["plugin_folder"] is None:
        detail = f"not registered in {answer['plugins_dir']}"
        return Check(name, "missing", detail, "fiftyone-deepcluster install")
    if not answer["plugin_enabled"]:
        return Check(name, "missing", "registered but disabled", f"fiftyone plugins enable {PLUGIN_NAME}")
    errors = answer["plugin_errors"]
    if isinstance(errors, list) and errors:
        last = str(errors[0]).strip().splitlines()[-1]
        return Check(name, "missing", f"does not load: {last}", "fiftyone-deepcluster install")
    return Check(name, "ok", f"registered at {answer['plugin_folder']}")


def _check_run_files(answer: dict[str, Any]) -> Check:
    """Check the size of run files (checkpoints, models), and of those of deleted datasets."""
    name, (folder, n_bytes) = "run files", answer["run_files"]
    detail = f"{in_units(n_bytes)} at {folder}"
    left = answer.get("leftovers")
    problem = folder_problem(Path(folder))
    if problem is not None:
        return Check(name, "missing", f"{detail}; {problem}", "export FIFTYONE_DEFAULT_DATASET_DIR=FOLDER")
    if left is None:
        return Check(name, "ok", f"{detail}; --deep finds those of deleted datasets")
    if left:
        return Check(name, "optional", f"{detail}; {_of_deleted_datasets(left)}", CLEAN_COMMAND)
    return Check(name, "ok", f"{detail}, all of existing datasets")


def _check_changes(answer: dict[str, Any]) -> Check:
    """Check for changes of runs that were interrupted: a process was killed while it deleted or renamed one."""
    unfinished = answer.get("unfinished")
    if unfinished is None:
        return Check("changes of runs", "ok", "--deep finds those that were interrupted")
    if unfinished:
        detail = (
            f"interrupted on {', '.join(map(repr, unfinished))}; listing the runs there also completes them"
        )
        return Check("changes of runs", "optional", detail, CLEAN_COMMAND)
    return Check("changes of runs", "ok", "none was interrupted")


def clean() -> list[Check]:
    """Complete interrupted changes of runs, and delete the run files of deleted datasets."""
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.runs.intents import complete_unfinished, find_datasets
    from fiftyone_deepcluster.dataset.runs.orphans import remove_leftovers

    unfinished = find_datasets()
    for name in unfinished:
        complete_unfinished(fo.load_dataset(name))
    removed = [files.n_bytes for files in remove_leftovers()]
    return [
        _completed(unfinished, set(find_datasets())),
        Check(
            "run files",
            "ok",
            f"removed {_of_deleted_datasets(removed) if removed else 'nothing: no files of deleted datasets'}",
        ),
    ]


def _completed(unfinished: list[str], left: set[str]) -> Check:
    name = "changes of runs"
    if left:
        names = ", ".join(map(repr, sorted(left)))
        detail = f"cannot be completed on {names}: the files of these runs belong to another user"
        return Check(name, "optional", detail, f"{CLEAN_COMMAND}, as that user")
    names = ", ".join(map(repr, unfinished))
    return Check(name, "ok", f"completed on {names}" if unfinished else "none was interrupted")


def _of_deleted_datasets(sizes: list[int]) -> str:
    whose = counted(len(sizes), "deleted dataset")
    return f"{in_units(sum(sizes))} of {whose}"


def in_units(n_bytes: int) -> str:
    """Format a number of bytes as MB or GB."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e7 else f"{n_bytes / 1e6:.2f} MB"


def _check_torch() -> list[Check]:
    installed = check_installed("torch", "torch")
    if installed.state != "ok":
        return [installed]
    import torch

    from fiftyone_deepcluster.core.devices import has_bfloat16

    if torch.cuda.is_available():
        gpus = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
        names = [
            f"{torch.cuda.get_device_name(gpu)} ({'bfloat16' if has_bfloat16(gpu) else 'float32'})"
            for gpu in gpus
        ]
        device = Check("device", "ok", f"cuda: {', '.join(names)}")
    elif shutil.which("nvidia-smi"):
        detail = f"cpu: torch {torch.__version__} cannot use the NVIDIA GPU; its driver may be too old"
        device = Check(
            "device", "optional", detail, pip_install("torch", "torchvision") + " --force-reinstall"
        )
    else:
        device = Check("device", "ok", f"cpu, {torch.get_num_threads()} threads; no GPU found")
    return [Check("torch", "ok", torch.__version__), device]


def _check_torchvision() -> Check:
    installed = check_installed("torchvision", "torchvision")
    if installed.state != "ok":
        return installed
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        detail = f"incompatible with torch {version_of('torch')}: {error}"
        return Check("torchvision", "missing", detail, pip_install("torch", "torchvision") + " --upgrade")
    return Check("torchvision", "ok", str(torchvision.__version__))


def _check_faiss() -> Check:
    package = "faiss-gpu" if sys.platform == "linux" and platform.machine() == "x86_64" else "faiss-cpu"
    try:
        import faiss
    except ImportError as error:
        return Check("faiss", "missing", str(error), pip_install(requirement_of(package)))
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    device = f"{gpus} GPUs" if gpus else "without GPU"
    return Check("faiss", "ok", f"{faiss.__version__}, {device}")


def _check_dicom() -> Check:
    installed = check_installed("pydicom", "pydicom")
    if installed.state != "ok":
        return installed
    from pydicom import uid
    from pydicom.pixels import get_decoder

    has = {name: get_decoder(getattr(uid, syntax)).is_available for name, syntax in _CODECS.items()}
    lacking = [name for name, available in has.items() if not available]
    present = "pydicom {}: {}".format(version_of("pydicom"), ", ".join(n for n in has if n not in lacking))
    if lacking:
        detail = f"{present}; missing: {', '.join(lacking)}"
        return Check("DICOM codecs", "optional", detail, pip_install("fiftyone-deepcluster[dicom]"))
    return Check("DICOM codecs", "ok", present)


def _check_disk() -> Check:
    from fiftyone_deepcluster.images.cache.folder import FOLDER_VARIABLE, CacheFolder

    try:
        folder = CacheFolder().folder
    except DiskError as error:
        return Check("image cache", "missing", error.problem, f"export {FOLDER_VARIABLE}=FOLDER")
    problem = folder_problem(folder)
    if problem is not None:
        return Check("image cache", "missing", problem, f"export {FOLDER_VARIABLE}=FOLDER")
    used = folder_bytes(folder)
    free = shutil.disk_usage(folder).free
    detail = f"{used / 2**30:.2f} GB at {folder}, {free / 2**30:.0f} GB free"
    if free < _LOW_DISK_BYTES:
        return Check("image cache", "optional", f"{detail}: may be too little for a run", f"rm -r {folder}")
    return Check("image cache", "ok", detail)


def find_chromium() -> str | None:
    """Path of the system's Chromium, or None. A headless shell comes first, since it needs the least CPU time."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def _check_browser() -> Check:
    installed = check_installed("playwright", "playwright")
    if installed.state != "ok":
        return installed
    path = find_chromium()
    if path is None:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            own = Path(playwright.chromium.executable_path)
        path = str(own) if own.is_file() else None
    if path is None:
        return Check("chromium", "missing", "no browser for the App tests", "sudo apt-get install chromium")
    return Check("chromium", "ok", path)
