"""SUPERB's head for emotion recognition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sertbench.feature_spec import ssl
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class Superb(NeuralModel):
    """SUPERB's head: a learnt weighting of a frozen encoder's layers, a linear layer, mean over time, a linear layer.

    Yang et al., "SUPERB: Speech processing Universal PERformance Benchmark", INTERSPEECH 2021. Weighting, projection to
    256 and mean are linear, so the layers' means over time, which the cache holds, give the same logits as their
    frames do. Adam at 1e-4, batches of 32 and gradients clipped at 1 are those of its published configuration; that
    trains for 30,000 steps, about 270 epochs of IEMOCAP, and keeps the best step on 20 % of the training utterances,
    whereas here 200 epochs at most end early on other speakers.
    """

    paper = "Yang et al., SUPERB: Speech processing Universal PERformance Benchmark, INTERSPEECH 2021"
    family = "SSL"
    year = 2021
    n_parameters = 197_905
    recipe = Recipe(
        features=ssl("facebook/hubert-base-ls960"),
        normalise="none",
        learning_rate=1e-4,
        epochs=200,
        patience=20,
        clip_norm=1.0,
    )
    feature_kinds = ("ssl",)

    def __init__(self, input_shape: tuple[int, int], n_classes: int, width: int = 256) -> None:
        super().__init__(input_shape, n_classes)
        rows, layers = input_shape
        self.hidden = rows // 2  # the other rows are deviations, which this head does not use
        self.weights = nn.Parameter(torch.zeros(layers))
        self.project = nn.Linear(self.hidden, width)
        self.classify = nn.Linear(width, n_classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, 2 H, layers): the means of each layer's H units, then their deviations."""
        del lengths  # all layers, always
        mixed = x[:, : self.hidden] @ self.weights.softmax(0)
        logits: Tensor = self.classify(self.project(mixed))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Step size, which SUPERB searches too, and regularisation."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 0.0, 1e-3),
        }
