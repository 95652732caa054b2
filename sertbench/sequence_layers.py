"""Blocks for padded batches of whole utterances, whose values do not depend on the padding, in training neither."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sertbench.layers import masked_mean


class ValidBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of (B, C, T) or (B, C, H, T) with the statistics of the valid frames alone.

    Frames past an utterance's length come out as zeros, ready for a convolution that reads over its end.
    """

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise x (B, C, T) or (B, C, H, T) over the frames where mask (B, T) is True."""
        frames = x.movedim(-1, 1)  # (B, T, C) or (B, T, C, H)
        valid = super().forward(frames[mask])
        normalised = valid.new_zeros(frames.shape)
        normalised[mask] = valid
        return normalised.movedim(1, -1)


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
