"""Attention over the maps (B, C, H, W) of a convolutional network, shared by several architectures."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ElementwiseHead(nn.Module):
    """One attention head that weighs channels: (B, C, H, W) to (B, D, H, W).

    Query, key and value are 1x1 convolutions; the weights are a softmax over the channels of query times key, element
    by element, so that no position looks at another one (Xu et al., CCWC 2020, as released).
    """

    def __init__(self, c_in: int, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(c_in, width, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W)."""
        weighted: Tensor = (self.query(x) * self.key(x)).softmax(1) * self.value(x)
        return weighted


class HeadFusion(nn.Module):
    """Elementwise heads side by side, stacked along the height, then ReLU: (B, C, H, W) to (B, D, heads H, W)."""

    def __init__(self, c_in: int, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.heads = nn.ModuleList(ElementwiseHead(c_in, width) for _ in range(heads))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W)."""
        return functional.relu_(torch.cat([head(x) for head in self.heads], 2))


class AreaAttention(nn.Module):
    """Self-attention of positions to areas of 1 to `widest` neighbouring positions: (B, n, d) to (B, n, d).

    Li et al., "Area Attention", ICML 2019, in one dimension: an area's key is the mean of its positions, its value
    their sum. Queries, keys and values are the positions themselves, scores are not scaled, and in training a part
    `dropout` of the weights is dropped. Nothing is learnt here.
    """

    def __init__(self, widest: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.widest = widest
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Attend from x (B, n, d), n >= 1."""
        sums = [x]  # of 1, 2, ... neighbours
        for width in range(2, min(self.widest, x.shape[1]) + 1):
            sums.append(sums[-1][:, :-1] + x[:, width - 1 :])
        keys = torch.cat([total / width for width, total in enumerate(sums, 1)], 1)
        weights = self.dropout((x @ keys.transpose(1, 2)).softmax(2))
        attended: Tensor = weights @ torch.cat(sums, 1)
        return attended
