"""Features of a whole corpus: cut into windows, kept on disk (see `feature_cache`), memory-mapped by every worker.

Features that are one row of values per utterance (`UtteranceSpec`) are items of one frame; statistics of an encoder's
layers (`SslSpec`) are items of one frame per layer.

A folder `features/<key>/` of the cache holds `values.f32` (the items one after the other, each (F, T) float32),
`sums.f64` (per item (2, F) float64: sum and sum of squares over its valid frames; nothing for the pooled ones above),
`first.npy`, `frames.npy` and `meta.json`. The key is a hash of all that the values depend on, so a folder is right or
it is absent: it is written beside its place and renamed when complete.
"""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sertbench.errors import ConfigError, StorageError
from sertbench.feature_spec import SAMPLE_RATE

FEATURES_VERSION = 2  # raised whenever the same audio and settings give other values or another layout
BLOCK = 2**22  #    values that are added up at a time


def windows(samples: int, window: float | None, hop: float | None) -> np.ndarray:
    """Start samples of an utterance's windows, (n,), int64, n >= 1; `window` and `hop` in seconds, 16 kHz.

    Starts are 0, hop, 2 hop, ... while the window fits; a shorter utterance has one window, zero-padded at its end. As
    in the published recipes, a tail shorter than one hop is in no window. A `window` of None is the whole utterance.
    """
    if window is None:
        return np.zeros(1, np.int64)
    length, step = in_samples(window, hop)
    return np.arange(0, max(samples - length, 0) + 1, step, dtype=np.int64)


def in_samples(window: float, hop: float | None) -> tuple[int, int]:
    """Length of a window and of a hop in samples; ConfigError unless both are positive."""
    length, step = round(window * SAMPLE_RATE), round((hop or 0.0) * SAMPLE_RATE)
    if length < 1 or step < 1:
        raise ConfigError(
            f"window {window} s with hop {hop} s: both must be positive (GLAM has window 1.8, hop 0.2). "
            "For whole utterances set window to None"
        )
    return length, step


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """Features of the utterances of a manifest, in its order. Pickles as its folder; values are read on demand.

    An item is one window, or one whole utterance; items of utterance i are range(first[i], first[i + 1]).
    """

    folder: Path
    input_shape: tuple[int, int]  # (F, T); T is 0 for whole utterances of lengths of their own
    first: np.ndarray  #            (n_utterances + 1,), int64
    frames: np.ndarray  #           (n_items,), int64: frames that are centred on the utterance, not on its padding
    pooled: bool = False  #         one item of fixed size per utterance: nothing is left to take statistics of

    @classmethod
    def open(cls, folder: Path) -> FeatureStore:
        """Open a complete folder. Raises StorageError if it is missing, incomplete or of another layout."""
        try:
            meta = json.loads((folder / "meta.json").read_text())
            if (meta["version"], meta["bytes"]) != (FEATURES_VERSION, sizes(folder)):
                raise ValueError("cut short, or of another version")
            F, T = meta["input_shape"]
            with suppress(OSError):
                os.utime(folder / "meta.json")  # when it was last used (see resources.trim_cache)
            first, frames = np.load(folder / "first.npy"), np.load(folder / "frames.npy")
            return cls(folder, (F, T), first, frames, meta.get("pooled", False))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{folder} holds no complete features ({error}). Run again to compute them") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureStore.open, (self.folder,)

    @cached_property
    def _begin(self) -> np.ndarray:
        """Where each whole utterance's values begin: (n_items,)."""
        begin: np.ndarray = self.input_shape[0] * (np.cumsum(self.frames) - self.frames)
        return begin

    @cached_property
    def _values(self) -> np.ndarray:
        """(n_items, F, T), or one row of all values for whole utterances."""
        flat = self._map("values.f32", np.float32)
        return flat.reshape(-1, *self.input_shape) if self.input_shape[1] else flat

    @cached_property
    def _sums(self) -> np.ndarray:
        """(n_items, 2, F), float64; not of pooled values, which are sums themselves."""
        return self._map("sums.f64", np.float64).reshape(-1, 2, self.input_shape[0])

    def _sums_of(self, items: np.ndarray) -> np.ndarray:
        """Sum and sum of squares of the valid frames of some items, (n, 2, F), float64."""
        if not self.pooled:
            sums: np.ndarray = self._sums[items]
            return sums
        values = self._values.reshape(len(self.frames), self.input_shape[0], -1)[items].astype(np.float64)
        return np.stack([values.sum(2), np.square(values).sum(2)], axis=1)

    def _map(self, name: str, dtype: type[np.generic]) -> np.ndarray:
        try:
            return np.asarray(np.memmap(self.folder / name, dtype, "r"))
        except OSError as error:
            raise StorageError(f"{self.folder} was removed or changed ({error}). Run again to rebuild it") from error

    def items_of(self, utterances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All items of some utterances, in their order, and for each its owner: the position in `utterances`."""
        utterances = np.asarray(utterances, dtype=np.int64)
        begin = self.first[utterances]
        counts = self.first[utterances + 1] - begin
        owner = np.repeat(np.arange(len(utterances)), counts)
        before = np.cumsum(counts) - counts
        return np.arange(len(owner)) + (begin - before)[owner], owner

    def batch(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        """Items as x (B, F, T), float32, and their valid frames (B,), int64.

        Whole utterances are padded with zeros to the longest of the batch. A window that is longer than its utterance
        holds the features of the zero-padded audio instead.
        """
        items = np.asarray(items)
        lengths = self.frames[items]
        F, T = self.input_shape
        if T:
            return torch.from_numpy(self._values[items]), torch.from_numpy(lengths)
        x = np.zeros((len(items), F, lengths.max(initial=0)), np.float32)
        # Blocks are copied row by row: gathering all at once by index takes 7 to 18 times as long.
        for row, begin, length in zip(x, self._begin[items], lengths, strict=True):
            row[:, :length] = self._values[begin : begin + F * length].reshape(F, length)
        return torch.from_numpy(x), torch.from_numpy(lengths)

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each feature row over the valid frames of `items`: (F, 1) float32 each.

        The deviation is at least 1e-5, so that a constant row can be divided by it.
        """
        items = np.asarray(items)
        mean, std = self._spread(items, np.zeros(len(items), np.int64), 1)
        return mean.T.astype(np.float32), np.maximum(std, 1e-5).T.astype(np.float32)

    def functionals(self, utterances: np.ndarray) -> np.ndarray:
        """Mean and standard deviation over time of each feature row: (n, 2 * F) float32, one row per utterance.

        Taken over the valid frames of all items of the utterance. (n, F * T): the values as they are, if they are one
        item of fixed size per utterance.
        """
        items, owner = self.items_of(utterances)
        if self.pooled:
            values: np.ndarray = self._values.reshape(len(self.frames), -1)[items]
            return values
        mean, std = self._spread(items, owner, len(utterances))
        return np.concatenate([mean, std], axis=1).astype(np.float32)

    def _spread(self, items: np.ndarray, owner: np.ndarray, owners: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation per owner, (owners, F) float64 each."""
        total = np.zeros((owners, 2, self.input_shape[0]))
        n = max(1, min(4096, BLOCK // math.prod(filter(None, self.input_shape))))
        for i in range(0, len(items), n):
            np.add.at(total, owner[i : i + n], self._sums_of(items[i : i + n]))
        mean, square = np.moveaxis(total, 1, 0) / np.bincount(owner, self.frames[items], owners)[:, None]
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file but the meta file."""
    return {name: (folder / name).stat().st_size for name in ("values.f32", "sums.f64", "first.npy", "frames.npy")}
