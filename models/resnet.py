"""ResNet-18 on log-mel."""

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


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside an identity, or a strided 1x1 projection: (B, C, H, W) to (B, C', H', W')."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out))
        self.second = nn.Sequential(nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W)."""
        return functional.relu_(self.second(functional.relu_(self.first(x))) + self.shortcut(x))


class ResNet(NeuralModel):
    """ResNet-18 on log-mel, trained from scratch: residual blocks of two 3x3 convolutions, global average pooling.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, the 18-layer column of table 1 with one input
    channel: 11,172,292 parameters for 4 classes (11.7 M with the paper's 1000 and three channels). As there: SGD with
    momentum 0.9, weight decay 1e-4, batch normalisation, no dropout. Here the momentum is Nesterov's, batches are of 32
    instead of 256 and so the rate is 0.1 / 8, with cosine decay instead of steps at plateaus. The paper is about
    images; 64 mel bands every 10 ms and windows of 3 s are this project's choice.
    """

    paper = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016"
    family = "CNN"
    year = 2016
    n_parameters = 11_172_292
    recipe = Recipe(
        features=log_mel(64, n_fft=512, hop_length=160),
        window=3.0,
        hop=1.5,
        optimiser="sgd",
        learning_rate=0.0125,
        momentum=0.9,
        weight_decay=1e-4,
        schedule="cosine",
    )

    def __init__(self, input_shape: tuple[int, int], n_classes: int, channels: int = 64) -> None:
        super().__init__(input_shape, n_classes)
        widths = [channels, *(channels * 2**i for i in range(4))]
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels, 7, 2, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.stages = nn.Sequential(
            *(
                nn.Sequential(BasicBlock(c_in, c_out, 1 if i == 0 else 2), BasicBlock(c_out, c_out, 1))
                for i, (c_in, c_out) in enumerate(pairwise(widths))
            )
        )
        self.classify = nn.Linear(widths[-1], n_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T)."""
        x = x[:, None].contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.classify(self.stages(self.stem(x)).mean((2, 3)))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-3, 0.1, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
            "mixup": trial.suggest_float("mixup", 0.0, 0.5),
            "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2),
        }
