"""CNN14 of PANNs."""

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


class CNN14(NeuralModel):
    """CNN14 of PANNs, trained from scratch: six blocks of two 3x3 convolutions on log-mel, 80 M parameters.

    Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition", IEEE/ACM TASLP
    2020: 80,753,615 parameters with the paper's 527 classes, 79,681,988 with 4. As there: 64 mel bands every 10 ms,
    batch normalisation of the bands, average pooling, dropout of 0.2 after each block, mean over frequency, maximum
    plus mean over time, Adam with 1e-3, batches of 32, mixup with alpha 1. Here 16 kHz instead of 32 kHz, bands from 0
    to 8 kHz, windows of 3 s (the paper's clips have 10 s), cosine decay, no SpecAugment, and no pre-training: what the
    paper shows for emotion (RAVDESS) starts from AudioSet, so do not expect its accuracy.
    """

    paper = (
        "Kong et al., PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition, "
        "IEEE/ACM TASLP 2020"
    )
    family = "CNN"
    year = 2020
    n_parameters = 79_681_988
    recipe = Recipe(
        features=log_mel(64, n_fft=512, hop_length=160),
        window=3.0,
        hop=1.5,
        normalise="none",  # the network's first layer does it
        learning_rate=1e-3,
        schedule="cosine",
        mixup=1.0,
    )

    def __init__(self, input_shape: tuple[int, int], n_classes: int, channels: int = 64, dropout: float = 0.2) -> None:
        super().__init__(input_shape, n_classes)
        widths = [1, *(channels * 2**i for i in range(6))]
        self.norm = nn.BatchNorm1d(input_shape[0])
        self.blocks = nn.ModuleList(
            nn.Sequential(ConvBNReLU(c_in, c_out, 3, bias=False), ConvBNReLU(c_out, c_out, 3, bias=False))
            for c_in, c_out in pairwise(widths)
        )
        self.dropout = nn.Dropout(dropout)
        self.drop_half = nn.Dropout(0.5)
        self.hidden = nn.Linear(widths[-1], widths[-1])
        self.classify = nn.Linear(widths[-1], n_classes)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(layer.weight)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T)."""
        x = self.norm(x)[:, None].contiguous(memory_format=torch.channels_last)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < 5:
                x = functional.avg_pool2d(x, [min(2, side) for side in x.shape[2:]])  # one row or frame stays one
            x = self.dropout(x)
        x = x.mean(2)  # over frequency: (B, C, T')
        x = self.drop_half(x.amax(2) + x.mean(2))
        logits: Tensor = self.classify(self.drop_half(functional.relu(self.hidden(x))))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings and dropout."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-5, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 0.0, 1e-3),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "mixup": trial.suggest_float("mixup", 0.0, 1.0),
        }
