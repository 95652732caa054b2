"""Blocks of the recurrent and attention architectures that read whole utterances, padded in a batch.

Time is the second axis of steps (B, T, D).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


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
