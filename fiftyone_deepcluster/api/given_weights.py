"""Files that a network is built from, and how a stored network is opened without them.

At the fit, the network is built from a file of weights, or from the folder of a model. Later a stored network replaces
all values, so that only the configuration of such a folder is needed: it is stored with the network. The values
themselves are needed again for the network before training only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.backbones.base import PRETRAINED, WEIGHTS_ENDINGS, is_weights_path
from fiftyone_deepcluster.backbones.stored_weights import StoredWeights
from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.disk import is_readable_file, is_refused
from fiftyone_deepcluster.errors import CheckpointError, OptionsError, PartError

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.base import Backbone
    from fiftyone_deepcluster.methods.base import Options

_CONFIGURATION = ("config.json", "preprocessor_config.json", "processor_config.json")
"""Files of a model's folder that say how its network is built and how pixels are normalized."""

_MODEL_CONFIGURATION = _CONFIGURATION[0]
"""The one without which no network can be built from a folder."""

_KEY = "configuration"
"""Key of these files, by name, in a checkpoint and in the file of a finished run."""

_BACKBONE = "backbone."


@dataclass(frozen=True)
class StoredNetwork:
    """A network in a checkpoint or in the file of a finished run, and what it is built with.

    Attributes:
        names: names of its values.
        configuration: text of the JSON files in the folder of its model, by name; empty if the model had no folder.
        model: name of that model; None: not known.
    """

    names: frozenset[str] = frozenset()
    configuration: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> StoredNetwork:
        """From the content of a checkpoint, or of the file of a finished run."""
        options = state.get("options") or state.get("resolved") or {}
        model = (options.get("backbone") or {}).get("model")
        return cls(frozenset(state["network"]), state.get(_KEY, {}), model)

    def configuration_for(self, backbone: Backbone) -> Mapping[str, str]:
        """The configuration if it is that of this backbone's model, else none: ``refine`` may change the backbone."""
        own = self.model is None or self.model == getattr(backbone, "model", None)
        return self.configuration if own else {}


def stored_network(*paths: Path | None) -> StoredNetwork | None:
    """That of the first of these files that exists, of which no value is read; None if there is none.

    Raises:
        CheckpointError: the file cannot be read.
    """
    path = next((path for path in paths if path is not None and is_readable_file(path)), None)
    return None if path is None else StoredNetwork.of(checkpoints.load(path, mmap=True))


@contextmanager
def options_to_build(
    options: Options, stored: StoredNetwork | None, *, values: bool = False
) -> Iterator[Options]:
    """Options whose network is built without the file of weights, and without the model's folder if it is gone.

    Args:
        options: resolved options.
        stored: the network whose values the built one gets; None: none, and the options are unchanged.
        values: read the values of the weights nevertheless, for the network before training.
    """
    weights = getattr(options, "weights", None)
    if stored is not None and isinstance(weights, str) and not values:
        names = {name.removeprefix(_BACKBONE) for name in stored.names if name.startswith(_BACKBONE)}
        options = options.model_copy(update={"weights": StoredWeights(weights, names)})
    backbone = _backbone_of(options)
    kept = _kept(backbone, stored)
    if backbone is None or not kept or _is_configured(Path(_folder_of(backbone, stored))):
        yield options
        return
    with TemporaryDirectory(prefix="deepcluster-") as folder:
        for name in _CONFIGURATION:
            if name in kept:
                Path(folder, name).write_text(kept[name], encoding="utf-8")
        yield options.model_copy(update={"backbone": backbone.in_folder(folder)})


def configuration_of(options: Options, stored: StoredNetwork | None = None) -> dict[str, dict[str, str]]:
    """What a checkpoint and the file of a finished run contain beside the network, to build it again.

    Args:
        options: resolved options.
        stored: an earlier state of the run, used where the folder is gone.
    """
    backbone = _backbone_of(options)
    folder = Path(_folder_of(backbone, stored)) if backbone is not None else Path()
    if backbone is None or not backbone.model_folder or not _is_configured(folder):
        kept = _kept(backbone, stored)
        return {_KEY: dict(kept)} if kept else {}
    files = [folder / name for name in _CONFIGURATION]
    return {_KEY: {file.name: file.read_text("utf-8", "replace") for file in files if is_readable_file(file)}}


def lost_files(options: Options, stored: StoredNetwork | None = None, *, values: bool = True) -> str:
    """Files and folders that the network is built from and that are gone, for messages; empty if none is missing.

    Args:
        options: of the run.
        stored: its stored network, if there is one.
        values: whether the values of the weights are needed, as before training; else those of ``stored`` replace them.
    """
    weights, backbone = getattr(options, "weights", None), _backbone_of(options)
    lost: dict[str, tuple[str, Path]] = {}
    if values and isinstance(weights, str):
        kind = None if backbone is None else type(backbone)
        if is_weights_path(weights, kind) and _is_gone(Path(weights)):
            lost["weights"] = weights, Path(weights)
    if backbone is not None and (folder := _folder_of(backbone, stored)):
        model = str(getattr(backbone, "model", folder)), Path(folder)
        read, kept = values and weights == PRETRAINED, bool(_kept(backbone, stored))
        if (read or not kept) and _is_gone(model[1]):
            lost["model"] = model
        elif read and kept and _is_emptied(model[1]):
            lost["the weights in model"] = model
    text = " and ".join(f"{name}={value!r}" for name, (value, _) in lost.items())
    relative = any(not path.is_absolute() for _, path in lost.values())
    return f"{text} in the folder {str(Path.cwd())!r}" if relative else text


def check_named_files(options: Options) -> None:
    """Raise OptionsError if the options of a new network name a file or folder that is not there."""
    lost = lost_files(options)
    if lost:
        raise OptionsError(
            f"{lost}: there is no such file or folder; give the path of one that exists, or a name"
        )


@contextmanager
def lost_file_named(what: str, options: Options, way: str) -> Iterator[None]:
    """Build a network that gets stored values; a custom backbone may read the file of weights nevertheless.

    Arguments as for ``lost_message``.

    Raises:
        CheckpointError: it did, and the file is gone.
    """
    try:
        yield
    except (PartError, OSError) as error:
        lost = lost_files(options)
        if not lost:
            raise
        raise CheckpointError(lost_message(what, lost, way)) from error


def lost_message(what: str, lost: str, way: str, *, values: bool = False) -> str:
    """Message about a run whose files of weights are gone.

    Args:
        what: the run, such as "run 'dc'".
        lost: from ``lost_files``.
        way: how to do without the files.
        values: whether they are needed for the network before training only.
    """
    why = "which has its network before training" if values else "from which its network is built"
    return f"{what} was made with {lost}, which is gone, and {why}; put it back there (a link is enough), or {way}"


def _backbone_of(options: Options) -> Backbone | None:
    return getattr(options, "backbone", None)


def _kept(backbone: Backbone | None, stored: StoredNetwork | None) -> Mapping[str, str]:
    return {} if stored is None or backbone is None else stored.configuration_for(backbone)


def _folder_of(backbone: Backbone, stored: StoredNetwork | None) -> str:
    """Folder of the backbone's model; a relative path that may be a name is one if a configuration was stored."""
    return backbone.model_folder or (str(getattr(backbone, "model", "")) if _kept(backbone, stored) else "")


def _is_configured(folder: Path) -> bool:
    """Whether a network can be built from the folder; not where it is empty, as after a disk was unmounted."""
    return is_readable_file(folder / _MODEL_CONFIGURATION)


def _is_gone(path: Path) -> bool:
    return not is_refused(path) and not path.exists()


def _is_emptied(folder: Path) -> bool:
    """Whether a folder is there, but without its configuration or any file of weights."""
    if is_refused(folder) or not folder.is_dir():
        return False
    return not _is_configured(folder) or all(file.suffix not in WEIGHTS_ENDINGS for file in folder.iterdir())
