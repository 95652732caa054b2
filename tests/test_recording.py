"""Recorded steps train the network that steps of Python train; a CUDA graph is emulated, so that this runs anywhere."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from sertbench.models.cnn import CNN
from sertbench.models.glam import GLAM
from torch import Tensor, nn

from sertbench import recording, training
from sertbench.checkpoints import Checkpoint
from sertbench.compute import Compute
from sertbench.model import NeuralModel, Recipe
from sertbench.network import Part, build
from sertbench.optimisation import make_optimiser
from sertbench.recording import Recording
from sertbench.training import Fitted, train, train_for
from sertbench.turns import Turns

CPU = Compute("cpu", "fp32")
F, T = 6, 8
RECIPE = Recipe(window=1.0, hop=0.5, epochs=3, batch_size=4, learning_rate=0.01, mixup=0.4, patience=9)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


emulated = load("graph_emulator").emulated


class Small(NeuralModel):
    """Batch normalisation and dropout, and a fault if wanted."""

    def __init__(self, input_shape: tuple[int, int], n_classes: int, fault: str = "") -> None:
        super().__init__(input_shape, n_classes)
        self.layers = nn.Sequential(
            nn.Linear(input_shape[0], 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, n_classes)
        )
        self.fault = fault
        self.seen = 0.0

    def train(self, mode: bool = True) -> Small:
        self.seen += mode and self.fault == "epochs"
        super().train(mode)
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.seen += self.fault == "steps"
        if self.fault == "waits" and float(x.mean()) > 1e9:
            x = x + 1
        logits: Tensor = self.layers(x.mean(2)) / (1 + self.seen)
        return logits


class Noise:
    """26 items; the class of an item is in its first row."""

    def __init__(self) -> None:
        self.x = np.random.default_rng(0).standard_normal((26, F, T)).astype(np.float32)
        self.x[:, 0] += (np.arange(26) % 2)[:, None]

    def batch(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.x[items]), torch.full((len(items),), T)

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.x[items].mean((0, 2))[:, None], self.x[items].std((0, 2))[:, None]


def part(items: np.ndarray) -> Part:
    return Part(items, np.arange(len(items)), items % 2)


TRAIN, VAL = part(np.arange(18)), part(np.arange(18, 26))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    """Let steps on the CPU be recorded, by an emulated graph; gives the recordings that were made."""
    found: list[Recording] = []

    def of(network: Any, optimiser: torch.optim.Optimizer, compute: Compute) -> Recording:
        found.append(Recording(network, optimiser, compute.device, emulated))
        return found[-1]

    monkeypatch.setattr(training, "recordable", lambda _: True)
    monkeypatch.setattr(training, "recording_of", of)
    return found


def fit(recipe: Recipe, cls: type[NeuralModel] = Small, **arguments: Any) -> Fitted:
    source = Noise()
    network = build(cls, arguments, recipe, source, TRAIN.items, (F, T), 2, 0)
    loop = train(network, recipe, source, TRAIN, VAL, 0, CPU)
    while True:
        try:
            next(loop)
        except StopIteration as stop:
            fitted: Fitted = stop.value
            return fitted


def step_by_step(recipe: Recipe, cls: type[NeuralModel] = Small, **arguments: Any) -> Fitted:
    """The same optimiser, and no step recorded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "recording_of", lambda *_: None)
        return fit(recipe, cls, **arguments)


def assert_same(one: Fitted, two: Fitted) -> None:
    assert [replace(e, seconds=0.0) for e in one.history] == [replace(e, seconds=0.0) for e in two.history]
    assert [name for name, values in one.state.items() if not torch.equal(values, two.state[name])] == []


OPTIMISERS = {
    "adam, exponential": {"schedule": "exponential", "gamma": 0.5},
    "adamw, cosine": {"optimiser": "adamw", "schedule": "cosine", "weight_decay": 0.1},
    "sgd, step": {"optimiser": "sgd", "schedule": "step", "step_size": 1, "weight_decay": 0.01},
    "clipped, weighted": {"class_weights": True, "clip_norm": 0.1, "label_smoothing": 0.1, "mixup": 0.0},
}


@pytest.mark.parametrize("more", OPTIMISERS.values(), ids=OPTIMISERS)
def test_recorded_steps_are_the_steps_bit_for_bit(made: list[Recording], more: dict[str, Any]) -> None:
    """18 items in batches of 4, 4, 4, 4 and 2: rates, shares, partners and dropout differ at each replay."""
    recipe = replace(RECIPE, **more)

    recorded = fit(recipe)

    assert (made[0].note, made[0]._replay is None) == ("", False)
    assert_same(recorded, step_by_step(recipe))


@pytest.mark.parametrize(("cls", "arguments"), [(CNN, {"channels": 2}), (GLAM, {})], ids=["cnn", "glam"])
def test_models_can_be_recorded(made: list[Recording], cls: type[NeuralModel], arguments: dict[str, Any]) -> None:
    recipe = replace(RECIPE, epochs=2)

    recorded = fit(recipe, cls, **arguments)

    assert (made[0].note, made[0]._replay is None) == ("", False)
    assert_same(recorded, step_by_step(recipe, cls, **arguments))


def test_the_fit_on_a_gpu_is_that_on_a_cpu_but_for_rounding(made: list[Recording]) -> None:
    """There the optimiser is a fused one, with its rate on the device."""
    recorded = fit(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "recordable", lambda _: False)
        plain = step_by_step(RECIPE)

    for one, two in zip(recorded.history, plain.history, strict=True):
        assert one.loss == pytest.approx(two.loss, rel=1e-5)
        assert one.learning_rate == pytest.approx(two.learning_rate, rel=1e-6)


@pytest.mark.parametrize(
    ("fault", "said"),
    [("waits", "not permitted"), ("steps", "changes values of its own"), ("epochs", "changes values of its own")],
)
def test_what_cannot_be_recorded_runs_as_it_is_and_says_so(made: list[Recording], fault: str, said: str) -> None:
    recorded = fit(RECIPE, fault=fault)

    assert said in recorded.note
    assert_same(recorded, step_by_step(RECIPE, fault=fault))


def forgetful(part: str) -> Any:
    """An emulated graph that does not do a part of the work."""

    def record(work: Any) -> Any:
        replay, result = emulated(work)
        calls = replay.__self__.calls
        calls[:] = [call for call in calls if part not in call[0]._schema.name]
        return replay, result

    return record


@pytest.mark.parametrize("part", ["fused_adam", "batch_norm", "bernoulli", "index"])
def test_a_replay_that_is_not_the_step_is_noticed_and_not_used(part: str) -> None:
    def of(network: Any, optimiser: torch.optim.Optimizer, compute: Compute) -> Recording:
        return Recording(network, optimiser, compute.device, forgetful(part))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "recordable", lambda _: True)
        patch.setattr(training, "recording_of", of)
        recorded = fit(RECIPE)
        patch.setattr(training, "recording_of", lambda *_: None)
        plain = fit(RECIPE)

    assert "its weights are" in recorded.note
    assert_same(recorded, plain)


def test_memory_that_runs_out_is_not_taken_for_a_step_that_cannot_be_recorded() -> None:
    def no_memory(work: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    network = nn.Linear(1, 1)
    tried = Recording(network, torch.optim.SGD(network.parameters()), "cpu", no_memory)
    for _ in range(recording.AS_IT_IS):
        tried.run(torch.clone, torch.zeros(2))
    with pytest.raises(torch.OutOfMemoryError):
        tried.run(torch.clone, torch.zeros(2))
    assert tried.note == ""


def test_a_recorded_fit_goes_on_from_its_checkpoint(made: list[Recording], tmp_path: Path) -> None:
    recipe = replace(RECIPE, schedule="cosine", epochs=5)

    def run(epochs: int, checkpoint: Checkpoint | None) -> dict[str, Tensor]:
        network = build(Small, {}, recipe, Noise(), TRAIN.items, (F, T), 2, 0)
        return train_for(network, recipe, Noise(), TRAIN, epochs, 0, CPU, checkpoint)

    whole = run(5, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sertbench.checkpoints.EVERY", 0.0)
        run(3, Checkpoint(tmp_path / "checkpoint"))
        torch.manual_seed(99)
        resumed = run(5, Checkpoint(tmp_path / "checkpoint"))

    assert [name for name, values in whole.items() if not torch.equal(values, resumed[name])] == []


def test_only_windows_on_a_gpu_that_fits_share_are_recorded() -> None:
    network = build(Small, {}, RECIPE, Noise(), TRAIN.items, (F, T), 2, 0)
    optimiser, gpu = make_optimiser(RECIPE, network)[0], Compute("cuda", "fp32")
    assert training.recording_of(network, optimiser, gpu) is None  # a fit by itself is trained as it is
    with Turns(1).member():
        assert training.recording_of(network, optimiser, gpu) is None
    with Turns(2).member():
        assert training.recording_of(network, optimiser, CPU) is None
        assert isinstance(training.recording_of(network, optimiser, gpu), Recording)
        network.whole = True
        assert training.recording_of(network, optimiser, gpu) is None


def test_own_values_are_told_apart() -> None:
    module, seen = nn.Linear(1, 1), set()
    for value in (0, 1, "1", [1], (1, [2]), {"a": 1}, {"a": [1]}, torch.zeros(1), torch.ones(1)):
        module.mine = value  # type: ignore[assignment]
        seen.add(recording.own_values(module))
    assert len(seen) == 9
