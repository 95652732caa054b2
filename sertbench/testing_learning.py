"""Checks of how a network learns: gradients, the search space, repeatability, mixed precision."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sertbench import testing_recipes as recipes
from sertbench.compute import Compute
from sertbench.errors import PluginError, few
from sertbench.feature_spec import SAMPLE_RATE
from sertbench.model import Choice, NeuralModel
from sertbench.network import build
from sertbench.optimisation import make_optimiser
from sertbench.plugin_import import RAISES, said
from sertbench.testing_sounds import (
    CLASSES,
    FP32,
    LONGEST,
    WINDOW,
    Sounds,
    as_in_a_fit,
    features_of,
    inputs,
    make,
    shape_given,
    step,
)
from sertbench.training import broken_weights, train

SEED = 20_011  # one that nobody else would set
# To learn by heart: at most so many steps, to this part of the loss of guessing. Most networks need fewer than 20;
# those whose logits are means over all positions of a map (MHCNN, APCNN) start near 0 and take 50 to 120.
STEPS, LEARNT = 200, 0.5


@as_in_a_fit()
def is_finite(cls: type[NeuralModel]) -> None:
    """Logits, gradients and the weights after a step are finite: on ordinary sounds, silence and clipped noise."""
    for name, data in hardest(cls):
        network = make(cls, data.input_shape)
        if broken := broken_weights(network):
            raise PluginError(f"a new network has {few(broken)} that are not finite: initialise every parameter")
        optimiser, _ = make_optimiser(cls.recipe, network)
        logits = network.train()(data.x, data.lengths)
        refuse_infinite(logits, f"{name} in training mode")
        torch.autograd.backward(functional.cross_entropy(logits, data.targets))
        bad = [n for n, p in network.model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        if bad:
            raise PluginError(
                f"{name} gives gradients that are not finite in {few(bad)}: look for the root or norm of what can be 0 "
                "(a standard deviation over equal frames), and add a small constant under the root"
            )
        optimiser.step()
        if broken := broken_weights(network):
            raise PluginError(
                f"after one step of training on {name} {few(broken)} are not finite: lower the learning rate "
                f"({cls.recipe.learning_rate:g})"
            )
        with torch.no_grad():
            refuse_infinite(network.eval()(data.x, data.lengths), f"{name} in eval mode, after a step of training,")


def hardest(cls: type[NeuralModel]) -> Iterator[tuple[str, Sounds]]:
    """Sounds by their name: ordinary ones, and those that a logarithm, a division or a root may fail on."""
    spec, window = cls.recipe.features, cls.recipe.window
    assert spec is not None, "has_features comes first"
    yield "ordinary sounds", inputs(cls, 6).take(0, 1, 2, 3)
    samples = round((min(window, WINDOW) if window else LONGEST) * SAMPLE_RATE)
    noise = np.sign(np.random.default_rng(0).standard_normal(samples))
    normal = inputs(cls, 8, ready=False)
    mean, std = map(torch.from_numpy, normal.moments(np.arange(8))) if cls.recipe.normalise == "train" else (0.0, 1.0)
    for name, wave in (("digital silence", np.zeros(samples)), ("full-scale noise", noise)):
        x = ((features_of(spec, wave) - mean) / std).repeat(4, 1, 1)
        yield name, Sounds(x, torch.full((4,), x.shape[2]), torch.arange(4))


def refuse_infinite(logits: Tensor, when: str) -> None:
    """PluginError for logits with a NaN or an infinity."""
    if not logits.isfinite().all():
        raise PluginError(
            f"the logits of {when} are not finite: look for a logarithm, a division or a norm of what can be 0"
        )


@as_in_a_fit()
def trains_every_parameter(cls: type[NeuralModel]) -> None:
    """Gradients reach every parameter that asks for one, within three steps: a gate may start at zero."""
    data = inputs(cls, 16, longest=np.inf)  # what pooling leaves of a shorter window may be a single step
    network = make(cls, data.input_shape)
    wanted = {name: p for name, p in network.model.named_parameters() if p.requires_grad}
    if not wanted:
        raise PluginError(f"{cls.__name__} has no parameter to train: make its layers attributes in __init__")
    optimiser, _ = make_optimiser(cls.recipe, network)
    dead = list(wanted)
    for _ in range(3):
        step(network, data, optimiser)
        dead = [name for name in dead if (grad := wanted[name].grad) is None or not grad.any()]
        if not dead:
            return
    raise PluginError(
        f"no gradient reaches {few(dead)}: use these in forward, or remove them (or set requires_grad to False if "
        "they are frozen on purpose). A detach(), an argmax or a .data on the way cuts the gradient"
    )


@as_in_a_fit()
def learns_by_heart(cls: type[NeuralModel]) -> None:
    """Sixteen items are learnt within a bounded number of the recipe's own optimiser steps."""
    data = inputs(cls, 16)
    network = make(cls, data.input_shape)
    optimiser, _ = make_optimiser(cls.recipe, network)
    chance = float(np.log(CLASSES))
    losses = []
    for _ in range(STEPS):
        losses.append(step(network, data, optimiser))
        if losses[-1] < LEARNT * chance:
            return
    raise PluginError(
        f"16 items are not learnt by heart: after {STEPS} steps the loss is {losses[-1]:.3f}, from {losses[0]:.3f} "
        f"(guessing {CLASSES} classes: {chance:.3f}). Check the learning rate ({cls.recipe.learning_rate:g}, "
        f"{cls.recipe.optimiser}), the dropout, and that forward depends on x"
    )


@as_in_a_fit()
def searches_what_it_can_train(cls: type[NeuralModel]) -> None:
    """Draws from the search space are valid, hold the published setting, and train."""
    data = inputs(cls, 8)
    for choice in recipes.draws(cls, 3):
        try:
            weights_after_an_epoch(cls, choice, data)
        except RAISES as error:
            raise PluginError(f"training fails with {choice}, drawn from search_space: {said(error)}") from error


def weights_after_an_epoch(cls: type[NeuralModel], choice: Choice, data: Sounds) -> dict[str, Tensor]:
    """Weights after one epoch of the harness's own loop."""
    recipe, arguments = cls.recipe.with_choice(choice)
    recipe = replace(recipe, epochs=1, batch_size=min(recipe.batch_size, 4))
    part = data.part()
    shape = shape_given(cls, data.input_shape)
    network = build(cls, arguments, recipe, data, part.items, shape, CLASSES, seed=0)
    for _ in train(network, recipe, data, part, part, 0, FP32):
        pass
    return network.state_dict()


@as_in_a_fit()
def trains_the_same_again(cls: type[NeuralModel]) -> None:
    """The same seed gives the same weights, bit for bit, whatever happened before; and the seed is the harness's."""
    data = inputs(cls, 8, ready=False)
    network = make(cls, data.input_shape, seed=SEED)
    network.train()(data.x, data.lengths)
    if torch.initial_seed() != SEED:
        raise PluginError(
            f"{cls.__name__} seeds torch itself ({torch.initial_seed()}): all seeds of a run would be one fit, and its "
            "interval too narrow. Remove torch.manual_seed; the harness seeds every fit"
        )
    once = weights_after_an_epoch(cls, {}, data)
    torch.rand(3)
    np.random.seed(1)
    again = weights_after_an_epoch(cls, {}, data)
    other = [name for name, value in once.items() if not torch.equal(value, again[name])]
    if other:
        raise PluginError(
            f"two trainings with the same seed differ in {few(other)}: draw random numbers from torch only (the "
            "harness seeds it), keep nothing on the class or module, and do not iterate over sets"
        )


@as_in_a_fit()
def runs_in_bf16(cls: type[NeuralModel]) -> None:
    """Mixed precision works: forward and backward under bfloat16 autocast."""
    data = inputs(cls, 8)
    network = make(cls, data.input_shape).train()
    try:
        logits = logits_in_bf16(network, data)
    except RuntimeError as error:
        if "could not create a primitive" not in str(error):
            raise
        with warnings.catch_warnings():  # oneDNN has no bfloat16 LSTM for this CPU, which is not the plug-in's fault
            warnings.simplefilter("ignore")
            with torch.backends.mkldnn.flags(enabled=False):
                logits = logits_in_bf16(network, data)
    loss = functional.cross_entropy(logits, data.targets)
    torch.autograd.backward(loss)
    if not loss.isfinite():
        raise PluginError(
            f"the loss is {loss.item()} under bfloat16 autocast: masks should use -torch.inf on .float() scores, and "
            "small constants must not vanish beside large numbers"
        )


def logits_in_bf16(network: nn.Module, data: Sounds) -> Tensor:
    """What a network gives under bfloat16 autocast."""
    with Compute("cpu", "bf16").autocast():
        logits: Tensor = network(data.x, data.lengths)
    return logits
