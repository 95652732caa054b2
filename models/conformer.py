"""Conformer encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from sertbench.feature_spec import log_mel
from sertbench.layers import masked_mean, valid_frames
from sertbench.model import Choice, NeuralModel, Recipe
from sertbench.sequence_layers import MaskedBatchNorm, RelativeAttention, feed_forward

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class Subsampling(nn.Module):
    """Two 3x3 convolutions that halve rows and frames, then a linear layer: (B, F, T) to (B, T / 4, D)."""

    def __init__(self, rows: int, channels: int, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(c, channels, 3, stride=2, padding=1) for c in (1, channels))
        self.project = nn.Linear(channels * (-(-rows // 4)), width)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (B, F, T) and its lengths (B,) to steps (B, T', D) and their mask (B, T')."""
        x = x[:, None] * valid_frames(lengths, x.shape[2])[:, None, None]
        for conv in self.convs:
            lengths = (lengths + 1) // 2
            x = functional.relu(conv(x))
            x = x * valid_frames(lengths, x.shape[3])[:, None, None]
        return self.project(x.flatten(1, 2).transpose(1, 2)), valid_frames(lengths, x.shape[3])


class ConvolutionModule(nn.Module):
    """Gated pointwise, depth-wise along time, norm, Swish, pointwise: (B, T, D) to (B, T, D); padding is masked."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gated = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
        self.batch_norm = MaskedBatchNorm(width)
        self.pointwise = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, T, D), of which the steps where mask (B, T) is True count."""
        x = functional.glu(self.gated(self.norm(x)), 2) * mask[..., None]
        x = self.batch_norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2), mask)
        out: Tensor = self.dropout(self.pointwise(functional.silu(x)))
        return out


class Block(nn.Module):
    """Half a perceptron, attention, convolution, half a perceptron, each added; then a norm."""

    def __init__(self, width: int, heads: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.first = feed_forward(width, 4 * width, nn.SiLU(), dropout)
        self.attend = RelativeAttention(width, heads, dropout)
        self.convolve = ConvolutionModule(width, kernel, dropout)
        self.second = feed_forward(width, 4 * width, nn.SiLU(), dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, T, D)."""
        x = x + self.first(x) / 2
        x = x + self.attend(x, mask)
        x = x + self.convolve(x, mask)
        out: Tensor = self.norm(x + self.second(x) / 2)
        return out


class Conformer(NeuralModel):
    """Small Conformer encoder on whole utterances of log-mel frames, mean-pooled over time.

    The encoder of Gulati et al., INTERSPEECH 2020, with relative positions, for speech emotion as in Sun et al.,
    "Recurrent Neural Networks with Conformer for Speech Emotion Recognition", 2022 (preprint). From Conformer (S):
    width 144, 4 heads, dropout 0.1, weight decay 1e-6, 80 log-mel bands every 10 ms, four-fold subsampling to 40 ms.

    Chosen here: 4 blocks instead of 16, which are for 970 hours of speech; 32 channels of subsampling instead of 144;
    a kernel of 31 instead of 32, so that it has a middle; frames of 32 ms instead of 25. The batch normalisation of the
    convolution module counts valid steps alone (MaskedBatchNorm), and steps are masked before its depth-wise
    convolution, so that padding changes nothing, in training neither. The schedule is a cosine instead of warm-up and
    decay, and there is no SpecAugment and no weight noise. 2,128,820 parameters for 4 classes.
    """

    paper = "Gulati et al., Conformer: Convolution-augmented Transformer for Speech Recognition, INTERSPEECH 2020"
    family = "conformer"
    year = 2020
    n_parameters = 2_128_820
    recipe = Recipe(
        features=log_mel(80, n_fft=512, hop_length=160),
        learning_rate=5e-4,
        weight_decay=1e-6,
        schedule="cosine",
        class_weights=True,
        clip_norm=5.0,
    )

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_classes: int,
        width: int = 144,
        layers: int = 4,
        heads: int = 4,
        kernel: int = 31,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(input_shape, n_classes)
        self.subsample = Subsampling(input_shape[0], 32, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, kernel, dropout) for _ in range(layers))
        self.classify = nn.Linear(width, n_classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, n_classes) of x (B, F, T), of which `lengths` (B,) frames count."""
        steps, mask = self.subsample(x, lengths)
        steps = self.dropout(steps)
        for block in self.blocks:
            steps = block(steps, mask)
        logits: Tensor = self.classify(masked_mean(steps, mask))
        return logits

    @classmethod
    def search_space(cls, trial: BaseTrial) -> Choice:
        """Step size, regularisation, depth and kernel."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 5e-5, 2e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-7, 1e-3, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.4),
            "layers": trial.suggest_int("layers", 1, 6),
            "kernel": trial.suggest_categorical("kernel", [7, 15, 31]),
        }
