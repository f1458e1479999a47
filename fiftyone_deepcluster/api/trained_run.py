"""A finished run opened again: its network on any images, and that network as it was before training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.api.assembly import assemble, build_parts, open_store
from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.errors import CheckpointError
from fiftyone_deepcluster.features.base import EncodeRequest
from fiftyone_deepcluster.methods.base import parse_options

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.api.assembly import ImageInput
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.images.cache.open_images import ImageStore
    from fiftyone_deepcluster.methods.base import Options


@dataclass(frozen=True)
class TrainedRun:
    """A finished run and the images it looks at.

    Attributes:
        options: resolved, as the run had them.
        trained: the images and the network as the run left it.
        model: what ``fit`` saved beside the network: ``reduction``, ``ids``, ``centers``.
    """

    options: Options
    trained: Corpus
    model: dict[str, Any]

    @cached_property
    def initial(self) -> Corpus:
        """The images and the network as the run began: random weights of its seed, or those it was given."""
        import torch

        corpus = copy.copy(self.trained)  # the images are the same, and on a GPU they are there once
        network = build_parts(self.options).network
        corpus.network = network.to(corpus.compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return corpus

    @property
    def store(self) -> ImageStore:
        """The decoded images."""
        return self.trained.store

    @property
    def encodes(self) -> bool:
        """Whether an encoder makes vectors of the features, which are then something else."""
        return getattr(self.options, "encoder", None) is not None and self.model["reduction"] is not None

    def vectors(self) -> torch.Tensor:
        """(M, D) float32, the vectors of the readable images as the run clusters them."""
        encoder, fitted = getattr(self.options, "encoder", None), self.model["reduction"]
        if encoder is None or fitted is None:
            return self.trained.features()
        return encoder.apply(self.trained, fitted)  # type: ignore[no-any-return]

    def initial_vectors(self) -> torch.Tensor:
        """(M, D) float32, what the run would have clustered before its first round, of these images."""
        from torch.nn import functional

        encoder = getattr(self.options, "encoder", None)
        if encoder is None:
            return functional.normalize(self.initial.features())
        seed = derive(self.options.seed, "encode", 0)
        request = EncodeRequest(seed, n_groups=getattr(self.options, "n_clusters", None))
        return encoder.encode(self.initial, request).vectors  # type: ignore[no-any-return]


@contextmanager
def reopen(run_dir: str | Path, images: ImageInput, observer: Observer | None = None) -> Iterator[TrainedRun]:
    """Load a finished run's network and decode the images it is to look at.

    Args:
        run_dir: of a ``fit`` that was given one.
        images: as for ``fit``.
        observer: told of progress; may cancel.

    Raises:
        CheckpointError: no finished run lies there.
        ImagesError: no image can be read.
    """
    path = Path(run_dir) / checkpoints.MODEL
    if not path.is_file():
        raise CheckpointError(
            f"{path} cannot be read: no such file; give the run_dir of a fit that came to its end and learned "
            "its features from images"
        )
    model = checkpoints.load(path)
    options = parse_options(str(model["options"]["name"]), model["options"])
    with open_store(images, options, observer or Silent()) as store:
        corpus, _ = assemble(options, store, observer or Silent(), None)
        corpus.network.load_with_head(model["network"])
        yield TrainedRun(options, corpus, model)
