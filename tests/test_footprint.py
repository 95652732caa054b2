"""How much memory a fit takes: worked out from its network and its batch, and close to what a fit really takes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from sertbench import footprint
from sertbench.compute import Compute
from sertbench.errors import StoppedError
from sertbench.footprint import (
    OWN,
    SLACK,
    Built,
    Footprint,
    counted,
    counted_of_prediction,
    largest_batch,
    likely,
    of_estimator,
)
from sertbench.model import NeuralModel, Recipe

CPU, MB = Compute("cpu", "fp32"), 1_000_000
SIZE = Footprint(weights=40 * MB, trained=30 * MB, item=5 * MB, seen=2 * MB)
RECIPE = Recipe(window=0.2, hop=0.1, batch_size=32)


class Linear(NeuralModel):
    """One layer of known size on the flattened window; the mean of whole utterances."""

    recipe = RECIPE

    def __init__(self, input_shape, n_classes, width=1000, fate=""):
        super().__init__(input_shape, n_classes)
        if fate == "breaks":
            raise ZeroDivisionError
        if fate == "stopped":
            raise StoppedError("stopped")
        self.first = nn.Linear(input_shape[0] * max(1, input_shape[1]), width)
        self.last = nn.Linear(width, n_classes)

    def forward(self, x, lengths=None):
        return self.last(torch.relu(self.first(x.mean(2) if lengths is not None else x.flatten(1))))


def of(cache: Path, longest: int = 50, recipe: Recipe = RECIPE, **arguments) -> Footprint | None:
    shape = (20, longest if recipe.window else 0)
    built = Built(Linear, arguments, recipe.window is None, shape, longest, 4, CPU)
    return footprint.footprint(built, cache)


def test_a_fit_needs_more_for_larger_batches_and_less_in_parts():
    sizes = [counted(SIZE, replace(RECIPE, batch_size=n), 1, 32) for n in (64, 128, 256)]
    assert sizes[2] - sizes[1] == 2 * (sizes[1] - sizes[0]) == 128 * 5 * MB
    assert counted(SIZE, replace(RECIPE, batch_size=256), 4, 32) == sizes[0]


def test_a_small_batch_needs_what_evaluation_and_checkpoints_need():
    small = replace(RECIPE, batch_size=2)
    assert counted(SIZE, small, 1, 100) - counted(SIZE, small, 1, 90) == 20 * MB
    assert counted(SIZE, small, 1, 1) == ((80 + 30 + 60) + (80 + 60)) * MB
    assert counted(SIZE, replace(small, optimiser="sgd"), 1, 1) == ((80 + 30 + 30) + (80 + 30)) * MB


def test_a_prediction_needs_no_gradients_and_an_estimator_its_features():
    assert counted_of_prediction(SIZE, 32) == (80 + 64) * MB < counted(SIZE, RECIPE, 1, 32)
    small, large = of_estimator(500, 88), of_estimator(500, 6373)
    assert small.size < large.size
    assert large.least == 500 * 6373 * 8 < large.size


def test_the_largest_batch_is_the_one_that_just_fits():
    room = 900 * MB
    most = largest_batch(SIZE, RECIPE, room)
    sizes = [likely(counted(SIZE, replace(RECIPE, batch_size=n), 1, 1)) for n in (most, most + 1)]
    assert sizes[0] <= room < sizes[1]
    assert largest_batch(SIZE, RECIPE, 100 * MB) == 0


def test_a_fit_says_with_what_batch_it_would_run():
    asked = footprint.of_network(SIZE, replace(RECIPE, batch_size=64), 1, "cnn")
    assert asked.least < asked.size == OWN + round(SLACK * asked.least)
    assert "batches of 64. Set batch_size = 27 or less in the recipe of cnn, or run it" in asked.advice(600 * MB)
    assert asked.advice(100 * MB) == "It is for batches of 64. Run it on a machine with more"
    assert footprint.of_network(None, RECIPE, 1, "cnn").size == 0


def test_weights_and_items_are_counted(tmp_path):
    size = of(tmp_path, width=1000)
    weights = 4 * (20 * 50 * 1000 + 1000 + 1000 * 4 + 4)
    values, kept = 4 * 20 * 50, 4 * 1000  # of an item: the window, and what the hidden layer gave
    assert (size.weights, size.trained) == (weights, weights)
    assert 4 * values + kept <= size.item <= 6 * values + 5 * kept
    assert 4 * values + kept <= size.seen <= 6 * values + 4 * kept
    assert of(tmp_path, width=2000).weights > 1.9 * weights


def test_whole_utterances_count_as_long_as_the_longest_and_by_proportion_beyond_a_limit(tmp_path, monkeypatch):
    whole = replace(RECIPE, window=None, hop=None)
    short, long = of(tmp_path, 128, whole), of(tmp_path, 1280, whole)
    assert 8 < long.item / short.item < 11
    monkeypatch.setattr(footprint, "LARGEST", 20 * 500)
    monkeypatch.setattr(footprint, "VERSION", 0)  # not from the cache
    assert of(tmp_path, 1280, whole).item == pytest.approx(long.item, rel=0.1)


def test_lengths_share_a_measurement_and_each_has_its_own_size(tmp_path):
    whole = replace(RECIPE, window=None)
    long, shorter = of(tmp_path, 128, whole), of(tmp_path, 96, whole)
    assert shorter.item == pytest.approx(long.item * 96 / 128)
    assert shorter.seen == pytest.approx(long.seen * 96 / 128)
    assert len(list((tmp_path / "footprints").iterdir())) == 1


def test_it_is_measured_once(tmp_path, monkeypatch):
    first = of(tmp_path)
    footprint._measured.cache_clear()  # as in another process
    monkeypatch.setattr(footprint, "measure", None)
    assert of(tmp_path) == first
    (path,) = (tmp_path / "footprints").iterdir()
    assert json.loads(path.read_text())[0] == first.weights


def test_a_torn_or_lost_measurement_is_made_again(tmp_path):
    first = of(tmp_path)
    for text in ("", "[1, 2]", "{}"):
        footprint._measured.cache_clear()
        (path,) = (tmp_path / "footprints").iterdir()
        path.write_text(text)
        assert of(tmp_path) == first


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path):
    (tmp_path / "footprints").write_text("a file where the folder should be")
    assert of(tmp_path) is not None


def test_a_model_that_fails_is_left_to_its_fit(tmp_path):
    assert of(tmp_path, fate="breaks") is None
    with pytest.raises(StoppedError):
        of(tmp_path, fate="stopped")


def test_measuring_leaves_the_random_numbers(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    of(tmp_path, width=17)
    assert torch.equal(torch.rand(3), expected)


# --- beside what a fit really takes

PROGRAM = """
import json, sys, threading, time
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch._dynamo
from sertbench import checkpoints, footprint, memory, plugins
from sertbench.compute import Compute, settle
from sertbench.cost import Noise
from sertbench.network import Network, Normaliser, Part
from sertbench.training import train

name, batch, place = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
cpu, cls, checkpoints.EVERY = Compute("cpu", "fp32"), plugins.load_model(name).cls, 0.0
settle("cpu")
recipe = replace(cls.recipe, batch_size=batch, epochs=1)
F, T = recipe.features.rows, recipe.features.frames(round((recipe.window or 3.0) * 16_000))
shape = F, T if recipe.window else 0
before = most = memory.held()
done = threading.Event()

def watch():
    global most
    while not done.wait(0.001):
        most = max(most, memory.held())

threading.Thread(target=watch, daemon=True).start()
network = Network(cls(shape, 4), Normaliser(None, None), recipe.window is None)
items = np.arange(3 * batch)
part = Part(items, items, items % 4)
checkpoint = checkpoints.Checkpoint(place / "checkpoint")
for _ in train(network, recipe, Noise(F, T), part, part, 0, cpu, (), checkpoint):
    pass
done.set()
size = footprint.footprint(footprint.Built(cls, {}, recipe.window is None, shape, T, 4, cpu), place)
asked = footprint.of_network(size, recipe, 1, name)
print(json.dumps([asked.least / 1e6, asked.size / 1e6, (most - before) / 1e6]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("model", "batch"), [("glam", 32), ("cnn", 128), ("lstm", 128), ("transformer", 16)])
def test_the_estimate_is_close_to_what_a_fit_takes(tmp_path, model, batch):
    command = [sys.executable, "-c", PROGRAM, model, str(batch), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    least, estimate, taken = json.loads(done.stdout)
    assert least < taken < 1.25 * estimate, (least, estimate, taken)
    assert estimate < 2 * taken + OWN / 1e6, (estimate, taken)
