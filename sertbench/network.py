"""What is trained, and on what: a model behind its normaliser, the source of its batches, and one role of a fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sertbench.model import NeuralModel, Recipe


class Source(Protocol):
    """Where the loop gets its batches: a FeatureStore, or a view of one that refuses sealed items."""

    def batch(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        """Give x (B, F, T) float32 and valid frames (B,) int64 of the items."""

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give mean and standard deviation (F, 1) over all frames of the items."""


@dataclass(frozen=True)
class Part:
    """One role of a fold, as items (windows or whole utterances) of a store.

    `items` (n_items,) are positions in the store, `owner` (n_items,) says to which of the part's utterances an item
    belongs, `targets` (n_utterances,) are class indices.
    """

    items: np.ndarray
    owner: np.ndarray
    targets: np.ndarray


class Normaliser(nn.Module):
    """Per-row standardisation with the moments of the training part, or nothing. Frames past the length stay zero."""

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, mean: Tensor | None, std: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Standardise x (B, F, T)."""
        if self.mean is None or self.std is None:
            return x
        x = (x - self.mean) / self.std
        valid = torch.arange(x.shape[2], device=x.device) < lengths[:, None]
        return x * valid[:, None]


class Network(nn.Module):
    """A model behind its normaliser: what is trained, saved and used for prediction."""

    def __init__(self, model: NeuralModel, normaliser: Normaliser, whole: bool) -> None:
        super().__init__()
        self.model = model
        self.normaliser = normaliser
        self.whole = whole

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) in float32."""
        logits: Tensor = self.model(x, lengths) if self.whole else self.model(x)
        return logits.float()


def build(
    cls: type[NeuralModel],
    arguments: dict[str, object],
    recipe: Recipe,
    source: Source,
    train_items: np.ndarray,
    input_shape: tuple[int, int],
    n_classes: int,
    seed: int,
) -> Network:
    """Make the network of a fit: initialised from the seed, normaliser fitted on the training items alone."""
    mean, std = map(torch.from_numpy, source.moments(train_items)) if recipe.normalise == "train" else (None, None)
    torch.manual_seed(seed)
    model = cls(input_shape, n_classes, **arguments)
    return Network(model, Normaliser(mean, std), recipe.window is None)
