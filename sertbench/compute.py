"""Where and how precisely a fit computes: the device and the precision, and what "auto" means for both."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

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
    if name != "auto":
        return name
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # torch >= 2.12
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "fp32"


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

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which networks compute; parameters, losses and averages stay in float32."""
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.precision == "bf16")
