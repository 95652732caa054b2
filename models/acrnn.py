"""3-D ACRNN."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import log_mel, with_deltas
from sertbench.layers import BLSTM, AttentionPooling
from sertbench.model import Choice, NeuralModel, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

PLANES = 3  # static, deltas, delta-deltas
SLOPE = 0.01  # of the leaky ReLUs


class ACRNN(NeuralModel):
    """Convolutions over log-mel, deltas and delta-deltas as three planes, then a BLSTM with attention pooling.

    Chen, He, Yang & Zhang, "3-D Convolutional Recurrent Neural Networks With Attention Model for Speech Emotion
    Recognition", IEEE SPL 2018. As there: 40 log-mel bands of 25 ms every 10 ms in segments of 3 s, derivatives over
    5 frames; six 5x3 convolutions (5 along time) of 128, then 256 channels, a linear layer of 768 units per frame, a
    BLSTM of 128 cells, attention, 64 batch-normalised units; batches of 40, learning rate 1e-4. 7,334,340 parameters
    for 4 classes; the paper gives no count. On a CPU a step of 32 takes most of a minute: this one wants a GPU, or a
    subclass of your own with fewer `channels`.

    Left open, and taken from the authors' released code: leaky ReLUs, no dropout, segments starting every second, and
    one pooling, of 2 frames by 4 bands (the letter prints 2 x 2). Chosen here: Adam without the Nesterov momentum,
    which the harness does not have; the mean of the segments' probabilities instead of their maximum; deltas within a
    segment, delta-deltas as librosa fits them; a Hann window.
    """

    paper = (
        "Chen et al., 3-D Convolutional Recurrent Neural Networks With Attention Model for Speech Emotion "
        "Recognition, IEEE SPL 2018"
    )
    family = "CNN + BLSTM + attention"
    year = 2018
    n_parameters = 7_334_340
    recipe = Recipe(
        features=with_deltas(log_mel(40, n_fft=400, hop_length=160), width=5),
        window=3.0,
        hop=1.0,
        learning_rate=1e-4,
        batch_size=40,
        average="probabilities",
    )

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_classes: int,
        channels: int = 128,
        convolutions: int = 6,
        hidden: int = 128,
    ) -> None:
        super().__init__(input_shape, n_classes)
        bands = input_shape[0] // PLANES
        widths = [PLANES, channels, *[2 * channels] * (convolutions - 1)]
        self.convs = nn.ModuleList(nn.Conv2d(c_in, c_out, (3, 5), padding=(1, 2)) for c_in, c_out in pairwise(widths))
        self.reduce = nn.Linear(widths[-1] * max(1, bands // 4), 6 * channels)
        self.blstm = BLSTM(6 * channels, hidden)
        self.pool = AttentionPooling(2 * hidden)
        self.hidden = nn.Linear(2 * hidden, hidden // 2)
        self.norm = nn.BatchNorm1d(hidden // 2)
        self.classify = nn.Linear(hidden // 2, n_classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T): static rows, deltas and delta-deltas, F / 3 each."""
        B, F, T = x.shape
        x = x[:, : F - F % PLANES].reshape(B, PLANES, -1, T).contiguous(memory_format=torch.channels_last)
        for i, conv in enumerate(self.convs):
            x = functional.leaky_relu(conv(x), SLOPE)
            if i == 0:
                x = functional.max_pool2d(x, (min(4, x.shape[2]), min(2, x.shape[3])))
        steps = functional.leaky_relu(self.reduce(x.flatten(1, 2).transpose(1, 2)), SLOPE)  # (B, T / 2, 6 channels)
        everywhere = torch.ones(steps.shape[:2], dtype=torch.bool, device=x.device)
        pooled = self.pool(self.blstm(steps, everywhere.sum(1)), everywhere)
        logits: Tensor = self.classify(functional.leaky_relu(self.norm(self.hidden(pooled)), SLOPE))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Step size, regularisation, and the depth that the paper varies."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 3e-5, 1e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 0.0, 1e-3),
            "convolutions": trial.suggest_int("convolutions", 1, 7),
        }
