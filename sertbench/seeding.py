"""Random numbers of one fit, without touching those of the process, or of the fits beside it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from copy import copy
from typing import Any

import torch
from torch import Tensor

settings: Any = torch.utils.deterministic


def own_random_state(device: str) -> AbstractContextManager[None]:
    """Give torch's generators back as they were: the CPU's and, on "cuda", that of the one device in use."""
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    context: AbstractContextManager[None] = torch.random.fork_rng(devices=devices)
    return context


class TorchState:
    """What torch has once per process and a fit has for itself: its generators, and whether it fills new tensors.

    For fits that take turns: put in place, and taken out again. On a GPU a fit has a state object of its own, which the
    device's generator is pointed to: recorded steps (see `recording`) refer to the object, so a copy of its numbers
    would not do.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self.leave()

    def leave(self) -> None:
        """Take out what is in place."""
        self._cpu = torch.get_rng_state()
        self._cuda = default_generator().graphsafe_get_state() if self._device == "cuda" else None
        self._fills = settings.fill_uninitialized_memory

    def enter(self) -> None:
        """Put it in place."""
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            default_generator().graphsafe_set_state(self._cuda)
        settings.fill_uninitialized_memory = self._fills

    def apart(self) -> TorchState:
        """The same numbers to come, in state objects of its own."""
        other = copy(self)
        other._cuda = self._cuda and self._cuda.clone_state()
        return other


def default_generator() -> torch.Generator:
    """The generator of the GPU in use."""
    generators: tuple[torch.Generator, ...] = torch.cuda.default_generators
    return generators[torch.cuda.current_device()]


def random_numbers(device: str) -> tuple[Tensor, ...]:
    """What torch's generators are at: the CPU's and, on "cuda", that of the one device in use."""
    return (torch.get_rng_state(), *([torch.cuda.get_rng_state()] if device == "cuda" else []))


def set_random_numbers(states: tuple[Tensor, ...]) -> None:
    """Put the generators, the same objects as they are, where they were."""
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state)
