"""LSTM baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from sertbench.feature_spec import log_mel
from sertbench.layers import last_valid, masked_mean, masked_statistics, stack_frames, valid_frames
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

POOLS = {"last": last_valid, "mean": masked_mean, "statistics": masked_statistics}


class LSTM(NeuralModel):
    """Plain two-layer LSTM on whole utterances of log-mel frames, mean-pooled over time.

    The recurrent baseline of the field: Woellmer et al., "Abandoning Emotion Classes - Towards Continuous Emotion
    Recognition with Modelling of Long-Range Dependencies", INTERSPEECH 2008, brought LSTMs to speech emotion; the mean
    over the steps is the pooling that Mirsamadi et al. (ICASSP 2017) compare attention with. Steps are 40 ms (two
    frames).
    """

    paper = (
        "Woellmer et al., Abandoning Emotion Classes - Towards Continuous Emotion Recognition with Modelling of "
        "Long-Range Dependencies, INTERSPEECH 2008"
    )
    family = "LSTM"
    year = 2008
    n_parameters = 264_708
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
        dropout: float = 0.3,
        pool: str = "mean",
    ) -> None:
        super().__init__(input_shape, n_classes)
        self.stack = stack
        self.pool = pool
        self.lstm = nn.LSTM(stack * input_shape[0], hidden, num_layers=2, batch_first=True, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(2 * hidden if pool == "statistics" else hidden, n_classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), of which `lengths` (B,) frames count."""
        steps, lengths = stack_frames(x, lengths, self.stack)
        steps = self.lstm(steps)[0]  # (B, T', hidden)
        mask = valid_frames(lengths, steps.shape[1])
        logits: Tensor = self.classify(self.dropout(POOLS[self.pool](steps, mask)))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Step size, regularisation, width and pooling."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-7, 1e-3, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.6),
            "hidden": trial.suggest_categorical("hidden", [64, 128, 192]),
            "pool": trial.suggest_categorical("pool", sorted(POOLS)),
        }
