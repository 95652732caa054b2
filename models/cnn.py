"""Log-mel CNN."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import log_mel
from sertbench.layers import ConvBNReLU
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class CNN(NeuralModel):
    """Plain log-mel CNN: five 3x3 convolution blocks with pooling, then global average plus maximum.

    A small sibling of CNN6 of Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
    Recognition", IEEE/ACM TASLP 2020: blocks of 16, 32, 64, 128 and 256 channels instead of 64 to 512 in four, 3x3
    instead of 5x5 kernels, no pre-training.
    """

    paper = (
        "Kong et al., PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition, "
        "IEEE/ACM TASLP 2020"
    )
    family = "CNN"
    year = 2020
    n_parameters = 459_636
    recipe = Recipe(
        features=log_mel(64, n_fft=1024, hop_length=320),
        window=2.0,
        hop=0.5,
        learning_rate=1e-3,
        weight_decay=1e-4,
        schedule="cosine",
        class_weights=True,
    )

    def __init__(self, input_shape: tuple[int, int], n_classes: int, channels: int = 16, dropout: float = 0.3) -> None:
        super().__init__(input_shape, n_classes)
        widths = [1, *(channels * 2**i for i in range(5))]
        self.blocks = nn.ModuleList(ConvBNReLU(c_in, c_out, 3, bias=False) for c_in, c_out in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(widths[-1], widths[-1])
        self.classify = nn.Linear(widths[-1], n_classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T)."""
        x = x[:, None].contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x)
            x = functional.max_pool2d(x, [min(2, side) for side in x.shape[2:]])  # one row or frame stays one
        x = x.mean(2)  # over frequency: (B, C, T')
        x = self.dropout(x.amax(2) + x.mean(2))
        logits: Tensor = self.classify(self.dropout(functional.relu(self.hidden(x))))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings and dropout."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "mixup": trial.suggest_float("mixup", 0.0, 0.5),
        }
