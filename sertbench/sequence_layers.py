"""Blocks for padded batches of whole utterances, whose values do not depend on the padding, in training neither."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench.layers import masked_mean


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of the valid steps alone: (B, T, ..., C) to the same shape, with zeros in the padding.

    Padding is neither counted nor computed: the layer sees the valid steps of all utterances, one after the other.
    """

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise x (B, T, ..., C) where mask (B, T) is True."""
        steps = x.flatten(0, 1)
        valid = mask.flatten().nonzero().squeeze(1)
        kept = steps.index_select(0, valid)
        normal = super().forward(kept.flatten(0, -2)).view(kept.shape)
        return torch.zeros_like(steps).index_copy(0, valid, normal.to(steps.dtype)).view(x.shape)


class ValidBatchNorm(MaskedBatchNorm):
    """The same for maps whose frames come last: (B, C, T) or (B, C, H, T)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise x (B, C, T) or (B, C, H, T) over the frames where mask (B, T) is True."""
        return super().forward(x.transpose(1, -1), mask).transpose(1, -1)


class AttentiveStatisticsPooling(nn.Module):
    """Mean and standard deviation over the frames, weighted per channel: (B, C, T) to (B, 2 C).

    Desplanques et al., INTERSPEECH 2020, equations 1 to 4: the scores of a frame see the frame, and the mean and the
    standard deviation of the utterance.
    """

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        super().__init__()
        self.squeeze = nn.Conv1d(3 * channels, bottleneck, 1)
        self.score = nn.Conv1d(bottleneck, channels, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Pool x (B, C, T) over the frames where mask (B, T) is True."""
        even = mask[:, None] / mask.sum(1)[:, None, None]
        context = torch.cat([x, weighted_statistics(x, even)[..., None].expand(-1, -1, x.shape[2])], 1)
        scores = self.score(self.squeeze(context).tanh()).float()
        return weighted_statistics(x, scores.masked_fill(~mask[:, None], -torch.inf).softmax(2))


def weighted_statistics(x: Tensor, weights: Tensor) -> Tensor:
    """Mean and standard deviation over the frames: x (B, C, T), weights (B, C or 1, T) summing to 1, to (B, 2 C)."""
    mean = (x * weights).sum(2)
    variance = ((x - mean[..., None]).square() * weights).sum(2)
    return torch.cat([mean, (variance + 1e-5).sqrt()], 1)  # the root has no gradient at 0


class SqueezeExcitation(nn.Module):
    """Channels rescaled by what the whole utterance says: (B, C, T) to (B, C, T) (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, bottleneck)
        self.excite = nn.Linear(bottleneck, channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Rescale x (B, C, T), whose valid frames are those where mask (B, T) is True."""
        scale: Tensor = self.excite(self.squeeze(masked_mean(x.transpose(1, 2), mask)).relu()).sigmoid()
        return x * scale[..., None]


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Positional encoding of Vaswani et al., NeurIPS 2017, section 3.5: (n,) to (n, width), width even.

    Sines and cosines whose wavelengths go from 2 pi to 10000 times 2 pi; positions may be negative (relative ones).
    """
    rates = torch.exp(torch.arange(0, width, 2, device=positions.device) * (-math.log(10_000) / width))
    angles = positions[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Cut steps (B, T, D) into (B, heads, T, D / heads)."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def feed_forward(width: int, hidden: int, activation: nn.Module, dropout: float) -> nn.Sequential:
    """The position-wise perceptron of encoders, after a norm: (B, T, D) to (B, T, D)."""
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, hidden),
        activation,
        nn.Dropout(dropout),
        nn.Linear(hidden, width),
        nn.Dropout(dropout),
    )


class RelativeAttention(nn.Module):
    """Multi-head self-attention that knows how far apart steps are: (B, T, D) to (B, T, D).

    Dai et al., "Transformer-XL", ACL 2019: step i scores step j by (q_i + u) . k_j + (q_i + v) . r_(i-j), where r is a
    projection of the sinusoids of the distance.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project_in = nn.Linear(width, 3 * width)
        self.distances = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(heads, 1, width // heads))  # u
        self.distance_bias = nn.Parameter(torch.zeros(heads, 1, width // heads))  # v
        self.project_out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, T, D); steps attend to those where mask (B, T) is True."""
        T, D = x.shape[1:]
        q, k, v = (split_heads(part, self.heads) for part in self.project_in(self.norm(x)).chunk(3, 2))
        far = sinusoids(torch.arange(T - 1, -T, -1, device=x.device), D)  # distances T - 1 to 1 - T
        r = split_heads(self.distances(far)[None], self.heads)  # (1, heads, 2 T - 1, D / heads)
        by_distance = shift((q + self.distance_bias) @ r.transpose(2, 3))
        scores = ((q + self.content_bias) @ k.transpose(2, 3) + by_distance) * q.shape[3] ** -0.5
        weights = scores.float().masked_fill(~mask[:, None, None], -torch.inf).softmax(3)
        seen = self.dropout(weights).to(v.dtype) @ v
        out: Tensor = self.dropout(self.project_out(seen.transpose(1, 2).flatten(2)))
        return out


def shift(scores: Tensor) -> Tensor:
    """Give (..., T, T) scores by steps i and j from (..., T, 2 T - 1) scores by step i and distance i - j, falling."""
    *batch, T, n = scores.shape
    rolled = functional.pad(scores, (1, 0)).reshape(*batch, n + 1, T)[..., 1:, :]
    return rolled.reshape(*batch, T, n)[..., :T]
