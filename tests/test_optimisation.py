"""Optimisers that are read from a checkpoint: how a step is computed is not the checkpoint's matter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sertbench.model import Recipe
from sertbench.optimisation import make_optimiser


def stepped(recipe: Recipe, *, recordable: bool, state: dict[str, Any] | None = None) -> tuple[Any, list[Tensor]]:
    """An optimiser, begun anew or read from the state of another, after one step; and the weights."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    optimiser, schedule = make_optimiser(recipe, network, recordable=recordable)
    if state is not None:
        optimiser.load_state_dict(state)
    network(torch.ones(4, 3)).square().sum().backward()
    optimiser.step()
    schedule.step()
    return optimiser, [p.detach().clone() for p in network.parameters()]


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("recordable", [True, False])
def test_a_checkpoint_of_the_other_way_is_gone_on_with(kind: Any, recordable: bool) -> None:
    """A run with recorded steps (`--stack`) goes on from one without, and the other way round."""
    recipe = Recipe(optimiser=kind, learning_rate=0.03, schedule="exponential", gamma=0.5)
    before, _ = stepped(recipe, recordable=not recordable)
    same, _ = stepped(recipe, recordable=recordable)

    after, weights = stepped(recipe, recordable=recordable, state=before.state_dict())

    _, expected = stepped(recipe, recordable=recordable, state=same.state_dict())
    (group,) = after.param_groups
    assert isinstance(group["lr"], Tensor) == recordable
    assert float(group["lr"]) == pytest.approx(0.03 / 4)
    assert [group[name] for name in ("fused", "capturable") if name in group] == [
        after.defaults[name] for name in ("fused", "capturable") if name in after.defaults
    ]
    for one, two in zip(weights, expected, strict=True):
        torch.testing.assert_close(one, two)


def test_the_rate_goes_to_where_the_weights_are() -> None:
    recipe = Recipe(optimiser="sgd", learning_rate=0.5)
    state = stepped(recipe, recordable=False)[0].state_dict()
    optimiser, _ = make_optimiser(recipe, nn.Linear(3, 2), recordable=True)
    optimiser.defaults["lr"] = torch.tensor(0.5, device="meta")  # as if made for another device

    optimiser.load_state_dict(state)

    assert optimiser.param_groups[0]["lr"].device.type == "meta"
