"""A pre-trained encoder that is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sertbench.feature_spec import waveform
from sertbench.model import Choice, NeuralModel, Recipe
from sertbench.pretrained_layers import WaveformEncoder

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class Finetune(NeuralModel):
    """Fine-tuning of wav2vec 2.0, HuBERT, WavLM or data2vec: mean over time, a hidden layer, logits; made for a GPU.

    Wagner et al., "Dawn of the transformer era in speech emotion recognition: closing the valence gap", TPAMI 2023: all
    blocks are trained at a small learning rate, the convolutions in front stay as they are, and the hidden layer is as
    wide as the encoder. Adam at 1e-4 is theirs. Departures: batches of 8 instead of 32, to fit most GPUs; windows of
    4 s every 2 s, a shorter utterance filled up with zeros (an encoder with a group norm sees them; whole utterances in
    a batch would differ with their mates); spans of 0.2 s masked in training, one at least, which are a tenth of the
    frames. Mixed precision, where the hardware has it, is the harness's. Each fit keeps all weights: 380 MB for a BASE
    model.
    """

    paper = (
        "Wagner et al., Dawn of the transformer era in speech emotion recognition: closing the valence gap, TPAMI 2023"
    )
    family = "SSL, fine-tuned"
    year = 2023
    recipe = Recipe(
        features=waveform("facebook/hubert-base-ls960"),
        window=4.0,
        hop=2.0,
        normalise="none",
        learning_rate=1e-4,
        epochs=15,
        patience=5,
        batch_size=8,
        clip_norm=1.0,
    )
    feature_kinds = ("waveform",)

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_classes: int,
        checkpoint: str = "",
        dropout: float = 0.1,
        mask: float = 0.05,
        train_convolutions: bool = False,
    ) -> None:
        super().__init__(input_shape, n_classes)
        self.encoder = WaveformEncoder(checkpoint, dropout, mask, train_convolutions)
        self.hidden = nn.Linear(self.encoder.width, self.encoder.width)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(self.encoder.width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, 1, samples)."""
        pooled = self.encoder(x[:, 0]).mean(1)
        logits: Tensor = self.classify(self.dropout(torch.tanh(self.hidden(self.dropout(pooled)))))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Step size, dropout, masking, and whether the convolutions are trained too."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 5e-6, 2e-4, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.3),
            "mask": trial.suggest_float("mask", 0.0, 0.3),
            "train_convolutions": trial.suggest_categorical("train_convolutions", [False, True]),
        }
