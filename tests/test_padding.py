"""Whole utterances: how a batch is padded, filled and ordered changes no logit, for every model that takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sertbench import plugins
from sertbench.feature_spec import pooled
from sertbench.model import NeuralModel
from sertbench.testing_sounds import inputs, trained

CLASSES = {name: plugins.load_model(name).cls for name in plugins.names("models")}
WHOLE = [
    name
    for name, cls in CLASSES.items()
    if issubclass(cls, NeuralModel) and cls.recipe.window is None and not pooled(cls.recipe.features)
]  # pooled: one item of one size for each utterance
LONGEST = 40  # frames


@pytest.fixture(scope="module", params=WHOLE)
def model(request: pytest.FixtureRequest) -> Iterator[NeuralModel]:
    """A model after a step of training, so that its running statistics have moved as those of a fit have.

    In float64: there a difference is a fault of the network, never rounding.
    """
    data = inputs(CLASSES[request.param], 4)
    short = replace(data, x=data.x[:, :, :LONGEST], lengths=data.lengths.clamp(max=LONGEST))
    network = trained(CLASSES[request.param], short, steps=1).eval().double()
    torch.set_default_dtype(torch.float64)
    yield network.model
    torch.set_default_dtype(torch.float32)


@torch.inference_mode()
def logits(model: NeuralModel, utterances: list[Tensor], padding: int) -> Tensor:
    """Logits of utterances (F, T_i) in one batch, with `padding` frames of zeros after the longest."""
    lengths = torch.tensor([utterance.shape[1] for utterance in utterances])
    x = torch.zeros(len(utterances), utterances[0].shape[0], int(lengths.max()) + padding)
    for row, utterance in zip(x, utterances, strict=True):
        row[:, : utterance.shape[1]] = utterance
    out: Tensor = model(x, lengths)
    return out


def test_there_are_models_of_whole_utterances() -> None:
    assert {"attention", "bilstm_attention", "conformer", "dual_lstm", "lstm", "transformer"} <= set(WHOLE)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, LONGEST), min_size=1, max_size=3),
    padding=st.integers(0, 20),
    mates=st.lists(st.integers(1, 2 * LONGEST), max_size=2),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_padding_mates_and_order_change_no_logit(
    model: NeuralModel, lengths: list[int], padding: int, mates: list[int], seed: int, data: st.DataObject
) -> None:
    generator = torch.Generator().manual_seed(seed)
    utterances = [3 * torch.randn(model.input_shape[0], n, generator=generator) for n in [*lengths, *mates]]
    alone = torch.cat([logits(model, [utterance], 0) for utterance in utterances[: len(lengths)]])
    order = data.draw(st.permutations(range(len(utterances))))

    together = logits(model, [utterances[i] for i in order], padding)

    back = [order.index(i) for i in range(len(lengths))]
    assert (together[back] - alone).abs().max() <= 1e-5 * alone.abs().max()
