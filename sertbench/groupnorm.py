"""Features standardised per group, e.g. per speaker: a transductive cheat that the optimism meter measures.

Standardising a test speaker needs all of that speaker's audio, which nobody has who is to recognise one utterance.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sertbench.feature_store import FeatureStore
from sertbench.network import Source


class GroupNormalised:
    """A source whose items have zero mean and unit deviation per feature row over each group's valid frames."""

    def __init__(self, source: Source, store: FeatureStore, groups: np.ndarray) -> None:
        self._source = source
        self._group = np.repeat(groups, np.diff(store.first))  # of each item
        moments = [store.moments(np.flatnonzero(self._group == g)) for g in range(int(groups.max()) + 1)]
        self._mean, self._std = (torch.from_numpy(np.stack(part)) for part in zip(*moments, strict=True))

    def batch(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        """Standardised x (B, F, T), zero past each item's frames where items have lengths of their own; frames (B,)."""
        x, lengths = self._source.batch(items)
        group = torch.from_numpy(self._group[items])
        x = (x - self._mean[group]) / self._std[group]
        return x * (torch.arange(x.shape[2]) < lengths[:, None])[:, None], lengths

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Zero and one, (F, 1): groups are standardised already."""
        del items
        return np.zeros(self._mean.shape[1:], np.float32), np.ones(self._mean.shape[1:], np.float32)


def normalised_functionals(store: FeatureStore, groups: np.ndarray, utterances: np.ndarray) -> np.ndarray:
    """Functionals of some utterances, (n, D) float32, standardised over all utterances of each one's group."""
    out = store.functionals(utterances)
    for group in np.unique(groups[utterances]):
        rows, every = groups[utterances] == group, store.functionals(np.flatnonzero(groups == group))
        out[rows] = (out[rows] - every.mean(0)) / np.maximum(every.std(0), 1e-5)
    return out
