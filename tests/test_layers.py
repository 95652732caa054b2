"""Shared blocks against their definitions, computed the slow way."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from sertbench import attention_layers, layers, sequence_layers


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


@pytest.mark.parametrize(("along_height", "stacked"), [(False, (25, 62)), (True, (50, 62))])
def test_two_filter_trunk_stacks_its_banks_where_it_is_told(along_height, stacked):
    trunk = layers.TwoFilterTrunk(along_height).eval()
    x = torch.randn(2, 26, 63)
    assert trunk.tall(x[:, None]).shape[2:] == trunk.wide(x[:, None]).shape[2:] == (25, 62)
    assert trunk(x).shape == (2, 80, stacked[0] // 4, stacked[1] // 4)
    assert trunk(x).shape[2:] == trunk.positions((26, 63))


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_area_attention_is_its_definition(n):
    x = torch.randn(2, n, 4)
    expected = torch.zeros_like(x)
    for b in range(2):
        areas = [x[b, i : i + width] for width in (1, 2, 3) for i in range(n - width + 1)]
        for i in range(n):
            weights = torch.stack([area.mean(0) @ x[b, i] for area in areas]).softmax(0)
            expected[b, i] = sum(weight * area.sum(0) for weight, area in zip(weights, areas, strict=True))
    assert close(attention_layers.AreaAttention(widest=3).eval()(x), expected)


def test_area_attention_drops_weights_in_training_alone():
    x, attend = torch.randn(1, 5, 4), attention_layers.AreaAttention(dropout=0.5)
    assert not torch.equal(attend(x), attend(x))
    attend.eval()
    assert torch.equal(attend(x), attend(x))


def test_fused_heads_weigh_channels_position_by_position():
    fuse = attention_layers.HeadFusion(5, width=3, heads=2)
    x = torch.randn(2, 5, 4, 6)
    out = fuse(x)
    assert out.shape == (2, 3, 8, 6)
    head, place = fuse.heads[1], x[:, :, 2:3, 3:4]
    weights = (head.query(place) * head.key(place)).softmax(1)
    assert close(out[:, :, 4 + 2, 3], (weights * head.value(place)).relu()[:, :, 0, 0])


@pytest.mark.parametrize("shape", [(3, 7), (3, 4, 7)])
def test_batch_normalisation_of_valid_frames_sees_no_padding(shape):
    ours, theirs = sequence_layers.ValidBatchNorm(3), nn.BatchNorm1d(3)
    x, lengths = torch.randn(2, *shape) * 3 + 1, torch.tensor([7, 4])
    mask = layers.valid_frames(lengths, 7)
    frames = torch.cat([x[0], x[1, ..., :4]], -1)  # (C, ..., 11)
    for mode in (True, False):
        ours.train(mode)
        theirs.train(mode)
        out = ours(x, mask)
        expected = theirs(frames.flatten(1)[None]).reshape(frames.shape)
        assert close(out[0], expected[..., :7])
        assert close(out[1, ..., :4], expected[..., 7:])
        assert not out[1, ..., 4:].any()
    assert close(ours.running_mean, theirs.running_mean)
    assert close(ours.running_var, theirs.running_var)


def test_attentive_statistics_are_weighted_moments_of_the_valid_frames():
    pool = sequence_layers.AttentiveStatisticsPooling(4, bottleneck=6)
    x, lengths = torch.randn(2, 4, 7), torch.tensor([7, 3])
    pooled = pool(x, layers.valid_frames(lengths, 7))
    for row, steps, length in zip(pooled, x, lengths, strict=True):
        steps = steps[:, :length]
        std = (steps.var(1, correction=0) + 1e-5).sqrt()
        context = torch.cat([steps, steps.mean(1)[:, None].expand_as(steps), std[:, None].expand_as(steps)])
        weights = pool.score(pool.squeeze(context[None]).tanh())[0].softmax(1)
        mean = (weights * steps).sum(1)
        deviation = ((weights * steps.square()).sum(1) - mean.square() + 1e-5).sqrt()
        assert torch.allclose(row, torch.cat([mean, deviation]), rtol=1e-4, atol=1e-4)


def test_squeeze_excitation_scales_channels_by_the_mean_of_the_valid_frames():
    block = sequence_layers.SqueezeExcitation(4, bottleneck=3)
    x, lengths = torch.randn(2, 4, 7), torch.tensor([7, 3])
    out = block(x, layers.valid_frames(lengths, 7))
    for row, steps, length in zip(out, x, lengths, strict=True):
        scale = block.excite(block.squeeze(steps[:, :length].mean(1)).relu()).sigmoid()
        assert close(row, steps * scale[:, None])


def test_reversed_steps_begin_at_the_last_valid_one():
    x, lengths = random_utterances([4, 2], 3)
    turned = layers.reverse_steps(x, lengths)
    assert torch.equal(turned[0], x[0].flip(0))
    assert torch.equal(turned[1, :2], x[1, :2].flip(0))
    assert torch.equal(layers.reverse_steps(turned, lengths), x)


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


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_pooling_before_the_relu_changes_no_bit(size):
    blocks = [layers.MultiScaleBlock(4, pool=pool) for pool in (True, False)]
    blocks[1].load_state_dict(blocks[0].state_dict())
    x = torch.randn(3, 4, *size)
    pooled, then_pooled = blocks[0](x), functional.max_pool2d(blocks[1](x), 2)
    assert torch.equal(pooled, then_pooled)
    for out in (pooled, then_pooled):
        out.square().sum().backward()
    for mine, other in zip(blocks[0].parameters(), blocks[1].parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)


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
