"""Attention pooling over the frames of a frozen encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import ssl_frames
from sertbench.layers import AttentionPooling, valid_frames
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class SslAttention(NeuralModel):
    """Attention pooling over the frames of a frozen encoder's layers, each projected to 128 units.

    Mirsamadi et al., "Automatic speech emotion recognition using recurrent neural networks with local attention",
    ICASSP 2017, whose pooling this is; here it weighs the hidden states of a pre-trained encoder, one layer (the last,
    by default) or several below each other, as Pepino et al. (INTERSPEECH 2021) found frames of wav2vec 2.0 to be good
    inputs for small networks. The projection, its dropout and the training settings are our own choice.
    """

    paper = (
        "Mirsamadi et al., Automatic speech emotion recognition using recurrent neural networks with local attention, "
        "ICASSP 2017"
    )
    family = "SSL + attention"
    year = 2017
    n_parameters = 99_076
    recipe = Recipe(
        features=ssl_frames("facebook/hubert-base-ls960"),
        learning_rate=1e-3,
        weight_decay=1e-4,
        class_weights=True,
        clip_norm=5.0,
    )
    feature_kinds = ("ssl_frames",)

    def __init__(self, input_shape: tuple[int, int], n_classes: int, width: int = 128, dropout: float = 0.3) -> None:
        super().__init__(input_shape, n_classes)
        self.project = nn.Linear(input_shape[0], width)
        self.dropout = nn.Dropout(dropout)
        self.pool = AttentionPooling(width)
        self.classify = nn.Linear(width, n_classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, L * H, T), of which `lengths` (B,) frames count."""
        frames = self.dropout(functional.relu(self.project(x.transpose(1, 2))))
        logits: Tensor = self.classify(self.pool(frames, valid_frames(lengths, x.shape[2])))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Step size, regularisation and width."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.6),
            "width": trial.suggest_categorical("width", [64, 128, 256]),
        }
