"""Attention-pooled BLSTM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import log_mel
from sertbench.layers import BLSTM, AttentionPooling, stack_frames, valid_frames
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class AttentionBLSTM(NeuralModel):
    """BLSTM on whole utterances, pooled by local attention: the network learns which frames tell the emotion.

    Mirsamadi, Barsoum & Zhang, "Automatic Speech Emotion Recognition Using Recurrent Neural Networks with Local
    Attention", ICASSP 2017. As there, dense ReLU layers precede a BLSTM of 128 cells and half of the units are dropped
    in training. Here one dense layer instead of two, 64 log-mel bands instead of the spectrum or 32 descriptors, and
    steps of 40 ms (two frames) instead of 10 ms. `bilstm_attention` is the network as published, on descriptors.
    """

    paper = (
        "Mirsamadi, Barsoum & Zhang, Automatic Speech Emotion Recognition Using Recurrent Neural Networks with Local "
        "Attention, ICASSP 2017"
    )
    family = "attention"
    year = 2017
    n_parameters = 429_572
    recipe = Recipe(
        features=log_mel(64, n_fft=640, hop_length=320),
        learning_rate=1e-3,
        weight_decay=1e-5,
        class_weights=True,
        clip_norm=5.0,
    )

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_classes: int,
        hidden: int = 128,
        stack: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(input_shape, n_classes)
        self.stack = stack
        self.dense = nn.Linear(stack * input_shape[0], 2 * hidden)
        self.dropout = nn.Dropout(dropout)
        self.blstm = BLSTM(2 * hidden, hidden)
        self.pool = AttentionPooling(2 * hidden)
        self.classify = nn.Linear(2 * hidden, n_classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), of which `lengths` (B,) frames count."""
        steps, lengths = stack_frames(x, lengths, self.stack)
        steps = self.dropout(functional.relu(self.dense(steps)))  # (B, T', 2 hidden)
        steps = self.dropout(self.blstm(steps, lengths))
        logits: Tensor = self.classify(self.pool(steps, valid_frames(lengths, steps.shape[1])))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Step size, regularisation and width."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-7, 1e-3, log=True),
            "dropout": trial.suggest_float("dropout", 0.1, 0.7),
            "hidden": trial.suggest_categorical("hidden", [64, 128, 192]),
        }
