"""Register the plugin with FiftyOne, which searches its plugins folder for ``fiftyone.yml`` files.

A checkout is linked, if the system allows it, so that FiftyOne sees every edit. For an installed wheel (or without
permission to create links), a small stub folder is written whose entry point imports the package, so that only one
copy of the code exists. The wheel contains ``fiftyone.yml`` and the skills as data files, copied from the root of
the repository at build time.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import fiftyone_deepcluster
from fiftyone_deepcluster.cli.checks import DISTRIBUTION
from fiftyone_deepcluster.errors import DeepClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN_NAME = "@deepcluster/clustering"
_SHARED = Path("share") / DISTRIBUTION
_STUB = """\
# Written by `fiftyone-deepcluster install`; `fiftyone-deepcluster install --uninstall` removes it.
from fiftyone_deepcluster.app.entry import register  # noqa: F401
"""


class PluginError(DeepClusterError):
    """The plugin's path is occupied by foreign files, or the plugin's own files are missing."""


@dataclass(frozen=True)
class PluginSource:
    """Location of the plugin's own files.

    Attributes:
        folder: folder with ``fiftyone.yml``, ``skills`` and ``dist``.
        is_checkout: whether the folder is the repository, including the entry point.
    """

    folder: Path
    is_checkout: bool


@contextmanager
def services_off() -> Iterator[None]:
    """Prevent ``import fiftyone`` from starting a database inside the block."""
    if "FIFTYONE_DISABLE_SERVICES" in os.environ:
        yield
        return
    os.environ["FIFTYONE_DISABLE_SERVICES"] = "1"
    try:
        yield
    finally:
        del os.environ["FIFTYONE_DISABLE_SERVICES"]


def plugins_dir() -> Path:
    """Folder in which FiftyOne searches for plugins.

    Raises:
        PluginError: FiftyOne is configured without one.
    """
    with services_off():
        import fiftyone as fo
    if not fo.config.plugins_dir:
        raise PluginError("FiftyOne has no plugins folder; set FIFTYONE_PLUGINS_DIR")
    return Path(fo.config.plugins_dir)


def find_source() -> PluginSource:
    """Locate the plugin's files: the repository around the package, else the wheel's data files.

    Raises:
        PluginError: neither exists.
    """
    repository = Path(fiftyone_deepcluster.__file__).resolve().parents[1]
    if (repository / "fiftyone.yml").is_file():
        return PluginSource(repository, is_checkout=True)
    for folder in (*_recorded_folders(), repository / _SHARED):  # the latter: pip install --target
        if (folder / "fiftyone.yml").is_file():
            return PluginSource(folder, is_checkout=False)
    raise PluginError(
        f"{DISTRIBUTION} is installed without its fiftyone.yml; reinstall it: pip install --force-reinstall "
        f"--no-deps {DISTRIBUTION}"
    )


def install_plugin(folder: Path, source: PluginSource | None = None) -> Path:
    """Register the plugin below ``folder``; idempotent.

    Args:
        folder: FiftyOne's plugins folder.
        source: the plugin's files; by default those returned by ``find_source``.

    Returns:
        Path of the registered plugin.

    Raises:
        PluginError: the path is occupied by foreign files.
    """
    source = source or find_source()
    place = folder / PLUGIN_NAME
    if source.is_checkout and _same(folder, source.folder):
        return source.folder  # the plugins folder is the repository itself
    if source.is_checkout and _same(place, source.folder):
        return place
    uninstall_plugin(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_checkout or not _link(place, source.folder):
        _write_stub(place, source.folder)
    return place


def uninstall_plugin(folder: Path) -> bool:
    """Remove what ``install_plugin`` created; return whether it existed.

    Raises:
        PluginError: the path is occupied by foreign files.
    """
    place = folder / PLUGIN_NAME
    if not place.exists() and not place.is_symlink():
        return False
    if not is_ours(place):
        raise PluginError(
            f"{place} was not created by `fiftyone-deepcluster install` and is not changed; move it, or "
            f"remove it with `fiftyone plugins delete {PLUGIN_NAME}`"
        )
    if place.is_symlink():
        place.unlink()
    else:
        shutil.rmtree(place)
    return True


def is_ours(place: Path) -> bool:
    """Whether ``place`` was created by ``install_plugin``: a link to a checkout, or the stub."""
    if place.is_symlink():
        # a dangling link (the checkout was moved) can be replaced safely
        return not place.exists() or _name_in(place / "fiftyone.yml") == PLUGIN_NAME
    entry = place / "__init__.py"
    return entry.is_file() and entry.read_text() == _STUB


def _link(place: Path, folder: Path) -> bool:
    """Create a link; return False without permission, as for most users on Windows."""
    try:
        place.symlink_to(folder, target_is_directory=True)
    except OSError:
        return False
    return True


def _recorded_folders() -> list[Path]:
    """Folders of the wheel's data files according to the installation record."""
    files = metadata.files(DISTRIBUTION) or ()
    wanted = (*_SHARED.parts, "fiftyone.yml")
    return [Path(str(file.locate())).resolve().parent for file in files if file.parts[-3:] == wanted]


def _write_stub(place: Path, shared: Path) -> None:
    import yaml

    description = yaml.safe_load((shared / "fiftyone.yml").read_text(encoding="utf-8"))
    description["py_entry"] = "__init__.py"
    place.mkdir()
    (place / "fiftyone.yml").write_text(
        yaml.safe_dump(description, sort_keys=False, allow_unicode=True), "utf-8"
    )
    (place / "__init__.py").write_text(_STUB)
    for folder in ("skills", "dist"):  # dist: the bundle of the panel
        if (shared / folder).is_dir():
            shutil.copytree(shared / folder, place / folder)


def _same(left: Path, right: Path) -> bool:
    return left.exists() and left.resolve() == right.resolve()


def _name_in(path: Path) -> str | None:
    import yaml

    if not path.is_file():
        return None
    name = yaml.safe_load(path.read_text(encoding="utf-8")).get("name")
    return str(name) if name else None
