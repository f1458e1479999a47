"""Any image model of the library transformers as a backbone: options and module."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, PRETRAINED, Backbone, InputNormName
from fiftyone_deepcluster.backbones.downloads import download_problem
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    import torch
    from torch import nn

    from fiftyone_deepcluster.backbones.adapt import Cut

_OFF = ("attention_probs_dropout_prob", "attention_dropout", "mask_ratio")
"""Options of a model's configuration that are set to 0: these steps draw from torch's global generator."""


@BACKBONES.register
class Transformers(Backbone):
    """Any image model of Hugging Face's transformers, without its head; needs the extra transformers."""

    input_norm: ClassVar[InputNormName] = "model"
    pretrained_norm: ClassVar[InputNormName] = "model"

    name: Literal["transformers"] = "transformers"
    model: str = Field(
        "facebook/dinov2-small", description="Name on the Hugging Face hub, or path of a folder."
    )

    @property
    def model_folder(self) -> str:
        """See ``Backbone.model_folder``; a relative path with one slash, or none, is one while the folder exists."""
        return self.model if _looks_like_path(self.model) or Path(self.model).is_dir() else ""

    def in_folder(self, folder: str) -> Transformers:
        """See ``Backbone.in_folder``."""
        return self.model_copy(update={"model": folder})

    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.make_module``."""
        return transformers_backbone(self.model, channels, size, weights)


def transformers_backbone(name: str, channels: int, size: int, weights: str | None) -> nn.Module:
    """An image model of transformers; of a model of images and texts, such as CLIP, the image tower.

    Features are the model's ``pooler_output`` where it has one and the weights include it; else the mean of the last
    hidden states over the patches, without the class and register tokens. Dropout of attention weights is off.

    Raises:
        OptionsError: there is no such image model, its weights do not fit or could not be downloaded, or it does not
            accept images of this size.
        MissingDependencyError: transformers is not installed.
    """
    from fiftyone_deepcluster.backbones.adapt import adapt_first_conv
    from fiftyone_deepcluster.backbones.image_processor import PixelStatistics, pixel_statistics
    from fiftyone_deepcluster.backbones.input_norms import IMAGENET_MEAN, IMAGENET_STD
    from fiftyone_deepcluster.backbones.optional_packages import check_size, import_library
    from fiftyone_deepcluster.backbones.stored_weights import values_of

    problem = no_model_folder(name)
    if problem:
        raise OptionsError(f"model={name!r}: {problem}")
    library = import_library("transformers")
    with _quiet(library), _files(name, values_of(weights)):
        whole = _load(library, name, weights)
        stated = pixel_statistics(library, name)
    model = getattr(whole, "vision_model", whole)
    if getattr(model, "main_input_name", "pixel_values") != "pixel_values":
        raise OptionsError(
            f"model={name!r} is no image model, but a {type(model).__name__}; choose another one"
        )
    adapt_first_conv(model, channels)
    for part in model.modules():
        if hasattr(part, "num_channels"):
            part.num_channels = channels  # what the model compares the images with
    module: Cut = tower_class()(model, size)
    check_size(module, name, (channels, size, size), getattr(model.config, "patch_size", None))
    if stated.is_missing and weights is None:  # random weights suit any
        stated = PixelStatistics(IMAGENET_MEAN, IMAGENET_STD)
    module.pixel_mean, module.pixel_std, module.pixel_problem = stated
    return module


@cache
def tower_class() -> Any:
    """The module class, created at the first call so that importing this file does not import torch."""
    from fiftyone_deepcluster.backbones.adapt import Cut

    class Tower(Cut):
        """A model of transformers that gives one vector for each image."""

        def __init__(self, model: nn.Module, size: int) -> None:
            import inspect

            super().__init__(model, 0, relu_before_head=False)
            config: Any = model.config
            patch, made_for = getattr(config, "patch_size", None), getattr(config, "image_size", None)
            self.n_patches = (size // patch) ** 2 if isinstance(patch, int) else 0
            accepts = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
            self.given = {"interpolate_pos_encoding": True} if accepts and made_for != size else {}

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """(B, C, H, W) -> (B, D)."""
            found = self.model(images, **self.given)
            pooled = getattr(found, "pooler_output", None)
            if pooled is not None:
                return pooled.flatten(1)  # type: ignore[no-any-return]
            hidden: torch.Tensor = found.last_hidden_state
            if hidden.ndim == 4:
                return hidden.mean((2, 3))
            before = max(0, hidden.shape[1] - self.n_patches) if self.n_patches else 0
            return hidden[:, before:].mean(1)

    return Tower


def _files(name: str, weights: str | None) -> AbstractContextManager[None]:
    """The context in which a model's files are downloaded, unless ``name`` is a folder."""
    from fiftyone_deepcluster.backbones.downloads import hub_files

    if Path(name).is_dir():
        return nullcontext()
    kind = "weights" if weights == PRETRAINED else "configuration"
    return hub_files(f"the {kind} of model={name!r}", name, "give the path of their folder as model")


def _load(library: Any, name: str, weights: str | None) -> Any:
    """The model with its weights, in float32 and training mode.

    Raises:
        OptionsError: no such model, or its weights do not fit.
    """
    from fiftyone_deepcluster.backbones.stored_weights import StoredWeights, values_of
    from fiftyone_deepcluster.backbones.weights import read_state

    given = values_of(weights)
    state = None if given in (None, PRETRAINED) else _without_prefix(read_state(str(given)))
    try:
        config = library.AutoConfig.from_pretrained(name, trust_remote_code=False)
        for part in (config, getattr(config, "vision_config", None)):
            for option in _OFF:
                if part is not None and isinstance(getattr(part, option, None), float):
                    setattr(part, option, 0.0)
        if weights is None or isinstance(weights, StoredWeights):
            model = library.AutoModel.from_config(config, trust_remote_code=False)  # None would ask the user
            return model if weights is None else _without_values(model, weights.names)
        known: dict[str, Any] = {
            "config": config, "output_loading_info": True, "ignore_mismatched_sizes": True,  # _check_loaded names them
        }  # fmt: skip
        if state is None:
            model, info = library.AutoModel.from_pretrained(name, trust_remote_code=False, **known)
        else:
            kind = library.MODEL_MAPPING[type(config)]
            model, info = kind.from_pretrained(None, state_dict=state, **known)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = download_problem(error)
        raise OptionsError(
            f"model={name!r}, weights={weights!r} could not be loaded ({reason}); give the name of an image model on "
            "the Hugging Face hub, or the path of a folder with its config.json and, for weights='pretrained', its "
            "weights; or the file of a state dict of this model as weights"
        ) from error
    _check_loaded(model, info, f"weights={weights!r} does not fit model={name!r}")
    return model.float().train()


def _without_values(model: Any, names: Iterable[str]) -> Any:
    """The model for the stored values ``names``: in float32, and with a pooler only if they have one."""
    pooler = getattr(model, "pooler", None)
    if (
        pooler is not None
        and pooler.state_dict()
        and not any(name.startswith("model.pooler.") for name in names)
    ):
        model.pooler = None
    return model.float().train()


def _without_prefix(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict under transformers' names, also of one of our checkpoints."""
    ours = "backbone.model."
    return {key.removeprefix(ours): value for key, value in state.items() if key.startswith(ours)} or state


def _check_loaded(model: Any, info: dict[str, Any], failed: str) -> None:
    """Check that all weights were loaded; a pooler that the weights lack, as those of a classifier, is removed.

    Raises:
        OptionsError: weights are missing, or there are others of the same parts of the model.
    """
    from fiftyone_deepcluster.backbones.fitting import misfit, size_problem

    missing = sorted(key for key in info["missing_keys"])
    pooler = [key for key in missing if key.startswith("pooler.")]
    parts = {name for name, _ in model.named_children()}
    prefix = f"{model.base_model_prefix}."
    others = sorted(key for key in info["unexpected_keys"] if key.removeprefix(prefix).split(".")[0] in parts)
    sizes = sorted(size_problem(*mismatch) for mismatch in info["mismatched_keys"])
    needed = missing if pooler != missing else []
    if needed or others or sizes:
        raise OptionsError(misfit(failed, needed, others, sizes))
    if pooler:
        model.pooler = None


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Without transformers' progress bar and its report of the loaded weights, which ``_check_loaded`` checks."""
    logging = library.utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def no_model_folder(name: str) -> str:
    """Why there is no model ``name``, as far as can be told without the network; empty if there may be one.

    Raises:
        MissingDependencyError: transformers is not installed.
    """
    from fiftyone_deepcluster.backbones.optional_packages import import_library

    import_library("transformers")
    path = Path(name)
    if path.is_dir() and not (path / "config.json").is_file():
        return f"the folder {name!r} has no config.json; give the folder that save_pretrained wrote"
    if _looks_like_path(name) and not path.is_dir():
        return f"there is no folder {name!r}; give the path of a folder, or a name on the Hugging Face hub"
    return ""


def _looks_like_path(name: str) -> bool:
    """Whether ``name`` cannot be one of the hub, which has an owner and a name at most."""
    return name.startswith(("/", ".", "~")) or name.count("/") > 1
