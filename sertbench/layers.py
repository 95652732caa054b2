"""Blocks that several architectures share. Maps are (B, C, H, W) with H = feature rows and W = frames."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench.spectral_layers import SpectralConv2d


class ConvBNReLU(nn.Module):
    """Convolution, batch normalisation, ReLU: (B, C_in, H, W) to (B, C_out, H', W')."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int | tuple[int, int],
        padding: int | tuple[int, int] | str = "same",
        bias: bool = True,
        conv: Callable[..., nn.Conv2d] = nn.Conv2d,
    ) -> None:
        super().__init__()
        self.conv = conv(c_in, c_out, kernel, padding=padding, bias=bias)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C_in, H, W)."""
        return functional.relu_(self.norm(self.conv(x)))


class MultiScaleBlock(nn.Module):
    """Multi-scale residual block of GLAM: a 3x3 and a 5x5 branch side by side, (B, C, H, W) to (B, 2C, H, W).

    Each branch has its own identity; one batch normalisation and one ReLU follow the concatenation (Zhu & Li 2022,
    figure 2). `residual=False` leaves the identities out (an ablation of the released code); `pool` ends in a 2x2
    max-pool, (B, 2C, H // 2, W // 2).
    """

    def __init__(self, channels: int, residual: bool = True, pool: bool = False) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv5 = SpectralConv2d(channels, channels, 5)
        self.norm = nn.BatchNorm2d(2 * channels)
        self.residual = residual
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W)."""
        branches = [self.conv3(x), self.conv5(x)]
        if self.residual:
            branches = [branch.add_(x) for branch in branches]
        x = self.norm(torch.cat(branches, 1))
        if self.pool:  # before the ReLU: the same values and gradients, and the ReLU has a quarter of the work
            x = functional.max_pool2d(x, 2)
        return functional.relu_(x)


class MultiScaleTrunk(nn.Module):
    """The convolutional body of GLAM and of its ablations: (B, F, T) to (B, 128, F // 2, T // 4).

    Two one-dimensional filter banks, along rows and along frames, read the same input; their maps are stacked along the
    height. Three multi-scale blocks follow, with a 2x2 max-pool after the first two, then a 5x5 convolution.
    """

    channels = 128

    def __init__(self, kernel: int = 3, residual: bool = True) -> None:
        super().__init__()
        self.rows = ConvBNReLU(1, 16, (kernel, 1), (kernel // 2, 0))
        self.frames = ConvBNReLU(1, 16, (1, kernel), (0, kernel // 2))
        self.block1 = MultiScaleBlock(16, residual, pool=True)
        self.block2 = MultiScaleBlock(32, residual, pool=True)
        # Few channels on large maps are faster with channels last on a CPU (half the time of 16 channels), many on
        # small maps are not, and what follows the head wants channels first. The values do not depend on it.
        self.to(memory_format=torch.channels_last)
        self.block3 = MultiScaleBlock(64, residual)
        self.head = ConvBNReLU(self.channels, self.channels, 5, conv=SpectralConv2d)

    @staticmethod
    def positions(input_shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output map for an input of (F, T)."""
        return input_shape[0] // 2, input_shape[1] // 4

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, F, T)."""
        x = x[:, None]
        x = torch.cat([self.rows(x), self.frames(x)], 2).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.head(self.block3(self.block2(self.block1(x)).contiguous()))
        return features


class TwoFilterTrunk(nn.Module):
    """The convolutional body of APCNN, MHCNN and AACNN: (B, F, T) to (B, 80, H', W').

    Li et al., INTERSPEECH 2018: a tall (10x2) and a wide (2x8) filter bank read the same input; their maps are stacked
    along the channels (8 each) or along the height (16 each). Four 3x3 convolutions follow, the first two with a 2x2
    max-pool.
    """

    channels = 80

    def __init__(self, along_height: bool = False) -> None:
        super().__init__()
        self.axis = 2 if along_height else 1
        filters = 16 if along_height else 8
        self.tall = ConvBNReLU(1, filters, (10, 2), (4, 0))
        self.wide = ConvBNReLU(1, filters, (2, 8), (0, 3))
        widths = (16, 32, 48, 64, self.channels)
        self.blocks = nn.ModuleList(ConvBNReLU(c_in, c_out, 3, 1) for c_in, c_out in pairwise(widths))
        self.to(memory_format=torch.channels_last)

    def positions(self, input_shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output map for an input of (F, T)."""
        height, width = (side - 1 for side in input_shape)
        return height * self.axis // 4, width // 4

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, F, T), F >= 5, T >= 5 (along the height: F >= 3)."""
        x = x[:, None]
        x = torch.cat([self.tall(x), self.wide(x)], self.axis).contiguous(memory_format=torch.channels_last)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < 2:
                x = functional.max_pool2d(x, 2)
        return x


class GatedMLP(nn.Module):
    """One gMLP block with a tanh gate: (B, n, d) to (B, n, d), n tokens of d features.

    Liu et al., "Pay Attention to MLPs", NeurIPS 2021: half of the hidden units is gated by the other half, mixed over
    the tokens by one dense matrix S. The tanh, which the paper does not have, is GLAM's: gate = tanh(S v + s).
    """

    def __init__(self, tokens: int, width: int, expansion: int = 4, init: float = 1e-3) -> None:
        super().__init__()
        hidden = expansion * width
        self.tokens = tokens
        self.norm = nn.LayerNorm(width)
        self.project_in = nn.Linear(width, hidden)
        self.gate_norm = nn.LayerNorm(hidden // 2)
        self.mix = nn.Parameter(torch.empty(tokens, tokens).uniform_(-init / tokens, init / tokens))
        self.mix_bias = nn.Parameter(torch.ones(tokens))
        self.project_out = nn.Linear(hidden // 2, width)

    def forward(self, x: Tensor) -> Tensor:
        """Mix x (B, n, d)."""
        x_norm = self.norm(x)
        halves = zip(self.project_in.weight.chunk(2), self.project_in.bias.chunk(2), strict=True)
        # Two products, because the halves of one would be copied again and again: they do not lie side by side.
        content, gate = (functional.gelu(linear_over_tokens(x_norm, *half)) for half in halves)
        gate = functional.conv1d(self.gate_norm(gate), self.mix[..., None], self.mix_bias).tanh_()
        return x + linear_over_tokens(gate * content, self.project_out.weight, self.project_out.bias)


def linear_over_tokens(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Give x W^T + b for x (B, n, d), as a 1x1 convolution, which oneDNN computes faster on a CPU than the product."""
    B, n, d = x.shape
    side = 8 if n % 8 == 0 else 1
    grid = x.reshape(B, n // side, side, d).permute(0, 3, 1, 2)  # channels last already: no copy
    return functional.conv2d(grid, weight[..., None, None], bias).permute(0, 2, 3, 1).reshape(B, n, -1)


def valid_frames(lengths: Tensor, T: int) -> Tensor:
    """Mask (B, T) of the frames that belong to utterances of `lengths` (B,): True where t < length."""
    return torch.arange(T, device=lengths.device) < lengths[:, None]


def stack_frames(x: Tensor, lengths: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Join every `factor` frames into one: x (B, F, T) to (B, T', factor * F), T' = ceil(T / factor), and its lengths.

    Recurrent networks then take fewer, longer steps (Sak et al., INTERSPEECH 2015). Padding becomes zeros.
    """
    B, F, T = x.shape
    x = x * valid_frames(lengths, T)[:, None]
    x = functional.pad(x, (0, -T % factor)).transpose(1, 2)
    return x.reshape(B, -1, factor * F), (lengths + factor - 1) // factor


def last_valid(x: Tensor, mask: Tensor) -> Tensor:
    """Take the last valid step: x (B, T, D), mask (B, T), to (B, D)."""
    return reorder(x, mask.sum(1, keepdim=True) - 1).squeeze(1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the valid steps: x (B, T, D), mask (B, T), to (B, D)."""
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def masked_statistics(x: Tensor, mask: Tensor) -> Tensor:
    """Mean and standard deviation over the valid steps: x (B, T, D), mask (B, T), to (B, 2 D)."""
    mean = masked_mean(x, mask)
    variance = masked_mean((x - mean[:, None]).square(), mask)
    return torch.cat([mean, (variance + 1e-5).sqrt()], 1)  # the root has no gradient at 0


class AttentionPooling(nn.Module):
    """Mean over the steps, weighted by softmax(u . x_t): (B, T, D) to (B, D).

    Mirsamadi et al., ICASSP 2017, local attention; also masked.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Pool x (B, T, D) over the steps where mask (B, T) is True."""
        scores = self.score(x).squeeze(2).float().masked_fill(~mask, -torch.inf)
        pooled: Tensor = (x * scores.softmax(1)[..., None]).sum(1)
        return pooled


class BLSTM(nn.Module):
    """One bidirectional LSTM layer for padded batches: (B, T, D) to (B, T, 2 H).

    The backward direction reads each utterance from its own last step, so that padding changes nothing. Two plain LSTMs
    on padded tensors are four times as fast on a CPU as packed sequences, which oneDNN does not take.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(width, hidden, batch_first=True)
        self.back = nn.LSTM(width, hidden, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Read x (B, T, D); steps past an utterance's length hold no meaning."""
        back = reverse_steps(self.back(reverse_steps(x, lengths))[0], lengths)
        return torch.cat([self.ahead(x)[0], back], 2)


def reverse_steps(x: Tensor, lengths: Tensor) -> Tensor:
    """Turn each utterance of x (B, T, D) back to front, from its own last step; steps past its length stay."""
    steps = torch.arange(x.shape[1], device=x.device)
    return reorder(x, torch.where(valid_frames(lengths, x.shape[1]), lengths[:, None] - 1 - steps, steps))


def reorder(x: Tensor, steps: Tensor) -> Tensor:
    """Put step `steps[b, t]` of x (B, T, D) at position t."""
    return x.gather(1, steps[..., None].expand(-1, -1, x.shape[2]))
