"""A program: import all of the package and run a small fit, in a process that has what Windows has.

What other packages need of POSIX they keep: only this package's own imports fail, and what is deleted from
``os`` and ``signal`` is what no other package touches in this program.

Arguments: a folder for the cache and the run.
"""

from __future__ import annotations

import builtins
import importlib
import os
import pkgutil
import signal
import sys
from pathlib import Path

import fiftyone  # noqa: F401 - before its own needs of POSIX are gone
import numpy as np
import torch  # noqa: F401
from sklearn.datasets import load_digits

PACKAGE = "fiftyone_deepcluster"
MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "crypt", "readline"}
# statvfs, SIGKILL and uname stay: the standard library uses them here for what it does on Windows, too.
OF_OS = (
    "fork forkpty getuid geteuid getgid getegid getpgid setsid killpg sched_getaffinity preadv pwritev pread "
    "pwrite readv writev posix_fallocate posix_fadvise sysconf getloadavg nice mkfifo chown lchown sync sendfile "
    "copy_file_range O_NOFOLLOW O_DIRECTORY"
)
OF_SIGNAL = "SIGALRM SIGHUP SIGUSR1 SIGUSR2 alarm setitimer pause"

real_import = builtins.__import__


def import_as_on_windows(name, namespace=None, *rest, **options):
    importer = str((namespace or options.get("globals") or {}).get("__name__"))
    if name.partition(".")[0] in MODULES and importer.partition(".")[0] == PACKAGE:
        raise ImportError(f"{importer} imports {name}, which Windows does not have")
    return real_import(name, namespace, *rest, **options)


def take_away() -> None:
    builtins.__import__ = import_as_on_windows
    for module, names in ((os, OF_OS), (signal, OF_SIGNAL)):
        for name in names.split():
            vars(module).pop(name, None)


def import_all() -> int:
    package = importlib.import_module(PACKAGE)
    names = [found.name for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}.")]
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    return len(names)


def fit_digits(folder: Path) -> int:
    fdc = importlib.import_module(PACKAGE)
    images = (load_digits().images[:600] * 15.9375).astype(np.uint8)
    options = fdc.DeepCluster(
        n_clusters=10,
        pseudo_clusters=20,
        rounds=1,
        baselines=False,
        image_size=16,
        batch_size=64,
        device="cpu",
    )
    os.environ["FIFTYONE_DEEPCLUSTER_CACHE"] = str(folder / "cache")
    return len(fdc.fit(images, options, run_dir=folder / "run").labels)


def decode_in_processes(folder: Path) -> int:
    from PIL import Image

    from fiftyone_deepcluster.core.progress import Silent
    from fiftyone_deepcluster.images.cache.open_images import Decode, open_images

    paths = [folder / f"{row}.png" for row in range(600)]
    for row, path in enumerate(paths):
        Image.new("L", (8, 8), row % 256).save(path)
    decode = Decode(8, "gray")
    names = [str(path) for path in paths]
    with open_images(names, decode, observer=Silent(), workers=2, cache_dir=folder / "cache") as store:
        return int((store.read(np.arange(600))[:, 0, 0, 0] == np.arange(600) % 256).sum())


if __name__ == "__main__":
    take_away()
    print(import_all(), fit_digits(Path(sys.argv[1])), decode_in_processes(Path(sys.argv[1])))
