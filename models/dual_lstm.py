"""Dual-Sequence LSTM."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import log_mel, mfcc, stacked, with_deltas
from sertbench.layers import masked_mean, valid_frames
from sertbench.model import Choice, NeuralModel, Recipe
from sertbench.sequence_layers import MaskedBatchNorm

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

FINE, COARSE = log_mel(64, n_fft=256, hop_length=128), log_mel(128, n_fft=512, hop_length=128)
CEPSTRA = with_deltas(mfcc(13, n_fft=400, hop_length=128, n_mels=40), width=5)


class FeatureBlock(nn.Module):
    """Convolution, batch norm, ReLU, 2x2 max-pool: (B, C_in, T, F) to (B, C_out, T / 2, F / 2), halves rounded up."""

    def __init__(self, c_in: int, c_out: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, bias=False)
        self.norm = MaskedBatchNorm(c_out)
        self.around = [side for k in reversed(kernel) for side in ((k - 1) // 2, k // 2)]

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Map x (B, C_in, T, F), whose padding is zeros; so is that of the result."""
        x = self.conv(functional.pad(x, self.around)).permute(0, 2, 3, 1)  # (B, T, F, C_out), in this order in memory
        x = self.norm(x, valid_frames(lengths, x.shape[1])).permute(0, 3, 1, 2)
        # A zero of the padding that wins a maximum over negative values does not show after the ReLU.
        return functional.relu(functional.max_pool2d(x, 2, ceil_mode=True))


class Tower(nn.Module):
    """Two blocks over one spectrogram: (B, F, T) to steps (B, T / 4, D)."""

    def __init__(self, rows: int, channels: tuple[int, int], kernel: tuple[int, int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FeatureBlock(*widths, kernel) for widths in pairwise((1, *channels)))
        self.width = channels[1] * -(-rows // 4)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (B, F, T) and its lengths (B,) to steps and theirs."""
        x = x.transpose(1, 2)[:, None].contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x, lengths = block(x, lengths), (lengths + 1) // 2
        return x.transpose(1, 2).flatten(2), lengths


class DualSequenceLSTM(nn.Module):
    """One layer that reads two sequences at once: x (B, T, X) and y (B, T, Y) to (B, T, H).

    A cell has one memory and six gates of h_(t-1): forget f, output o and the inputs i_x, i_y see x_t and y_t; the
    candidate of x sees x_t, that of y sees y_t. c_t = f c_(t-1) + i_x tanh(.) + i_y tanh(.), h_t = o tanh(c_t).
    """

    def __init__(self, x_width: int, y_width: int, hidden: int) -> None:
        super().__init__()
        self.gates = nn.Linear(x_width + y_width, 4 * hidden)
        self.x_candidate = nn.Linear(x_width, hidden)
        self.y_candidate = nn.Linear(y_width, hidden)
        self.recurrent = nn.Linear(hidden, 6 * hidden, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Read both sequences step by step."""
        given = torch.cat([self.gates(torch.cat([x, y], 2)), self.x_candidate(x), self.y_candidate(y)], 2)
        h = c = given.new_zeros(len(x), given.shape[2] // 6)
        steps = []
        for step in given.unbind(1):
            z = step + self.recurrent(h)
            f, o, i_x, i_y = z[:, : 4 * h.shape[1]].sigmoid().chunk(4, 1)
            x_new, y_new = z[:, 4 * h.shape[1] :].tanh().chunk(2, 1)
            c = f * c + i_x * x_new + i_y * y_new
            h = o * c.tanh()
            steps.append(h)
        return torch.stack(steps, 1)


class DualLSTM(NeuralModel):
    """Dual-level model: an LSTM on MFCC beside a dual-sequence LSTM on two mel spectrograms.

    Wang et al., "Speech Emotion Recognition with Dual-Sequence LSTM Architecture", ICASSP 2020. As in its figures: mel
    spectrograms of 256 and 512 points with half overlap, two convolution blocks on each, alignment of the finer to the
    coarser, the dual-sequence cell, mean pooling, and the mean of both branches' logits. One feature matrix holds all:
    64 + 128 mel bands and 39 MFCC rows (13 with deltas), every 8 ms; the coarse spectrogram and the MFCC take every
    second frame. 2,496,136 parameters for 4 classes; the paper's count could not be checked.

    From the authors' released code: blocks of 64 and 16 channels with kernels of 2 and 4, two layers of 200 cells in
    both branches, means over three steps as alignment, Adam at 1e-3, halved every 10 epochs. Departures: whole
    utterances with masks (and masked batch norms) instead of spectrograms stretched to one length; no batch norm in
    the cell, which the figure does not have; MFCC every 16 ms instead of 10; one loss on the mean of the logits instead
    of the mean of two; batches of 32 instead of 128, for memory.
    """

    paper = "Wang et al., Speech Emotion Recognition with Dual-Sequence LSTM Architecture, ICASSP 2020"
    family = "CNN + LSTM"
    year = 2020
    n_parameters = 2_496_136
    recipe = Recipe(features=stacked(FINE, COARSE, CEPSTRA), schedule="step", step_size=10, gamma=0.5)

    def __init__(self, input_shape: tuple[int, int], n_classes: int, hidden: int = 200, dropout: float = 0.0) -> None:
        super().__init__(input_shape, n_classes)
        self.rows = [FINE.rows, COARSE.rows, input_shape[0] - FINE.rows - COARSE.rows]
        self.fine = Tower(self.rows[0], (64, 16), (2, 4))
        self.coarse = Tower(self.rows[1], (64, 16), (4, 2))
        sides = [(self.fine.width, self.coarse.width), (hidden, self.coarse.width)]
        self.dual = nn.ModuleList(DualSequenceLSTM(*widths, hidden) for widths in sides)
        self.lstm = nn.LSTM(self.rows[2], hidden, num_layers=2, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.ModuleList(nn.Linear(hidden, n_classes) for _ in range(2))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), of which `lengths` (B,) frames count."""
        fine, coarse, cepstra = torch.split(x * valid_frames(lengths, x.shape[2])[:, None], self.rows, 1)
        halves = (lengths + 1) // 2
        (a, a_lengths), (b, b_lengths) = self.fine(fine, lengths), self.coarse(coarse[..., ::2], halves)
        h = align(a, a_lengths, b.shape[1])
        for layer in self.dual:
            h = layer(h, b)
        with torch.autocast(x.device.type, enabled=False):  # oneDNN has no bfloat16 LSTM for CPUs without it
            heard = self.lstm(cepstra[..., ::2].transpose(1, 2))[0]
        pooled = [masked_mean(s, valid_frames(n, s.shape[1])) for s, n in ((h, b_lengths), (heard, halves))]
        dual, plain = (head(self.dropout(mean)) for head, mean in zip(self.classify, pooled, strict=True))
        return torch.stack([dual, plain]).mean(0)

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Step size, regularisation and cells."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 0.0, 1e-3),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "hidden": trial.suggest_categorical("hidden", [100, 200]),
        }


def align(x: Tensor, lengths: Tensor, T: int) -> Tensor:
    """Mean of each second step of x (B, T', D) and the two after it, where there are any: (B, T, D)."""
    valid = valid_frames(lengths, x.shape[1])[:, None].to(x.dtype)
    sums = [functional.avg_pool1d(functional.pad(s, (0, 2)), 3, 2)[..., :T] for s in (x.transpose(1, 2), valid)]
    return (sums[0] / sums[1].clamp(min=1 / 3)).transpose(1, 2)
