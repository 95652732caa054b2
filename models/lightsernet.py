"""LIGHT-SERNET."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import mfcc
from sertbench.layers import ConvBNReLU
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

WIDTHS = (96, 64, 96, 128, 160)
POOLS = ((2, 2), (2, 2), (1, 2), (1, 2))  # (coefficients, frames) after each block of the body


class LightSERNet(NeuralModel):
    """Small fully convolutional network on MFCC: three parallel filter shapes, then local feature learning blocks.

    Aftab et al., "LIGHT-SERNET: A Lightweight Fully Convolutional Neural Network for Speech Emotion Recognition",
    ICASSP 2022: 460,740 parameters for 4 classes and any input, which is the paper's 0.88 MB in half precision. As
    there: 40 MFCC of 64 ms frames every 16 ms, Adam with 1e-4, batches of 32, 300 epochs, windows of 3 s (for IEMOCAP
    the paper also tries 7 s). There is one hop for training and testing here, 1.5 s. The rate falls by exp(-0.15)
    every 20 epochs, in the paper from the 50th on, here from the start; the L2 penalty of 1e-6, there on the
    convolutions of the body, is here on everything; the focal loss is left out, and training stops early.
    """

    paper = (
        "Aftab et al., LIGHT-SERNET: A Lightweight Fully Convolutional Neural Network for Speech Emotion Recognition, "
        "ICASSP 2022"
    )
    family = "CNN"
    year = 2022
    n_parameters = 460_740
    recipe = Recipe(
        features=mfcc(40, n_fft=1024, hop_length=256),
        window=3.0,
        hop=1.5,
        learning_rate=1e-4,
        weight_decay=2e-6,  # the gradient of an L2 penalty of 1e-6
        schedule="step",
        gamma=0.86,  # exp(-0.15)
        step_size=20,
        epochs=300,
        patience=30,
    )

    def __init__(self, input_shape: tuple[int, int], n_classes: int, dropout: float = 0.3) -> None:
        super().__init__(input_shape, n_classes)
        kernels = ((1, 11), (9, 1), (3, 3))  # along the frames, along the coefficients, both
        self.paths = nn.ModuleList(ConvBNReLU(1, 32, kernel) for kernel in kernels)
        self.body = nn.ModuleList(ConvBNReLU(c_in, c_out, 3, bias=False) for c_in, c_out in pairwise(WIDTHS))
        self.head = ConvBNReLU(WIDTHS[-1], 320, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(320, n_classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T)."""
        x = x[:, None]
        x = pool(torch.cat([path(x) for path in self.paths], 1), (2, 2))
        for block, size in zip(self.body, POOLS, strict=True):
            x = pool(block(x), size)
        logits: Tensor = self.classify(self.dropout(self.head(x).mean((2, 3))))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings and dropout."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-5, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-7, 1e-3, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2),
        }


def pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Average of blocks of a map; those at the edge may be smaller."""
    return functional.avg_pool2d(x, size, ceil_mode=True, count_include_pad=False)
