"""Epoch checkpoints: a long fit that was killed goes on from its last one, to the very weights of one that was not.

A checkpoint holds weights, optimiser, schedule, all random states, the history and the weights of the best epoch. It is
one file beside the finished fits, written in one step and checked by its own hash, so it is right or it is not there.
It holds tensors and plain values alone, so reading one runs no code.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sertbench import files
from sertbench.errors import StorageError
from sertbench.machine import worked

EVERY = 30.0  # seconds of training between two checkpoints; a fit that is over sooner writes none
HASH = 64  #    the file begins with so many hexadecimal digits: the hash of the rest

_OWN = frozenset(vars(nn.Module()))  # what torch itself keeps in a module


class Checkpoint:
    """The checkpoint of one fit. `note` says in words what became of an earlier one."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.path = path
        self.note = ""
        self._device = device
        self._before = 0.0  # seconds of work that the loaded one knew of
        self._saved = time.monotonic()
        self.begin()

    def begin(self) -> None:
        """From now on its fit works; until now it waited."""
        self._begun = worked(self._device)

    @property
    def seconds(self) -> float:
        """How long its fit has worked, by all processes that were at it (see `machine.worked`)."""
        return self._before + worked(self._device) - self._begun

    def load(self) -> dict[str, Any] | None:
        """The content of the last checkpoint, or None; one that is damaged is left aside."""
        try:
            content = memoryview(self.path.read_bytes())
            if hashlib.sha256(content[HASH:]).hexdigest().encode() != content[:HASH]:
                raise ValueError("its hash is not the one that was written")
            loaded: dict[str, Any] = torch.load(io.BytesIO(content[HASH:]), weights_only=True, map_location="cpu")
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the fit can begin anew
            self.note = f"its checkpoint was damaged ({error}), so it began anew"
            return None
        self.note = f"went on after epoch {loaded['epoch']}"
        self._before = loaded.get("seconds", 0.0)  # of an older version: unknown
        return loaded

    @property
    def parts(self) -> int:
        """Into how many parts its fit cuts a batch (see `train_epoch`); 1 without a checkpoint."""
        done = self.load()
        return int(done["parts"]) if done else 1

    @property
    def due(self) -> bool:
        """Whether the last one is `EVERY` seconds old."""
        return time.monotonic() - self._saved >= EVERY

    def save(self, content: Mapping[str, Any]) -> None:
        """Replace the checkpoint. A disk too full for it does not stop the fit."""
        buffer = io.BytesIO()
        torch.save({**content, "seconds": self.seconds}, buffer)

        def write(draft: Path) -> None:
            with draft.open("wb") as file:  # in two pieces: weights and moments are large, and no copy is made of them
                file.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode())
                file.write(buffer.getbuffer())

        with suppress(StorageError):
            files.write(self.path, write)
        self._saved = time.monotonic()

    def discard(self) -> None:
        """Remove it, with the drafts of killed processes: the fit is finished, or begins anew."""
        for path in (self.path, *self.path.parent.glob(f".{self.path.name}.*.draft")):
            with suppress(OSError):
                path.unlink()


def capture(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """All that the next epoch depends on."""
    return {
        "network": network.state_dict(),
        "attributes": {name: plain_attributes(module) for name, module in network.named_modules()},
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "rng": json.dumps(rng.bit_generator.state),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,  # type: ignore[no-untyped-call]
    }


def restore(
    state: Mapping[str, Any],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    rng: np.random.Generator,
) -> None:
    """Put everything back as it was when it was captured."""
    network.load_state_dict(state["network"])
    for name, module in network.named_modules():
        vars(module).update(state["attributes"][name])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    rng.bit_generator.state = json.loads(state["rng"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"])


def plain_attributes(module: nn.Module) -> dict[str, Any]:
    """A module's own attributes that are plain values (a counter of epochs, say), which no state_dict holds."""
    return {name: value for name, value in vars(module).items() if name not in _OWN and is_plain(value)}


def is_plain(value: object) -> bool:
    """Numbers, texts, tensors, and lists, tuples and dictionaries of them."""
    if isinstance(value, (list, tuple)):
        return type(value) in (list, tuple) and all(map(is_plain, value))
    if isinstance(value, dict):
        return type(value) is dict and all(map(is_plain, [*value, *value.values()]))
    return value is None or type(value) in (bool, int, float, str, torch.Tensor)
