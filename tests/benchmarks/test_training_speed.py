"""How fast a training step and an evaluation are, for every network: short windows of noise, on one thread.

`extra_info` of the JSON report has items per second. Shapes are small, so that all networks take a few minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional

from sertbench import plugins
from sertbench.compute import Compute, keep_freed_memory
from sertbench.cost import Noise
from sertbench.feature_spec import SAMPLE_RATE, FeatureSpec
from sertbench.model import NeuralModel
from sertbench.network import Part, build
from sertbench.optimisation import make_optimiser
from sertbench.spectral_layers import SpectralProduct
from sertbench.testing_sounds import as_in_a_fit
from sertbench.training import predict, train_epoch

BATCH, PER_UTTERANCE, SECONDS, CLASSES = 8, 2, 0.8, 4
CPU = Compute("cpu", "fp32")
LOADED = {name: plugins.load_model(name).cls for name in plugins.names("models")}
NETWORKS = {name: cls for name, cls in LOADED.items() if issubclass(cls, NeuralModel)}

networks = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True)
def settled() -> Iterator[None]:
    with as_in_a_fit():
        keep_freed_memory()
        yield


def prepared(name: str):
    """A network, its recipe, noise for it, and one batch of windows, two to an utterance."""
    cls = NETWORKS[name]
    spec, recipe = cls.recipe.features, cls.recipe
    if not isinstance(spec, FeatureSpec):
        pytest.skip("its features are not computed from windows of noise")
    frames = spec.frames(round(min(recipe.window or SECONDS, SECONDS) * SAMPLE_RATE))
    source, items = Noise(spec.rows, frames), np.arange(BATCH)
    part = Part(items, items // PER_UTTERANCE, np.arange(BATCH // PER_UTTERANCE) % CLASSES)
    shape = spec.rows, frames if recipe.window else 0
    return build(cls, {}, recipe, source, items, shape, CLASSES, 0), recipe, source, part


@pytest.mark.benchmark(group="training step of 8 items")
@networks
def test_step(benchmark, name):
    network, recipe, source, part = prepared(name)
    optimiser, _ = make_optimiser(recipe, network)
    rng = np.random.default_rng(0)

    benchmark.pedantic(
        lambda: train_epoch(network, recipe, source, part, optimiser, None, rng, CPU), rounds=5, warmup_rounds=1
    )

    benchmark.extra_info["items_per_second"] = BATCH / benchmark.stats["median"]


@pytest.mark.benchmark(group="evaluation of 8 items")
@networks
def test_evaluation(benchmark, name):
    network, recipe, source, part = prepared(name)

    benchmark.pedantic(
        lambda: predict(network, recipe, source, part.items, part.owner, len(part.targets), CPU),
        rounds=5,
        warmup_rounds=1,
    )

    benchmark.extra_info["items_per_second"] = BATCH / benchmark.stats["median"]


CONVOLUTIONS = {
    "direct": lambda x, weight: functional.conv2d(x, weight, padding="same"),
    "products of transforms": SpectralProduct.apply,
}


@pytest.mark.benchmark(group="convolution of 13 x 14 maps with 5x5 kernels, forward and backward")
@pytest.mark.parametrize("way", CONVOLUTIONS)
@pytest.mark.parametrize(("channels", "batch"), [(128, 32), (128, 16), (128, 8), (64, 32)])
def test_convolution(benchmark, channels, batch, way):
    x = torch.randn(batch, channels, 13, 14, requires_grad=True)
    weight = torch.randn(channels, channels, 5, 5, requires_grad=True)
    gradient = torch.randn(batch, channels, 13, 14)

    benchmark.pedantic(lambda: CONVOLUTIONS[way](x, weight).backward(gradient), rounds=15, warmup_rounds=2)
