"""The sealed test: nothing of a fold's test part can be reached before the fold is frozen, and each reading is logged.

Training gets a `FeatureView` that holds the training and validation items alone; the labels of test utterances stay in
the driving process and meet the predictions only when both are final.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from torch import Tensor

from sertbench.errors import SealError
from sertbench.feature_store import FeatureStore
from sertbench.network import Source

_latest = ""


class FeatureView:
    """A feature store that gives the items of some utterances and refuses all others.

    `source` is where its values are read, if that is not the store itself.
    """

    def __init__(self, store: FeatureStore, utterances: np.ndarray, source: Source | None = None) -> None:
        self._store = source or store
        self._open = np.zeros(int(store.first[-1]), dtype=bool)
        items, _ = store.items_of(utterances)
        self._open[items] = True

    def _check(self, items: np.ndarray) -> None:
        if not self._open[items].all():
            raise SealError(
                "a model or callback asked for features of utterances outside this fold's training and validation "
                "parts. Test features can be read only after the fold is frozen"
            )

    def batch(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        """As FeatureStore.batch; SealError for an item of another part."""
        self._check(items)
        return self._store.batch(items)

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As FeatureStore.moments; SealError for an item of another part."""
        self._check(items)
        return self._store.moments(items)


@dataclass(frozen=True)
class Frozen:
    """What was fixed before a fold's test part could be read."""

    fold: str
    choice: Mapping[str, Any]  #    the hyperparameters that the validation part chose
    epochs: Mapping[int, int]  #    seed -> kept epoch
    fits: Mapping[int, str]  #      seed -> identity of the fit
    frozen_at: str  #               UTC


class SealedTest:
    """The test part of one fold. `freeze` once, then `open`; in any other order it raises SealError."""

    def __init__(self, fold: str, positions: Sequence[int]) -> None:
        self.fold = fold
        self._positions = np.asarray(positions, dtype=np.int64)
        self.frozen: Frozen | None = None
        self.reads: list[dict[str, Any]] = []

    def freeze(self, choice: Mapping[str, Any], epochs: Mapping[int, int], fits: Mapping[int, str]) -> Frozen:
        """Record the final hyperparameters, and per seed the kept epoch and the fit's identity."""
        if self.frozen is not None:
            raise SealError(
                f"fold {self.fold} is frozen already: nothing can be changed after its test part was opened"
            )
        if not fits or set(epochs) != set(fits):
            raise SealError(f"fold {self.fold}: freezing needs the kept epoch and the fit of each seed")
        self.frozen = Frozen(self.fold, dict(choice), dict(epochs), dict(fits), now())
        return self.frozen

    def open(self, seed: int) -> np.ndarray:
        """The positions of the test utterances in the manifest, for one prediction by the fit of `seed`; logged."""
        if self.frozen is None:
            raise SealError(f"the test part of fold {self.fold} is sealed: freeze the fold first")
        if seed not in self.frozen.fits:
            raise SealError(f"fold {self.fold} was frozen without seed {seed}")
        if any(read["seed"] == seed for read in self.reads):
            raise SealError(f"the test part of fold {self.fold} was already predicted with seed {seed}")
        self.reads.append({"fold": self.fold, "seed": seed, "fit": self.frozen.fits[seed], "read_at": now()})
        return self._positions


def now() -> str:
    """The time in UTC, to the second, ISO 8601; never before the last one, also when the clock is set back."""
    global _latest
    _latest = max(_latest, datetime.now(UTC).isoformat(timespec="seconds"))
    return _latest
