"""The recurrent and attention architectures: what their papers fix, and their own parts by definition."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from sertbench import plugins, testing
from sertbench.testing_sounds import inputs, make

NAMES = ("acrnn", "bilstm_attention", "cnn_lstm", "conformer", "dual_lstm", "transformer")
CLASSES = {name: plugins.load_model(name).cls for name in NAMES}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_tells_the_number_of_parameters(name):
    cls = CLASSES[name]
    told = re.search(r"([\d,]+) parameters", cls.__doc__.replace("\n    ", " "))
    seconds = cls.recipe.window or 1.0
    with torch.device("meta"):
        network = cls((cls.recipe.features.rows, cls.recipe.features.frames(round(seconds * 16_000))), 4)
    assert told is not None
    assert count(network) == int(told[1].replace(",", ""))


def test_acrnn_has_the_layers_of_the_letter():
    """Chen et al. 2018, section II-B: six 5x3 convolutions of 128 and 256 maps, 768 units, 2 x 128 cells, 64 units."""
    with torch.device("meta"):
        network = CLASSES["acrnn"]((120, 301), 4)
    assert [conv.out_channels for conv in network.convs] == [128, 256, 256, 256, 256, 256]
    assert {conv.kernel_size for conv in network.convs} == {(3, 5)}
    assert network.convs[0].in_channels == 3
    assert (network.reduce.out_features, network.hidden.out_features) == (768, 64)
    assert (network.blstm.ahead.hidden_size, network.blstm.back.hidden_size) == (128, 128)
    weights = 15 * (3 * 128 + 128 * 256 + 4 * 256 * 256) + 10 * 256 * 768 + 2 * 4 * 128 * (768 + 128) + 256 + 256 * 64
    assert sum(p.numel() for name, p in network.named_parameters() if "bias" not in name) == weights + 64 + 64 * 4


def test_acrnn_reads_static_deltas_and_delta_deltas_as_planes():
    narrow = make(Narrow, (120, 301)).model
    seen = []
    narrow.convs[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = torch.randn(2, 120, 301)
    narrow.eval()(x)
    for plane in range(3):
        assert torch.equal(seen[0][:, plane], x[:, 40 * plane : 40 * plane + 40])


class Narrow(CLASSES["acrnn"]):
    """ACRNN of 8 channels: the same code at a 250th of the cost."""

    def __init__(self, input_shape, n_classes, channels=8, convolutions=6, hidden=32):
        super().__init__(input_shape, n_classes, channels, convolutions, hidden)


Narrow.n_parameters = 0  # stated for the published width
Narrow.recipe = Narrow.recipe.with_choice({"learning_rate": 1e-3})[0]


@pytest.mark.parametrize("check", testing.model_checks(Narrow), ids=lambda check: check.name)
def test_a_narrow_acrnn_keeps_the_contract(check):
    """The published width keeps it too, in the slow tests: a step of it takes most of a minute on a CPU."""
    assert testing.run_check(Narrow, check) == ""


def test_cnn_lstm_has_two_steps_of_the_published_image():
    network = make(CLASSES["cnn_lstm"], (128, 251)).model.eval()
    seen = []
    network.lstm.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    network(torch.randn(1, 128, 251))
    assert seen == [(1, 2, 128)]


def test_the_dual_sequence_cell_is_that_of_the_figure():
    module = plugins.load_model("dual_lstm").cls.__init__.__globals__
    layer = module["DualSequenceLSTM"](5, 3, 4)
    x, y = torch.randn(2, 6, 5), torch.randn(2, 6, 3)
    h = c = torch.zeros(2, 4)
    W = layer.recurrent.weight.chunk(6)
    for t, out in enumerate(layer(x, y).unbind(1)):
        both = layer.gates(torch.cat([x[:, t], y[:, t]], 1)).chunk(4, 1)
        f, o, i_x, i_y = (torch.sigmoid(z + h @ w.T) for z, w in zip(both, W[:4], strict=True))
        x_new = torch.tanh(layer.x_candidate(x[:, t]) + h @ W[4].T)
        y_new = torch.tanh(layer.y_candidate(y[:, t]) + h @ W[5].T)
        c = f * c + i_x * x_new + i_y * y_new
        h = o * torch.tanh(c)
        torch.testing.assert_close(out, h)


def test_alignment_averages_three_valid_steps_around_each_second():
    align = plugins.load_model("dual_lstm").cls.forward.__globals__["align"]
    x = torch.randn(2, 5, 3)
    x[1, 2:] = 0.0  # padding
    aligned = align(x, torch.tensor([5, 2]), 3)
    for step, (first, last) in enumerate(((0, 3), (2, 5), (4, 5))):
        torch.testing.assert_close(aligned[0, step], x[0, first:last].mean(0))
    torch.testing.assert_close(aligned[1, 0], x[1, :2].mean(0))


def test_dual_lstm_hears_all_three_features():
    cls = CLASSES["dual_lstm"]
    data = inputs(cls, 2)
    network = make(cls, data.input_shape).eval()
    before = network(data.x, data.lengths)
    for rows in (slice(0, 64), slice(64, 192), slice(192, 231)):
        x = data.x.clone()
        x[:, rows] = 0.0
        assert not torch.allclose(network(x, data.lengths), before)
