"""A run shared by several processes (``accelerate launch``, torchrun): only the first writes."""

from __future__ import annotations

import os


def rank() -> int:
    """Number of this process among those of the job, from 0."""
    return int(os.environ.get("RANK", "0")) if _world() > 1 else 0


def wait_for_all() -> None:
    """Wait until every process of the job has come here; at once where there is only one."""
    if _world() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def _world() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
