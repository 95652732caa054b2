"""Where and how precisely a fit computes: the device and the precision, and what "auto" means for both."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sertbench.errors import ConfigError, unknown


def resolve_device(name: str) -> str:
    """Turn "auto", "cpu" or "cuda" into what is used."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(unknown("device", name, ("auto", "cpu", "cuda")))
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch finds no CUDA device here. Use --device cpu or auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def resolve_precision(name: str, device: str) -> str:
    """Turn "auto", "fp32" or "bf16" into what is used: "auto" is bf16 where the hardware multiplies it natively."""
    if name not in ("auto", "fp32", "bf16"):
        raise ConfigError(unknown("precision", name, ("auto", "fp32", "bf16")))
    native = multiplies_bf16(device)
    if name == "bf16" and not native:
        what = "GPU" if device == "cuda" else "CPU"
        raise ConfigError(
            f"--precision bf16: this {what} does not multiply bfloat16 itself: it would be slower than fp32, and some "
            "layers do not run at all. Use --precision auto or fp32"
        )
    return ("bf16" if native else "fp32") if name == "auto" else name


def multiplies_bf16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16 natively: a GPU from Ampere on, a CPU with AVX-512 BF16 or AMX."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # torch >= 2.12
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@dataclass(frozen=True)
class Compute:
    """Where and how precisely a fit computes: "cpu" or "cuda", "fp32" or "bf16"."""

    device: str
    precision: str

    @classmethod
    def resolve(cls, device: str, precision: str) -> Compute:
        """Resolve "auto" for both."""
        device = resolve_device(device)
        return cls(device, resolve_precision(precision, device))

    def upload(self, values: np.ndarray) -> Tensor:
        """The values on the device, without waiting for what the device is at."""
        here = torch.from_numpy(values)
        return here.pin_memory().to(self.device, non_blocking=True) if self.device == "cuda" else here

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which networks compute; parameters, losses and averages stay in float32."""
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.precision == "bf16")


def settle(device: str) -> None:
    """Make this process compute as fits do: on one CPU thread, by deterministic algorithms, keeping freed memory."""
    torch.set_num_threads(1)
    # As use_deterministic_algorithms, which would load a compiler that no fit uses.
    torch.set_deterministic_debug_mode("warn" if device == "cuda" else "error")
    torch.backends.cudnn.allow_tf32 = False  # "fp32" on a row means it; products of matrices have no TF32 by default
    keep_freed_memory()


@functools.cache
def keep_freed_memory() -> None:
    """Have glibc keep what is freed: each step takes the same large blocks again; new pages cost up to 10 % of it."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter, value in ((-3, 1 << 30), (-1, (1 << 31) - 1), (-2, 1 << 28)):  # mmap and trim threshold, top pad
            libc.mallopt(parameter, value)


@contextmanager
def unfilled() -> Iterator[None]:
    """Leave new tensors as they are: under deterministic algorithms torch fills each with NaN before it is written.

    For steps alone, and afterwards it is filled again whatever was before: fits of several threads may overlap. A
    network is made outside of it, so that a weight that its model forgot to initialise is NaN.
    """
    setting: Any = torch.utils.deterministic
    setting.fill_uninitialized_memory = False
    try:
        yield
    finally:
        setting.fill_uninitialized_memory = True
