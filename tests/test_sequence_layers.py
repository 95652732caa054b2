"""Blocks for whole utterances against their definitions, computed the slow way."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from sertbench.layers import valid_frames
from sertbench.sequence_layers import MaskedBatchNorm, RelativeAttention, shift, sinusoids, split_heads


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("inner", [(), (4,)])
def test_masked_batch_norm_is_batch_norm_of_the_valid_steps(inner):
    ours, theirs = MaskedBatchNorm(6), nn.BatchNorm1d(6)
    x, lengths = 5 * torch.randn(3, 7, *inner, 6) + 2, torch.tensor([7, 2, 5])
    mask = valid_frames(lengths, 7)
    for train in (True, True, False):
        ours.train(train)
        theirs.train(train)
        out = ours(x, mask)
        expected = theirs(x[mask].reshape(-1, 6)).view(x[mask].shape)
        torch.testing.assert_close(out[mask], expected)
        assert not out[~mask].any()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_padding_gets_no_gradient_from_a_masked_batch_norm():
    x = torch.randn(2, 5, 3, requires_grad=True)
    mask = valid_frames(torch.tensor([5, 2]), 5)
    MaskedBatchNorm(3)(x, mask).square().sum().backward()
    assert not x.grad[~mask].any()


def test_sinusoids_are_those_of_the_paper():
    table = sinusoids(torch.tensor([0, 3, -2]), 8)
    for row, position in zip(table, (0, 3, -2), strict=True):
        for i in range(4):
            angle = position / 10_000 ** (2 * i / 8)
            assert row[2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert row[2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("T", [1, 2, 5])
def test_shift_finds_the_score_of_each_distance(T):
    by_distance = torch.randn(2, 3, T, 2 * T - 1)  # distances T - 1 to 1 - T
    by_step = shift(by_distance)
    for i in range(T):
        for j in range(T):
            assert torch.equal(by_step[..., i, j], by_distance[..., i, (T - 1) - (i - j)])


def test_relative_attention_is_its_formula():
    attend, T, heads, d = RelativeAttention(8, heads=2, dropout=0.5).eval(), 5, 2, 4
    nn.init.normal_(attend.content_bias)
    nn.init.normal_(attend.distance_bias)
    x, mask = torch.randn(1, T, 8), valid_frames(torch.tensor([4]), T)
    q, k, v = (split_heads(part, heads)[0] for part in attend.project_in(attend.norm(x)).chunk(3, 2))
    out = torch.empty(T, heads, d)
    for h in range(heads):
        for i in range(T):
            scores = []
            for j in range(4):
                r = attend.distances(sinusoids(torch.tensor([i - j]), 8))[0, h * d : (h + 1) * d]
                content = (q[h, i] + attend.content_bias[h, 0]) @ k[h, j]
                scores.append((content + (q[h, i] + attend.distance_bias[h, 0]) @ r) / math.sqrt(d))
            out[i, h] = functional.softmax(torch.stack(scores), 0) @ v[h, :4]
    expected = attend.project_out(out.flatten(1))
    torch.testing.assert_close(attend(x, mask)[0], expected, rtol=1e-5, atol=1e-5)
