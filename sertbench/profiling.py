"""What a network costs: its size, multiply-adds, memory and time, measured through the harness's own loop.

Times are medians on one CPU thread (or on the GPU), of noise of the right shape.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch

from sertbench import counting
from sertbench.compute import Compute
from sertbench.cost import Noise
from sertbench.errors import ConfigError
from sertbench.feature_spec import SAMPLE_RATE, FeatureSpec, SslSpec, WaveformSpec
from sertbench.feature_store import windows
from sertbench.features import extract
from sertbench.guard import blaming, refuse_wrong_shape
from sertbench.model import Estimator, NeuralModel, Recipe
from sertbench.network import Network, Normaliser, Part, Source
from sertbench.optimisation import make_optimiser
from sertbench.plugins import LoadedModel
from sertbench.seeding import own_random_state
from sertbench.training import predict, train_epoch

REPEATS, MOST_SECONDS = 15, 2.0  # timings of one thing: at most so many, in about so long, three at least


@dataclass(frozen=True)
class Profile:
    """What a model costs for an utterance of `seconds`; times in ms, memory in MB (10^6 bytes)."""

    model: str
    kind: str  #               "network" or "estimator"; of an estimator nothing else is known
    seconds: float
    n_classes: int
    device: str
    precision: str
    features: str = ""  #      kind and rows
    item: str = ""  #          "window" or "utterance": what the network sees at once
    input_shape: tuple[int, int] = (0, 0)  # (F, T) of an item
    items: int = 0  #          per utterance
    n_parameters: int = 0
    n_trainable: int = 0
    size: float = 0.0  #       parameters and buffers
    item_macs: int = 0  #      multiply-adds of a forward pass of one item
    second_macs: float = 0.0  # of all items of the utterance, per second of speech
    batch: int = 0  #          items of a training step
    step_ms: float = 0.0
    step_memory: float = 0.0  # at its peak, with weights and the optimiser's state
    throughput: float = 0.0  # items trained per second
    feature_ms: float = 0.0  # of one utterance
    network_ms: float = 0.0  # of one utterance

    @property
    def latency_ms(self) -> float:
        """From the waveform of an utterance to its class."""
        return self.feature_ms + self.network_ms

    @property
    def feature_share(self) -> float:
        """The part of the latency that the features take, 0 to 1."""
        return self.feature_ms / self.latency_ms if self.latency_ms else 0.0

    @property
    def real_time_factor(self) -> float:
        """Latency over duration: below 1 is faster than speech."""
        return self.latency_ms / 1000 / self.seconds


def profile(model: LoadedModel, seconds: float, n_classes: int, batch: int | None, compute: Compute) -> Profile:
    """Measure a model on utterances of `seconds`. `batch`: items of a training step; None: the recipe's.

    Raises ConfigError for a network without features, TrainingError or PluginError for one that fails.
    """
    base = Profile(model.name, "estimator", seconds, n_classes, compute.device, compute.precision)
    cls, recipe = model.cls, model.cls.recipe
    if issubclass(cls, Estimator):
        return base
    if recipe.features is None:
        raise ConfigError(f"model {model.name} names no features in its recipe: every neural model needs some")
    if isinstance(recipe.features, SslSpec):
        raise ConfigError(
            f"model {model.name} works on hidden states of a checkpoint, and profile measures from the waveform on. "
            f"`sertbench run --model {model.name} --features ssl:CHECKPOINT --dataset … --dry-run` shows what they take"
        )
    spec, recipe = recipe.features, replace(recipe, batch_size=batch or recipe.batch_size)
    starts = windows(round(seconds * SAMPLE_RATE), recipe.window, recipe.hop)
    samples = round((recipe.window or seconds) * SAMPLE_RATE)
    shape = spec.rows, spec.frames(samples)
    with one_thread(compute), own_random_state(compute.device), blaming(model.spec):
        network = build(cls, recipe, shape, n_classes)
        refuse_wrong_shape(network, Noise(*shape), np.arange(2), n_classes)
        macs = counting.macs(network, torch.zeros(1, *shape), torch.full((1,), shape[1]))
        n_parameters, n_trainable = counting.parameters(network.model)
        step_ms, memory = training_step(network.to(compute.device), recipe, Noise(*shape), n_classes, compute)
        feature_ms, network_ms = latency(network, recipe, Noise(*shape), samples, len(starts), compute)
    return replace(
        base,
        kind="network",
        features=f"{spec.kind} {spec.rows}",
        item="window" if recipe.window else "utterance",
        input_shape=shape,
        items=len(starts),
        n_parameters=n_parameters,
        n_trainable=n_trainable,
        size=counting.megabytes(network.model),
        item_macs=macs,
        second_macs=macs * len(starts) / seconds,
        batch=recipe.batch_size,
        step_ms=step_ms,
        step_memory=memory,
        throughput=recipe.batch_size / step_ms * 1000,
        feature_ms=feature_ms,
        network_ms=network_ms,
    )


@contextmanager
def one_thread(compute: Compute) -> Iterator[None]:
    """As fits run: one thread on the CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if compute.device == "cpu" else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def build(cls: type[NeuralModel], recipe: Recipe, shape: tuple[int, int], n_classes: int) -> Network:
    """The network of a recipe, on the CPU."""
    torch.manual_seed(0)
    model = cls((shape[0], shape[1] if recipe.window else 0), n_classes)
    return Network(model, Normaliser(None, None), recipe.window is None)


def training_step(
    network: Network, recipe: Recipe, source: Source, n_classes: int, compute: Compute
) -> tuple[float, float]:
    """Milliseconds of a training step, and its memory at the peak in MB: weights, optimiser's state, what it makes."""
    optimiser, _ = make_optimiser(recipe, network)
    items, rng = np.arange(recipe.batch_size), np.random.default_rng(0)
    part = Part(items, items, items % n_classes)

    def step() -> None:
        train_epoch(network, recipe, source, part, optimiser, None, rng, compute)

    step_ms = typical_ms(step, compute)
    optimiser.zero_grad(set_to_none=True)
    if compute.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step()
        return step_ms, torch.cuda.max_memory_allocated() / 1e6
    states = (value for state in optimiser.state.values() for value in state.values())
    held = sum(value.numel() * value.element_size() for value in states if isinstance(value, torch.Tensor)) / 1e6
    with counting.TensorMemory() as memory:
        step()
    return step_ms, counting.megabytes(network) + held + memory.peak / 1e6


def latency(
    network: Network, recipe: Recipe, source: Source, samples: int, items: int, compute: Compute
) -> tuple[float, float]:
    """Milliseconds of an utterance's features, and of its prediction by the network."""
    spec, chosen = recipe.features, np.arange(items)
    assert isinstance(spec, FeatureSpec | WaveformSpec), "networks have no others"
    waves = 0.1 * torch.randn(items, samples)
    feature_ms = typical_ms(lambda: extract(spec, waves), Compute("cpu", "fp32"))
    predicting = lambda: predict(network, recipe, source, chosen, 0 * chosen, 1, compute)  # noqa: E731
    return feature_ms, typical_ms(predicting, compute)


def typical_ms(work: Callable[[], object], compute: Compute) -> float:
    """The median time of a piece of work in ms, after one time that warms up."""
    times: list[float] = []
    work()
    while len(times) < 3 or (len(times) < REPEATS and sum(times) < MOST_SECONDS):
        if compute.device == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if compute.device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 1000 * median(times)
