"""Made-up sounds for the checks of neural models, and the harness around a network under test.

Inputs are the recipe's own features of tones in noise, brought in as the harness does it, so that a network is seen as
it will be used.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sertbench.compute import Compute
from sertbench.feature_spec import SAMPLE_RATE, Features, SslSpec, UtteranceSpec, log_mel, pooled
from sertbench.features import extract
from sertbench.model import NeuralModel
from sertbench.network import Network, Normaliser, Part
from sertbench.optimisation import make_optimiser

CLASSES = 4
LONGEST = 1.2  # seconds of the longest whole utterance
WINDOW = 0.8  #  seconds at most of a window: a longer one only takes longer to check
FP32 = Compute("cpu", "fp32")


@dataclass(frozen=True, eq=False)
class Sounds:
    """A few items in memory, read by the training loop as if they were a FeatureStore."""

    x: Tensor  #        (n, F, T), zeros past the length
    lengths: Tensor  #  (n,)
    targets: Tensor  #  (n,)

    @property
    def input_shape(self) -> tuple[int, int]:
        """(F, T)."""
        return self.x.shape[1], self.x.shape[2]

    def batch(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        """Give x and lengths of some items."""
        return self.x[items], self.lengths[items]

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give mean and standard deviation of each row over the valid frames of some items."""
        frames = np.concatenate([self.x[i, :, : self.lengths[i]].numpy() for i in items], axis=1)
        return frames.mean(1, keepdims=True), np.maximum(frames.std(1, keepdims=True), 1e-5)

    def part(self) -> Part:
        """All items, each an utterance."""
        everything = np.arange(len(self.x))
        return Part(everything, everything, self.targets.numpy())

    def normalised(self) -> Sounds:
        """The same items, standardised with their own moments as the harness does it."""
        mean, std = map(torch.from_numpy, self.moments(np.arange(len(self.x))))
        return replace(self, x=Normaliser(mean, std)(self.x, self.lengths))

    def take(self, *items: int) -> Sounds:
        """Some of the items."""
        return Sounds(self.x[list(items)], self.lengths[list(items)], self.targets[list(items)])


@cache
def sounds(spec: Features, window: float | None, count: int) -> Sounds:
    """Features of `count` tones in noise, one pitch per class; whole utterances are between half and all of LONGEST."""
    rng = np.random.default_rng(count)
    seconds = np.full(count, window) if window else rng.permutation(np.linspace(LONGEST / 2, LONGEST, count))
    targets = np.arange(count) % CLASSES
    items = []
    for duration, target in zip(seconds, targets, strict=True):
        time = np.arange(round(duration * SAMPLE_RATE)) / SAMPLE_RATE
        tone = np.sin(2 * np.pi * 250 * 2**target * rng.uniform(0.9, 1.1) * time + rng.uniform(0, 6))
        swell = np.sin(2 * np.pi * rng.uniform(2, 5) * time) ** 2
        items.append(features_of(spec, 0.2 * swell * tone + 0.02 * rng.standard_normal(len(time))))
    lengths = torch.tensor([item.shape[1] for item in items])
    x = torch.zeros(count, spec.rows, int(lengths.max()))
    for row, item in zip(x, items, strict=True):
        row[:, : item.shape[1]] = item
    return Sounds(x, lengths, torch.from_numpy(targets))


def features_of(spec: Features, wave: np.ndarray) -> Tensor:
    """Features (F, T) of one wave."""
    assert not isinstance(spec, UtteranceSpec), "a network takes none"
    given = torch.from_numpy(wave.astype(np.float32))[None]
    return stand_in(spec, given) if isinstance(spec, SslSpec) else extract(spec, given)[0]


def stand_in(spec: SslSpec, wave: Tensor) -> Tensor:
    """What has the shape of hidden states without a checkpoint: per layer a random projection of a log-mel spectrum."""
    levels = extract(log_mel(16, hop_length=320), wave)[0] / 20 + 2.5  # (16, T), about zero mean and unit variance
    layers, generator = len(spec.chosen), torch.Generator().manual_seed(0)
    weights = torch.randn(layers, spec.hidden, 16, generator=generator) / 4
    states = torch.einsum("lhm,mt->lht", weights, levels)
    if spec.kind == "ssl_frames":
        return states.flatten(0, 1)[:, : spec.frames(wave.shape[1])]
    return torch.cat([states.mean(2), states.std(2, correction=0)], 1).T.contiguous()


def inputs(cls: type[NeuralModel], count: int, ready: bool = True, longest: float = WINDOW) -> Sounds:
    """Sounds for a model, in windows of at most `longest` s; standardised if `ready` and its recipe asks for it."""
    assert cls.recipe.features is not None, "valid_recipe comes first"
    raw = sounds(cls.recipe.features, cls.recipe.window and min(cls.recipe.window, longest), count)
    return raw.normalised() if ready and cls.recipe.normalise == "train" else raw


def make(cls: type[NeuralModel], shape: tuple[int, int], n_classes: int = CLASSES, seed: int = 0) -> Network:
    """A network behind a normaliser that does nothing, initialised from a seed."""
    torch.manual_seed(seed)
    return Network(cls(shape_given(cls, shape), n_classes), Normaliser(None, None), cls.recipe.window is None)


def shape_given(cls: type[NeuralModel], shape: tuple[int, int]) -> tuple[int, int]:
    """The input shape that a constructor is given: T is 0 for whole utterances with lengths of their own."""
    return shape if cls.recipe.window or pooled(cls.recipe.features) else (shape[0], 0)


def trained(cls: type[NeuralModel], data: Sounds, steps: int = 2) -> Network:
    """A network after a few optimiser steps: running statistics and zero-initialised weights have moved."""
    network = make(cls, data.input_shape)
    optimiser, _ = make_optimiser(cls.recipe, network)
    for _ in range(steps):
        step(network, data, optimiser)
    return network.eval()


def step(network: Network, data: Sounds, optimiser: torch.optim.Optimizer) -> float:
    """One optimiser step on all items; gives the loss before it."""
    loss = functional.cross_entropy(network.train()(data.x, data.lengths), data.targets)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()
    return loss.item()


@torch.no_grad()
def predict_fresh(network: Network, data: Sounds, seed: int = 0) -> Tensor:
    """Logits from a copy of the network and a given random state, so that nothing is left of earlier calls."""
    torch.manual_seed(seed)
    logits: Tensor = copy.deepcopy(network).eval()(data.x, data.lengths)
    return logits


def differ(a: Tensor, b: Tensor, tolerance: float) -> float | None:
    """The largest difference relative to the largest logit, or None if it is within the tolerance."""
    gap = float((a - b).abs().max() / torch.maximum(a.abs().max(), b.abs().max()).clamp(min=1e-6))
    return None if gap <= tolerance else gap


@contextmanager
def as_in_a_fit() -> Iterator[None]:
    """One thread, deterministic algorithms and a random state of its own, all restored afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)
