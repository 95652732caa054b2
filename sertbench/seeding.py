"""Random numbers of one fit, without touching those of the process that it runs in."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def own_random_state(device: str) -> AbstractContextManager[None]:
    """Give torch's generators back as they were: the CPU's and, on "cuda", that of the one device in use."""
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    context: AbstractContextManager[None] = torch.random.fork_rng(devices=devices)
    return context
