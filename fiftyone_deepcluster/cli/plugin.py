"""Register the plugin with FiftyOne, which looks for a ``fiftyone.yml`` below its plugins folder.

A checkout is linked, where the system lets its user make links: FiftyOne then sees every edit. An installed
wheel gets a small folder whose entry imports the package, so that one copy of the code exists. The wheel
carries ``fiftyone.yml`` and the skills as data files of the distribution, taken from the repository's top
when it is built.
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
    """The plugin's place is taken by something that is not ours, or its files are not there."""


@dataclass(frozen=True)
class PluginSource:
    """Where the plugin's own files are.

    Attributes:
        folder: holds ``fiftyone.yml`` and ``skills``.
        is_checkout: whether the folder is the repository, entry included.
    """

    folder: Path
    is_checkout: bool


@contextmanager
def services_off() -> Iterator[None]:
    """Let ``import fiftyone`` inside pass without starting a database."""
    if "FIFTYONE_DISABLE_SERVICES" in os.environ:
        yield
        return
    os.environ["FIFTYONE_DISABLE_SERVICES"] = "1"
    try:
        yield
    finally:
        del os.environ["FIFTYONE_DISABLE_SERVICES"]


def plugins_dir() -> Path:
    """The folder in which FiftyOne looks for plugins.

    Raises:
        PluginError: FiftyOne is told to use none.
    """
    with services_off():
        import fiftyone as fo
    if not fo.config.plugins_dir:
        raise PluginError("FiftyOne has no plugins folder; set FIFTYONE_PLUGINS_DIR")
    return Path(fo.config.plugins_dir)


def find_source() -> PluginSource:
    """The plugin's files: the repository around the package, else what the wheel carried.

    Raises:
        PluginError: neither is there.
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
    """Make the plugin appear below ``folder``; doing it again changes nothing.

    Args:
        folder: FiftyOne's plugins folder.
        source: the plugin's files, found by themselves unless given.

    Returns:
        The plugin's place.

    Raises:
        PluginError: the place is taken by something that is not ours.
    """
    source = source or find_source()
    place = folder / PLUGIN_NAME
    if source.is_checkout and _same(folder, source.folder):
        return source.folder  # FiftyOne looks right into the repository
    if source.is_checkout and _same(place, source.folder):
        return place
    uninstall_plugin(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_checkout or not _link(place, source.folder):
        _write_stub(place, source.folder)
    return place


def uninstall_plugin(folder: Path) -> bool:
    """Remove what ``install_plugin`` made; whether there was anything.

    Raises:
        PluginError: the place holds something else.
    """
    place = folder / PLUGIN_NAME
    if not place.exists() and not place.is_symlink():
        return False
    if not is_ours(place):
        raise PluginError(
            f"{place} was not made by `fiftyone-deepcluster install`, so it stays as it is; move it away, or "
            f"remove it with `fiftyone plugins delete {PLUGIN_NAME}`"
        )
    if place.is_symlink():
        place.unlink()
    else:
        shutil.rmtree(place)
    return True


def is_ours(place: Path) -> bool:
    """Whether ``install_plugin`` made what lies at ``place``: a link to a checkout, or the stub."""
    if place.is_symlink():
        # a link that leads nowhere holds nothing to lose: the checkout was moved
        return not place.exists() or _name_in(place / "fiftyone.yml") == PLUGIN_NAME
    entry = place / "__init__.py"
    return entry.is_file() and entry.read_text() == _STUB


def _link(place: Path, folder: Path) -> bool:
    """Make a link; False where this user may not, as most on Windows."""
    try:
        place.symlink_to(folder, target_is_directory=True)
    except OSError:
        return False
    return True


def _recorded_folders() -> list[Path]:
    """Where the installer says that it put the wheel's data files."""
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
    if (shared / "skills").is_dir():
        shutil.copytree(shared / "skills", place / "skills")


def _same(left: Path, right: Path) -> bool:
    return left.exists() and left.resolve() == right.resolve()


def _name_in(path: Path) -> str | None:
    import yaml

    if not path.is_file():
        return None
    name = yaml.safe_load(path.read_text(encoding="utf-8")).get("name")
    return str(name) if name else None
