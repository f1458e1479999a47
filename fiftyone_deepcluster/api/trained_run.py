"""Loads a finished run: its trained network for any images, and the network before training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.api.assembly import assemble, build_parts, open_store
from fiftyone_deepcluster.api.given_weights import (
    StoredNetwork,
    lost_file_named,
    lost_files,
    lost_message,
    options_to_build,
)
from fiftyone_deepcluster.core import arguments, checkpoints
from fiftyone_deepcluster.core.disk import is_refused
from fiftyone_deepcluster.core.progress import observer_or_silent
from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.errors import CheckpointError, OptionsError
from fiftyone_deepcluster.features.base import EncodeRequest
from fiftyone_deepcluster.methods.base import parse_options

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.api.assembly import ImageInput
    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.images.cache.open_images import ImageStore
    from fiftyone_deepcluster.methods.base import Options


@dataclass(frozen=True)
class TrainedRun:
    """A finished run and the images to apply it to.

    Attributes:
        options: the run's resolved options.
        trained: corpus of the images with the trained network.
        model: what ``fit`` saved with the network: ``reduction``, ``ids``, ``centers``.
        what: the run, for messages.
    """

    options: Options
    trained: Corpus
    model: dict[str, Any]
    what: str = "the run"

    @property
    def lost_initial(self) -> str:
        """Files that are gone and that the network before training has its values from; empty if it can be built."""
        return lost_files(self.options, StoredNetwork.of(self.model), values=self.options.trains)

    @cached_property
    def initial(self) -> Corpus:
        """Corpus with the network before training: random weights of the run's seed, or the given ones.

        Without training it is the network of the run.

        Raises:
            CheckpointError: the file of the given weights is gone; see ``lost_initial``.
        """
        import torch

        if not self.options.trains:
            return self.trained
        if self.lost_initial:
            raise CheckpointError(lost_message(self.what, self.lost_initial, "fit again", values=True))
        corpus = copy.copy(self.trained)  # shares the images, so that a GPU holds them once
        stored = StoredNetwork.of(self.model)
        with (
            _building(self.what, self.options),
            options_to_build(self.options, stored, values=True) as built_with,
        ):
            network = build_parts(built_with).network
        corpus.network = network.to(corpus.compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return corpus

    @property
    def store(self) -> ImageStore:
        """The decoded images."""
        return self.trained.store

    @property
    def encodes(self) -> bool:
        """Whether an encoder converts features to vectors, so that the two differ."""
        return self.options.chosen_encoder is not None and self.model["reduction"] is not None

    def vectors(self) -> torch.Tensor:
        """(M, D) float32, the vectors of the readable images that the run clusters."""
        encoder, fitted = self.options.chosen_encoder, self.model["reduction"]
        if encoder is None or fitted is None:
            return self.trained.features()
        return encoder.apply(self.trained, fitted)

    def initial_vectors(self) -> torch.Tensor:
        """(M, D) float32, the vectors that the run would have clustered before its first round."""
        from torch.nn import functional

        encoder = self.options.chosen_encoder
        if encoder is None:
            return functional.normalize(self.initial.features())
        seed = derive(self.options.seed, "encode", 0)
        request = EncodeRequest(seed, n_groups=self.options.n_clusters)
        return encoder.encode(self.initial, request).vectors


@contextmanager
def reopen(run_dir: str | Path, images: ImageInput, observer: Observer | None = None) -> Iterator[TrainedRun]:
    """Load a finished run's network and decode the images to apply it to.

    Args:
        run_dir: the ``run_dir`` given to ``fit``.
        images: as for ``fit``.
        observer: receives progress; may cancel.

    Raises:
        CheckpointError: ``run_dir`` has no finished run, its network cannot be built, or this machine lacks its device.
        ImagesError: no image can be read.
    """
    observer = observer_or_silent(observer)
    model = _load_model(arguments.path_of("run_dir", run_dir))
    options, what = parse_options(str(model["options"]["name"]), model["options"]), f"the run in {run_dir}"
    stored = StoredNetwork.of(model)
    lost = lost_files(options, stored, values=False)
    if lost:  # before the images are decoded
        raise CheckpointError(lost_message(what, lost, "fit again"))
    _check_device(options, what)
    with open_store(images, options, observer) as store:
        with _building(what, options), options_to_build(options, stored) as built_with:
            corpus, _ = assemble(built_with, store, observer, None)
            corpus.network.load_with_head(model["network"])
        yield TrainedRun(options, corpus, model, what)


def _check_device(options: Options, what: str) -> None:
    """Raise CheckpointError if this machine lacks the device of a run, or its device lacks the precision."""
    from fiftyone_deepcluster.core.devices import choose_compute

    try:
        choose_compute(options.device, options.precision)
    except OptionsError as error:
        raise CheckpointError(
            f"{what} cannot be opened with its device={options.device!r} and precision={options.precision!r} on this "
            f"machine: {error}. Resume it with device='cpu' and precision='auto' (fit with the same images, other "
            "options and run_dir; a run of a dataset: resume), which trains a finished run no further, and keeps these"
        ) from error


@contextmanager
def _building(what: str, options: Options) -> Iterator[None]:
    """Say which run cannot be opened if its network cannot be built as at the fit.

    Raises:
        CheckpointError: so it is.
    """
    try:
        with lost_file_named(what, options, "fit again"):
            yield
    except OptionsError as error:
        raise CheckpointError(f"the network of {what} cannot be built as at the fit: {error}") from error
    except RuntimeError as error:  # torch's, which lists all names
        if "state_dict" not in str(error):
            raise
        raise CheckpointError(
            f"the trained weights of {what} do not fit the network that is built now; install the versions of torch, "
            "torchvision, timm and transformers that the run's record names, or fit again"
        ) from error


def load_network(network: Network, run_dir: Path) -> None:
    """Load the trained network of a finished run, without its head.

    Raises:
        CheckpointError: ``run_dir`` has no finished run, or one with another network.
    """
    state = _load_model(run_dir)["network"]
    try:
        network.load_with_head({name: value for name, value in state.items() if not name.startswith("head.")})
    except RuntimeError as error:
        raise CheckpointError(
            f"{run_dir} has a run with another network, which cannot be trained on with these options; leave backbone, "
            "input_norm, image_size and color as they were"
        ) from error


def _load_model(run_dir: Path) -> dict[str, Any]:
    path = run_dir / checkpoints.MODEL
    if not is_refused(path) and not path.is_file():
        raise CheckpointError(
            f"{path} cannot be read: no such file; give the run_dir of a fit that finished and trained a network "
            "on images"
        )
    return checkpoints.load(path)
