"""BLSTM with local attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from sertbench.feature_spec import mfcc, with_deltas
from sertbench.layers import BLSTM, AttentionPooling, valid_frames
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class LocalAttentionBLSTM(NeuralModel):
    """The published local-attention network on frame descriptors: two dense layers, a BLSTM, attention pooling.

    Mirsamadi, Barsoum & Zhang, "Automatic Speech Emotion Recognition Using Recurrent Neural Networks with Local
    Attention", ICASSP 2017. As there: descriptors every 10 ms, two dense ReLU layers of 512 units, a BLSTM of 128 cells
    per direction, weighted pooling by softmax(u . x_t), dropout 0.5. 935,172 parameters for 26 rows and 4 classes; the
    paper gives no count.

    `attention` is the lighter sibling: the same BLSTM and pooling after one dense layer of 256 units, on 64 log-mel
    bands in steps of 40 ms, a tenth of the cost.

    The paper's 32 descriptors are those of the INTERSPEECH 2009 challenge with deltas. Here 13 MFCC (the first is the
    energy) with deltas over 5 frames, 26 rows: F0, voicing probability and zero-crossing rate are missing. The paper
    does not state optimiser, learning rate and batch size: Adam at 1e-3 in batches of 32 is chosen here.
    """

    paper = (
        "Mirsamadi, Barsoum & Zhang, Automatic Speech Emotion Recognition Using Recurrent Neural Networks with Local "
        "Attention, ICASSP 2017"
    )
    family = "attention"
    year = 2017
    n_parameters = 935_172
    recipe = Recipe(
        features=with_deltas(mfcc(13, n_fft=400, hop_length=160, n_mels=40), orders=1, width=5),
        learning_rate=1e-3,
        class_weights=True,
        clip_norm=5.0,
    )

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_classes: int,
        dense: int = 512,
        hidden: int = 128,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(input_shape, n_classes)
        self.frames = nn.Sequential(
            nn.Linear(input_shape[0], dense),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(dense, dense),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.blstm = BLSTM(dense, hidden)
        self.dropout = nn.Dropout(dropout)
        self.pool = AttentionPooling(2 * hidden)
        self.classify = nn.Linear(2 * hidden, n_classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), of which `lengths` (B,) frames count."""
        steps = self.frames(x.transpose(1, 2))  # (B, T, dense)
        steps = self.dropout(self.blstm(steps, lengths))
        logits: Tensor = self.classify(self.pool(steps, valid_frames(lengths, steps.shape[1])))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Step size, regularisation and width of the dense layers."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 0.0, 1e-3),
            "dropout": trial.suggest_float("dropout", 0.1, 0.7),
            "dense": trial.suggest_categorical("dense", [128, 256, 512]),
        }
