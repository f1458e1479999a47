"""Maps of a layer for all views of all images, kept while the layers above it are trained.

The layers below are frozen, so their maps stay the same: a pass over the cached maps takes a fraction of a pass over
the images.
"""

from __future__ import annotations

import logging
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from fiftyone_deepcluster.core.disk import size_text

if TYPE_CHECKING:
    from torch import nn

    from fiftyone_deepcluster.features.views import Views

logger = logging.getLogger(__name__)

_MEMORY_SHARE, _DISK_SHARE = 0.25, 0.5
"""Maximum shares of the free memory, and of the free space for temporary files."""


@dataclass(frozen=True)
class CachedMaps:
    """Maps of one layer for V views of N images.

    Attributes:
        views: the views.
        upper: the part of the network above the layer.
        maps: (N, V, C, H, W), or (N, V, T, C) of the tokens of a transformer, in memory or in a temporary
            file; in the precision of the network.
    """

    views: Views
    upper: nn.Module
    maps: torch.Tensor

    def one_view(self, rows: torch.Tensor, view: int) -> torch.Tensor:
        """(B, C, H, W) or (B, T, C) maps of one view of the images ``rows`` (B,)."""
        return self.maps[rows, view]

    def random_views(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(B, C, H, W) or (B, T, C) maps of one random view of each of the images ``rows`` (B,)."""
        return self.maps[rows, torch.randint(self.views.n, (len(rows),), generator=generator)]


def room_for(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor | None:
    """A tensor on the CPU: in memory, else in a temporary file; None where neither has room."""
    import psutil

    numbers = int(np.prod(shape, dtype=np.int64))
    needed = numbers * torch.empty(0, dtype=dtype).element_size()
    if needed <= _MEMORY_SHARE * psutil.virtual_memory().available:
        return torch.empty(shape, dtype=dtype)
    folder = Path(tempfile.gettempdir())
    if needed > _DISK_SHARE * psutil.disk_usage(str(folder)).free:
        logger.warning("no room for maps of %s in memory or in %s", size_text(needed), folder)
        return None
    with tempfile.NamedTemporaryFile(delete=False) as file:
        name = file.name
    try:
        maps = torch.from_file(name, shared=True, size=numbers, dtype=dtype)
    finally:
        with suppress(OSError):  # an open file is removed on POSIX systems only
            Path(name).unlink()
    return maps.view(shape)
