"""Multiply-adds against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sertbench import counting, plugins

T, I, H, D = 5, 8, 16, 16  # noqa: E741 - steps, inputs, cells, width
X = torch.zeros(1, 10, D)
MHA = 4 * 10 * D * D + 2 * 10 * 10 * D  # four projections, scores, weighted sum


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def recurrent(cls: type[nn.RNNBase], gates: int, layers: int, directions: int) -> tuple[nn.Module, int]:
    network = cls(I, H, num_layers=layers, bidirectional=directions == 2, batch_first=True)
    inputs = [I, *[directions * H] * (layers - 1)]
    return network, T * sum(directions * gates * H * (size + H) for size in inputs)


@pytest.mark.parametrize(("cls", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (2, 2)])
def test_recurrences(cls, gates, layers, directions):
    network, by_hand = recurrent(cls, gates, layers, directions)
    assert counting.macs(network, torch.zeros(1, T, I)) == by_hand
    assert counting.macs(network, torch.zeros(3, T, I)) == 3 * by_hand


@pytest.mark.parametrize(
    ("network", "inputs", "by_hand"),
    [
        (nn.Linear(D, 4), X, 10 * D * 4),
        (nn.Conv1d(D, D, 3, padding=1), X.mT, 10 * D * D * 3),
        (nn.Conv1d(D, D, 3, padding=1, groups=D), X.mT, 10 * D * 3),
        (nn.Conv2d(1, 4, 3), torch.zeros(2, 1, 10, 12), 2 * 4 * 8 * 10 * 9),
        (nn.LSTMCell(I, H), torch.zeros(1, I), 4 * H * (I + H)),
        (nn.GRUCell(I, H), torch.zeros(1, I), 3 * H * (I + H)),
        (nn.TransformerEncoderLayer(D, 4, 32, batch_first=True), X, MHA + 2 * 10 * D * 32),
        (Apply(lambda x: x @ x[0, 0]), X, 10 * D),
        (Apply(lambda x: torch.einsum("bti,bsi->bts", x, x)), X, 10 * 10 * D),
        (Apply(nn.functional.relu), X, 0),
    ],
)
def test_layers(network, inputs, by_hand):
    assert counting.macs(network, inputs) == by_hand


@pytest.mark.parametrize("need_weights", [True, False])
def test_attention(need_weights):
    attention = nn.MultiheadAttention(D, 4, batch_first=True)
    network = Apply(lambda x: attention(x, x, x, need_weights=need_weights))
    assert counting.macs(network, X) == MHA


def test_packed_sequences_count_their_valid_steps_alone():
    lstm = nn.LSTM(I, H, batch_first=True)
    packed = nn.utils.rnn.pack_padded_sequence(torch.zeros(2, T, I), torch.tensor([T, 2]), batch_first=True)
    assert counting.macs(Apply(lambda: lstm(packed))) == (T + 2) * 4 * H * (I + H)


def test_glam_is_that_of_its_authors():
    """904,078 parameters; 365.4 million floating-point operations for a window of 26 x 57."""
    glam = plugins.load_model("glam").cls((26, 57), 4)
    assert counting.parameters(glam) == (904_078, 904_078)
    assert 2 * counting.macs(glam, torch.zeros(1, 26, 57)) == 365_352_832


def test_frozen_parameters_and_buffers_count_in_the_size():
    network = nn.Sequential(nn.Linear(10, 10), nn.BatchNorm1d(10))
    network[0].requires_grad_(False)
    assert counting.parameters(network) == (130, 20)
    assert counting.megabytes(network) == pytest.approx((4 * (130 + 20) + 8) / 1e6)


def test_counting_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    counting.macs(network, torch.randn(3, 4))
    assert network.training
    assert torch.backends.mha.get_fastpath_enabled()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_memory_is_what_is_alive_at_the_same_time():
    x = torch.zeros(1000)
    with counting.TensorMemory() as memory:
        y = x + 1
        z = y + 1
        del y
        view = z.view(10, 100)
        x += 1
        w = view.t() + 1
        del z, view
        assert memory.now == 4000
    assert w.numel() == 1000
    assert memory.peak == 8000


def test_memory_holds_what_the_backward_pass_needs():
    """Two linear layers and a ReLU on (50, 20): the activations, then gradients as large as they."""
    network = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 1))
    with counting.TensorMemory() as memory:
        network(torch.zeros(50, 20)).sum().backward()
    kept = 4 * 50 * (20 + 30)  # what is asked for again: the input and the hidden units
    gradients = 4 * (20 * 30 + 30 + 30 + 1)
    assert kept + gradients <= memory.peak <= 3 * (kept + gradients)
    assert memory.now == gradients
