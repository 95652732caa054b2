"""Features that lie on the GPU: sent there once, for all fits of a process, and indexed there."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sertbench.compute import Compute
from sertbench.feature_store import FeatureStore
from sertbench.network import Source

SHARE = 0.25  # of the GPU's free memory that features may take; if they would take more, batches are sent one by one


class DeviceStore:
    """A feature store whose batches are put together on the device, from `values`, (n,) float32: all that it holds."""

    def __init__(self, store: FeatureStore, compute: Compute, values: Tensor) -> None:
        self._store = store
        self._compute = compute
        self._values = values
        self._frames = torch.from_numpy(store.frames).to(values.device)
        begin = store.input_shape[0] * (np.cumsum(store.frames) - store.frames)
        self._begin = torch.from_numpy(begin).to(values.device)

    def batch(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        """As FeatureStore.batch, on the device; nothing is waited for."""
        items = np.ascontiguousarray(items)
        chosen = self._compute.upload(items)
        lengths = self._frames[chosen]
        F, T = self._store.input_shape
        if T:
            return self._values.view(-1, F, T)[chosen], lengths
        rows = torch.arange(F, device=self._values.device)[:, None]
        steps = torch.arange(int(self._store.frames[items].max(initial=0)), device=self._values.device)
        places = self._begin[chosen][:, None, None] + rows * lengths[:, None, None] + steps
        valid = steps < lengths[:, None, None]
        return torch.where(valid, self._values[torch.where(valid, places, 0)], 0.0), lengths

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As FeatureStore.moments."""
        return self._store.moments(items)


def on_device(store: FeatureStore, compute: Compute) -> Source:
    """The store itself on a CPU, and on a GPU its values there, unless they would take too much of its memory."""
    if compute.device == "cpu":
        return store
    values = sent(store.folder, compute.device)
    return store if values is None else DeviceStore(store, compute, values)


@lru_cache(maxsize=2)  # the models of a grid may differ in their features
def sent(folder: Path, device: str) -> Tensor | None:
    """All values of a folder of features on the device; None if they would take too much of its memory."""
    values = np.memmap(folder / "values.f32", np.float32, "r")
    if values.nbytes > SHARE * torch.cuda.mem_get_info()[0]:
        return None
    there = torch.from_numpy(np.array(values)).to(device)
    torch.cuda.synchronize()  # other fits read it on streams of their own
    return there
