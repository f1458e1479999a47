"""Runs with several processes (``accelerate launch``, torchrun): only the first process writes."""

from __future__ import annotations

import os


def rank() -> int:
    """Rank of this process in the job, from 0."""
    return int(os.environ.get("RANK", "0")) if _world() > 1 else 0


def wait_for_all() -> None:
    """Barrier for all processes of the job; returns at once if there is only one."""
    if _world() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def _world() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
