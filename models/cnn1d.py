"""One-dimensional CNN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import log_mel
from sertbench.layers import valid_frames
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

LENGTHS = (8, 16, 32, 64)  # frames of a filter


class CNN1D(NeuralModel):
    """One-dimensional CNN over log-mel frames: filters of four lengths, each at its strongest moment, and dense layers.

    Aldeneh & Mower Provost, "Using Regional Saliency for Speech Emotion Recognition", ICASSP 2017: filters span all 40
    mel bands and 8, 16, 32 or 64 frames of 10 ms (384 each), go through a ReLU and a maximum over the whole utterance,
    and two dense layers of 1024 follow (4,472,324 parameters for 4 classes). An utterance shorter than a filter is
    filled up with zeros. The paper's optimiser, rate and batch size are not given here: those below, dropout and class
    weights are this project's. Its speed perturbation is left out.
    """

    paper = "Aldeneh & Mower Provost, Using Regional Saliency for Speech Emotion Recognition, ICASSP 2017"
    family = "CNN"
    year = 2017
    n_parameters = 4_472_324
    recipe = Recipe(
        features=log_mel(40, n_fft=400, hop_length=160),
        learning_rate=1e-4,
        weight_decay=1e-5,
        class_weights=True,
        epochs=100,
    )

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_classes: int,
        filters: int = 384,
        hidden: int = 1024,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(input_shape, n_classes)
        self.filters = nn.ModuleList(nn.Conv1d(input_shape[0], filters, length) for length in LENGTHS)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.ModuleList((nn.Linear(len(LENGTHS) * filters, hidden), nn.Linear(hidden, hidden)))
        self.classify = nn.Linear(hidden, n_classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), of which `lengths` (B,) frames count."""
        x = x * valid_frames(lengths, x.shape[2])[:, None]
        maxima = []
        for conv, length in zip(self.filters, LENGTHS, strict=True):
            strength = conv(functional.pad(x, (0, length - 1)))  # (B, filters, T): a filter begins at each frame
            begins = valid_frames((lengths - length + 1).clamp(min=1), x.shape[2])  # those that end in the utterance
            maxima.append(strength.masked_fill(~begins[:, None], -torch.inf).amax(2).relu())
        h = torch.cat(maxima, 1)
        for dense in self.dense:
            h = functional.relu(dense(self.dropout(h)))
        logits: Tensor = self.classify(self.dropout(h))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings, dropout and widths."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-5, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-7, 1e-3, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.6),
            "filters": trial.suggest_categorical("filters", [96, 192, 384]),
        }
