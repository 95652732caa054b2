"""torch's settings of the whole process, which a plug-in may have changed for everybody when it was imported."""

from __future__ import annotations

from typing import Any

import torch


def restore_defaults() -> None:
    """Set what decides how precisely torch computes, and on what, as in a new process, and float32 as what it says.

    A line such as `torch.set_float32_matmul_precision("high")` in one model's file would otherwise hold for the fits of
    all models that come after it in the same worker, and for features, which every model shares.
    """
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    torch.set_default_dtype(torch.float32)
    # What the older settings below leave unsaid is taken from these, which `torch.backends.fp32_precision` sets.
    for place in (backends, cudnn, mkldnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn):
        place.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(False)
    cudnn.benchmark = False
    cudnn.allow_tf32 = False  # convolutions on a GPU would have it: ten bits of 23
    if torch.get_default_device().type != "cpu":
        torch.set_default_device(None)
