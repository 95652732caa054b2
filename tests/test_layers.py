"""Shared blocks against their definitions, computed the slow way."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from sertbench import layers


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def random_utterances(lengths: list[int], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Steps (B, T, width) with garbage past the lengths, and the lengths."""
    return torch.randn(len(lengths), max(lengths), width), torch.tensor(lengths)


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-5, atol=1e-5)


def test_valid_frames_are_those_before_the_length():
    mask = layers.valid_frames(torch.tensor([1, 3]), 3)
    assert mask.tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_stacked_frames_hold_the_valid_frames_in_order(factor):
    x, lengths = torch.randn(2, 3, 5), torch.tensor([5, 2])
    stacked, steps = layers.stack_frames(x, lengths, factor)
    assert steps.tolist() == [-(-5 // factor), -(-2 // factor)]
    frames = stacked.reshape(2, -1, 3)  # factor frames of 3 rows per step
    assert torch.equal(frames[0, :5], x[0].T)
    assert torch.equal(frames[1, :2], x[1, :, :2].T)
    assert not frames[0, 5:].any()
    assert not frames[1, 2:].any()


@pytest.mark.parametrize(
    ("pool", "slow"),
    [
        (layers.masked_mean, lambda steps: steps.mean(0)),
        (layers.last_valid, lambda steps: steps[-1]),
        (
            layers.masked_statistics,
            lambda steps: torch.cat([steps.mean(0), (steps.var(0, correction=0) + 1e-5).sqrt()]),
        ),
    ],
)
def test_pooling_sees_the_valid_steps_alone(pool, slow):
    x, lengths = random_utterances([4, 7, 2], 5)
    pooled = pool(x, layers.valid_frames(lengths, 7))
    for row, steps, length in zip(pooled, x, lengths, strict=True):
        assert close(row, slow(steps[:length]))


def test_statistics_of_equal_steps_have_a_finite_gradient():
    x = torch.ones(1, 3, 2, requires_grad=True)
    layers.masked_statistics(x, torch.ones(1, 3, dtype=torch.bool)).sum().backward()
    assert x.grad.isfinite().all()


def test_attention_weighs_valid_steps_by_their_scores():
    pool = layers.AttentionPooling(5)
    x, lengths = random_utterances([4, 7], 5)
    pooled = pool(x, layers.valid_frames(lengths, 7))
    for row, steps, length in zip(pooled, x, lengths, strict=True):
        weights = (steps[:length] @ pool.score.weight[0]).softmax(0)
        assert close(row, weights @ steps[:length])


def test_blstm_equals_torchs_on_packed_sequences():
    ours, theirs = layers.BLSTM(4, 3), nn.LSTM(4, 3, batch_first=True, bidirectional=True)
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        getattr(theirs, name).data = getattr(ours.ahead, name).data
        getattr(theirs, f"{name}_reverse").data = getattr(ours.back, name).data
    x, lengths = random_utterances([6, 1, 4], 4)
    steps = ours(x, lengths)
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    mask = layers.valid_frames(lengths, 6)[..., None]
    assert close(steps * mask, expected * mask)


@pytest.mark.parametrize(("tokens", "width"), [(128, 6), (16, 3), (5, 4)])
def test_linear_over_tokens_is_a_linear_layer(tokens, width):
    linear = nn.Linear(width, 9)
    x = torch.randn(2, tokens, width)
    assert close(layers.linear_over_tokens(x, linear.weight, linear.bias), linear(x))


def test_gated_mlp_is_its_formula():
    block = layers.GatedMLP(tokens=12, width=6, init=5.0)
    x = torch.randn(3, 12, 6)
    hidden = functional.gelu(block.project_in(block.norm(x)))
    content, gate = hidden[..., :12], block.gate_norm(hidden[..., 12:])
    gate = torch.tanh(torch.einsum("mn,bnf->bmf", block.mix, gate) + block.mix_bias[:, None])
    assert close(block(x), x + block.project_out(gate * content))


def test_multi_scale_block_adds_the_input_to_each_branch():
    block = layers.MultiScaleBlock(4).eval()
    x = torch.randn(2, 4, 5, 6)
    expected = block.norm(torch.cat([block.conv3(x) + x, block.conv5(x) + x], 1)).relu()
    assert close(block(x), expected)


def test_multi_scale_block_can_leave_the_input_out():
    block = layers.MultiScaleBlock(4, residual=False).eval()
    x = torch.randn(2, 4, 5, 6)
    assert close(block(x), block.norm(torch.cat([block.conv3(x), block.conv5(x)], 1)).relu())


def test_conv_bn_relu_leaves_its_input_alone():
    x = torch.randn(2, 3, 4, 4)
    before = x.clone()
    out = layers.ConvBNReLU(3, 5, 3)(x)
    assert out.shape == (2, 5, 4, 4)
    assert out.min() == 0
    assert torch.equal(x, before)


@pytest.mark.parametrize("shape", [(26, 57), (26, 63), (2, 4), (7, 9)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_trunk_gives_the_positions_it_tells(shape, kernel):
    trunk = layers.MultiScaleTrunk(kernel).eval()
    with torch.no_grad():
        out = trunk(torch.randn(2, *shape))
    assert out.shape == (2, trunk.channels, *trunk.positions(shape))
