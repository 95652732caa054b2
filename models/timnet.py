"""TIM-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import mfcc
from sertbench.layers import masked_mean, reverse_steps, valid_frames
from sertbench.model import Choice, NeuralModel, Recipe
from sertbench.sequence_layers import ValidBatchNorm

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class CausalConv(nn.Module):
    """Dilated convolution of a frame and an earlier one, batch normalisation, ReLU, dropout of whole channels."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.conv = nn.Conv1d(channels, channels, 2, dilation=dilation)
        self.norm = ValidBatchNorm(channels)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, C, T)."""
        x = self.norm(self.conv(functional.pad(x, (self.dilation, 0))), mask)
        dropped: Tensor = self.dropout(functional.relu(x))
        return dropped


class TemporalAwareBlock(nn.Module):
    """The input, gated by two causal convolutions of it: (B, C, T) to (B, C, T)."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.first = CausalConv(channels, dilation, dropout)
        self.second = CausalConv(channels, dilation, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, C, T)."""
        gate: Tensor = self.second(self.first(x, mask), mask).sigmoid()
        return x * gate


class TIMNet(NeuralModel):
    """Bidirectional temporal-aware network on MFCC: causal dilated gates whose time scales are fused by learnt weights.

    Ye et al., "Temporal Modeling Matters: A Novel Temporal Emotional Modeling Approach for Speech Emotion Recognition",
    ICASSP 2023. As there and in the authors' code: 39 static MFCC of 50 ms frames every 12.5 ms, 39 channels, kernels
    of 2, dilations 1 to 128 (on IEMOCAP up to 512: `levels` = 10), dropout 0.1, Adam with 1e-3, label smoothing 0.1,
    batches of 64, 500 epochs. Here the audio is 16 kHz instead of 22.05 kHz, the window is Hann's, Adam's betas are the
    usual ones instead of 0.93 and 0.98, utterances are whole instead of cut or padded to one length, and training stops
    early. 104,376 parameters for 4 classes.
    """

    paper = (
        "Ye et al., Temporal Modeling Matters: A Novel Temporal Emotional Modeling Approach for Speech Emotion "
        "Recognition, ICASSP 2023"
    )
    family = "TCN"
    year = 2023
    n_parameters = 104_376
    recipe = Recipe(
        features=mfcc(39, n_fft=800, hop_length=200),
        learning_rate=1e-3,
        epochs=500,
        patience=50,
        batch_size=64,
        label_smoothing=0.1,
    )

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_classes: int,
        channels: int = 39,
        levels: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(input_shape, n_classes)
        self.embed = nn.ModuleList(nn.Conv1d(input_shape[0], channels, 1) for _ in range(2))  # ahead, back
        dilations = [2**level for level in range(levels)]
        self.ahead = nn.ModuleList(TemporalAwareBlock(channels, dilation, dropout) for dilation in dilations)
        self.back = nn.ModuleList(TemporalAwareBlock(channels, dilation, dropout) for dilation in dilations)
        self.fusion = nn.Parameter(torch.empty(levels).uniform_(-0.05, 0.05))
        self.classify = nn.Linear(channels, n_classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), of which `lengths` (B,) frames count."""
        mask = valid_frames(lengths, x.shape[2])
        backwards = reverse_steps(x.transpose(1, 2), lengths).transpose(1, 2)  # each from its own last frame
        scales = torch.zeros((), device=x.device)
        for direction, embed, blocks in zip((x, backwards), self.embed, (self.ahead, self.back), strict=True):
            steps = embed(direction)
            means = []
            for block in blocks:
                steps = block(steps * mask[:, None], mask)
                means.append(masked_mean(steps.transpose(1, 2), mask))
            scales = scales + torch.stack(means, 2)  # (B, C, levels)
        logits: Tensor = self.classify(scales @ self.fusion)
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings, dropout, and how far back the gates see."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 0.0, 1e-3),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "levels": trial.suggest_int("levels", 6, 10),
        }
