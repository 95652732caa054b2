"""Convolutional recurrent network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import log_mel
from sertbench.layers import masked_mean, valid_frames
from sertbench.model import Choice, NeuralModel, Recipe
from sertbench.sequence_layers import ValidBatchNorm

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

POOLS = (5, 2, 2)  # mel bands joined after each convolution


class CRNN(NeuralModel):
    """Convolutional recurrent network on whole utterances of log-mel frames: 5x5 convolutions, then a GRU, mean-pooled.

    Cakir et al., "Convolutional Recurrent Neural Networks for Polyphonic Sound Event Detection", IEEE/ACM TASLP 2017.
    As there: 40 log-mel bands of 40 ms frames that overlap by half, convolutions with batch normalisation, ReLU and
    pooling along frequency only, so that every frame reaches the GRU, dropout of 0.25, Adam with 1e-3. The paper
    searches the sizes for each data set; here three layers of 64 maps, bands joined by 5, 2 and 2, and 64 GRU cells.
    It labels each frame; here the mean over the frames is classified. 244,484 parameters for 4 classes.
    """

    paper = (
        "Cakir et al., Convolutional Recurrent Neural Networks for Polyphonic Sound Event Detection, "
        "IEEE/ACM TASLP 2017"
    )
    family = "CNN + RNN"
    year = 2017
    n_parameters = 244_484
    recipe = Recipe(
        features=log_mel(40, n_fft=640, hop_length=320),
        learning_rate=1e-3,
        class_weights=True,
        clip_norm=5.0,
        epochs=100,
    )

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_classes: int,
        channels: int = 64,
        hidden: int = 64,
        dropout: float = 0.25,
    ) -> None:
        super().__init__(input_shape, n_classes)
        self.convs = nn.ModuleList(
            nn.Conv2d(1 if i == 0 else channels, channels, 5, padding=2) for i in range(len(POOLS))
        )
        self.norms = nn.ModuleList(ValidBatchNorm(channels) for _ in POOLS)
        self.dropout = nn.Dropout(dropout)
        bands = input_shape[0]
        for size in POOLS:
            bands = -(-bands // size)
        self.gru = nn.GRU(bands * channels, hidden, batch_first=True)
        self.classify = nn.Linear(hidden, n_classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), of which `lengths` (B,) frames count."""
        mask = valid_frames(lengths, x.shape[2])
        x = (x * mask[:, None])[:, None]
        for conv, norm, size in zip(self.convs, self.norms, POOLS, strict=True):
            x = functional.relu(norm(conv(x), mask))
            x = self.dropout(functional.max_pool2d(x, (size, 1), ceil_mode=True))
        steps = self.gru(x.flatten(1, 2).transpose(1, 2))[0]  # (B, T, hidden); a GRU does not look ahead
        logits: Tensor = self.classify(self.dropout(masked_mean(steps, mask)))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings, dropout and sizes."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 0.0, 1e-3),
            "dropout": trial.suggest_float("dropout", 0.0, 0.6),
            "hidden": trial.suggest_categorical("hidden", [32, 64, 128]),
        }
