"""2-D CNN LSTM."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import log_mel
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

POOLS = (2, 4, 4, 4)  # sides of the square pools, which do not overlap


class CNNLSTM(NeuralModel):
    """Four local feature learning blocks (convolution, batch norm, ELU, pooling) on a log-mel image, then an LSTM.

    Zhao, Mao & Chen, "Speech Emotion Recognition Using Deep 1D & 2D CNN LSTM Networks", Biomedical Signal Processing
    and Control 2019, the two-dimensional network: 3x3 convolutions of 64, 64, 128 and 128 channels, pools of side 2, 4,
    4 and 4, an LSTM and a softmax layer, on 128 bands of 128 ms every 32 ms of the first 8 s, padded with zeros.
    656,068 parameters for 4 classes; the paper's count could not be checked.

    The pools divide time by 128, so the published image of 8 s leaves the LSTM a single step, and its recurrent weights
    without use. Here the pools round up instead of down, which keeps the last second and gives two steps.

    From public re-implementations, since the paper's tables were not at hand: the sides of the pools, Adam at 6e-4,
    weight decay 1e-6. Chosen here: 256 cells, batches of 32, and windows every 4 s of what is longer than 8 s.
    """

    paper = (
        "Zhao, Mao & Chen, Speech Emotion Recognition Using Deep 1D & 2D CNN LSTM Networks, "
        "Biomedical Signal Processing and Control 2019"
    )
    family = "CNN + LSTM"
    year = 2019
    n_parameters = 656_068
    recipe = Recipe(
        features=log_mel(128, n_fft=2048, hop_length=512),
        window=8.0,
        hop=4.0,
        learning_rate=6e-4,
        weight_decay=1e-6,
    )

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_classes: int,
        channels: int = 64,
        blocks: int = 4,
        hidden: int = 256,
    ) -> None:
        super().__init__(input_shape, n_classes)
        widths = [1, channels, channels, 2 * channels, 2 * channels][: blocks + 1]
        self.convs = nn.ModuleList(nn.Conv2d(c_in, c_out, 3, padding=1) for c_in, c_out in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        bands = input_shape[0]
        for side in POOLS[:blocks]:
            bands = -(-bands // side)
        self.lstm = nn.LSTM(widths[-1] * bands, hidden, batch_first=True)
        self.classify = nn.Linear(hidden, n_classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T)."""
        x = x[:, None].contiguous(memory_format=torch.channels_last)
        for conv, norm, side in zip(self.convs, self.norms, POOLS, strict=False):
            x = functional.elu_(norm(conv(x)))
            x = functional.max_pool2d(x, side, ceil_mode=True)
        steps = self.lstm(x.flatten(1, 2).transpose(1, 2))[0]  # (B, T', hidden)
        logits: Tensor = self.classify(steps[:, -1])
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Step size, regularisation, depth and cells."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-7, 1e-3, log=True),
            "blocks": trial.suggest_int("blocks", 2, 4),
            "hidden": trial.suggest_categorical("hidden", [64, 128, 256]),
        }
