"""ECAPA-TDNN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import mfcc
from sertbench.layers import valid_frames
from sertbench.model import Choice, NeuralModel, Recipe
from sertbench.sequence_layers import AttentiveStatisticsPooling, SqueezeExcitation, ValidBatchNorm

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class FrameLayer(nn.Module):
    """Dilated convolution over frames, ReLU, batch normalisation: (B, C, T) to (B, C', T)."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(c_in, c_out, kernel, padding="same", dilation=dilation)
        self.norm = ValidBatchNorm(c_out)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, C, T), zero past the lengths; so is what comes out."""
        normalised: Tensor = self.norm(functional.relu(self.conv(x)), mask)
        return normalised


class SERes2Block(nn.Module):
    """Res2Net block with squeeze-excitation: (B, C, T) to (B, C, T).

    Between two dense layers the channels are split into 8 parts; each but the first is convolved after the output of
    the part before was added to it (Gao et al., TPAMI 2019).
    """

    def __init__(self, channels: int, dilation: int, scale: int = 8) -> None:
        super().__init__()
        width = channels // scale
        self.scale = scale
        self.dense_in = FrameLayer(channels, channels)
        self.parts = nn.ModuleList(FrameLayer(width, width, 3, dilation) for _ in range(scale - 1))
        self.dense_out = FrameLayer(channels, channels)
        self.excite = SqueezeExcitation(channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, C, T)."""
        first, *rest = self.dense_in(x, mask).chunk(self.scale, 1)
        done = [first]
        for i, (part, layer) in enumerate(zip(rest, self.parts, strict=True)):
            done.append(layer(part if i == 0 else part + done[-1], mask))
        residual: Tensor = self.excite(self.dense_out(torch.cat(done, 1), mask), mask)
        return x + residual


class ECAPATDNN(NeuralModel):
    """ECAPA-TDNN on whole utterances of MFCC: dilated Res2Net blocks, all levels joined, attentive statistics pooling.

    Desplanques, Thienpondt & Demuynck, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in TDNN
    Based Speaker Verification", INTERSPEECH 2020: 6.2 M parameters with `channels` = 512 (6,191,876 for 4 classes),
    14.7 M with 1024, as the paper says. As there: 80 MFCC of 25 ms frames every 10 ms, dilations 2, 3 and 4, an
    embedding of 192, Adam with up to 1e-3, weight decay 2e-5. Made for speakers, it is trained for emotions by
    cross-entropy instead of an angular margin; on whole utterances instead of crops of 2 s, in batches of 32 instead of
    128, with cosine decay instead of cycles, means taken over the training part instead of the utterance, and without
    augmentation.
    """

    paper = (
        "Desplanques, Thienpondt & Demuynck, ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in "
        "TDNN Based Speaker Verification, INTERSPEECH 2020"
    )
    family = "TDNN"
    year = 2020
    n_parameters = 6_191_876
    recipe = Recipe(
        features=mfcc(80, n_fft=400, hop_length=160, n_mels=80),
        learning_rate=1e-3,
        weight_decay=2e-5,
        schedule="cosine",
        class_weights=True,
    )

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_classes: int,
        channels: int = 512,
        joined: int = 1536,
        embedding: int = 192,
    ) -> None:
        super().__init__(input_shape, n_classes)
        self.begin = FrameLayer(input_shape[0], channels, 5)
        self.blocks = nn.ModuleList(SERes2Block(channels, dilation) for dilation in (2, 3, 4))
        self.join = nn.Conv1d(3 * channels, joined, 1)
        self.pool = AttentiveStatisticsPooling(joined)
        self.embed = nn.Sequential(nn.BatchNorm1d(2 * joined), nn.Linear(2 * joined, embedding))
        self.classify = nn.Sequential(nn.BatchNorm1d(embedding), nn.Linear(embedding, n_classes))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), of which `lengths` (B,) frames count."""
        mask = valid_frames(lengths, x.shape[2])
        total = self.begin(x * mask[:, None], mask)  # the input of a block: the sum of all outputs before it
        levels = []
        for block in self.blocks:
            levels.append(block(total, mask))
            total = total + levels[-1]
        joined = functional.relu(self.join(torch.cat(levels, 1)))
        logits: Tensor = self.classify(self.embed(self.pool(joined, mask)))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Training settings and width."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
            "mixup": trial.suggest_float("mixup", 0.0, 0.5),
            "channels": trial.suggest_categorical("channels", [128, 256, 512]),
        }
