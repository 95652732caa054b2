"""The loop: determinism, early stopping, what is fitted on what, and predictions that depend on nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sertbench.errors import ConfigError, TrainingError
from sertbench.feature_spec import mfcc
from sertbench.model import NeuralModel, Recipe
from sertbench.training import (
    Compute,
    EpochEnd,
    Fitted,
    Network,
    Part,
    batches,
    build,
    class_weights,
    make_optimiser,
    mixup,
    predict,
    resolve_device,
    resolve_precision,
    train,
    train_for,
)

CPU = Compute("cpu", "fp32")
RECIPE = Recipe(features=mfcc(4), window=1.0, hop=0.5, epochs=6, batch_size=4, patience=3, learning_rate=0.02)
F, T, UTTERANCES, WINDOWS = 4, 6, 24, 2


class Small(NeuralModel):
    """A small network with batch normalisation and dropout, which break easily."""

    def __init__(self, input_shape: tuple[int, int], n_classes: int) -> None:
        super().__init__(input_shape, n_classes)
        self.layers = nn.Sequential(
            nn.Linear(input_shape[0], 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, n_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x.mean(2))
        return logits


class Whole(NeuralModel):
    """The mean over the valid frames."""

    def __init__(self, input_shape: tuple[int, int], n_classes: int) -> None:
        super().__init__(input_shape, n_classes)
        self.classify = nn.Linear(input_shape[0], n_classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        logits: Tensor = self.classify(x.sum(2) / lengths[:, None])
        return logits


class Memory:
    """A source in memory: two windows per utterance, the class in the mean of row 0."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.x = rng.standard_normal((UTTERANCES * WINDOWS, F, T)).astype(np.float32)
        self.x[:, 0] += 2.0 * np.repeat(np.arange(UTTERANCES) % 2, WINDOWS)[:, None]

    def batch(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.x[items]), torch.full((len(items),), T)

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = self.x[items]
        mean, std = values.mean((0, 2))[:, None], values.std((0, 2))[:, None]
        return mean, std


def part(utterances: range) -> Part:
    chosen = np.array(utterances)
    items = (chosen[:, None] * WINDOWS + np.arange(WINDOWS)).ravel()
    return Part(items, np.repeat(np.arange(len(chosen)), WINDOWS), chosen % 2)


TRAIN, VAL, TEST = part(range(12)), part(range(12, 18)), part(range(18, 24))


def fit(
    source: Memory, recipe: Recipe = RECIPE, seed: int = 0, **more: object
) -> tuple[Network, Fitted, list[EpochEnd]]:
    network = build(Small, {}, recipe, source, TRAIN.items, (F, T), 2, seed)
    events, loop = [], train(network, recipe, source, TRAIN, VAL, seed, CPU, **more)  # type: ignore[arg-type]
    while True:
        try:
            events.append(next(loop))
        except StopIteration as stop:
            return network, stop.value, events


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others() -> None:
    source = Memory()
    first, again, other = (fit(source, seed=seed)[1] for seed in (3, 3, 4))
    assert equal(first.state, again.state)
    assert not equal(first.state, other.state)


def test_test_features_change_neither_statistics_nor_weights() -> None:
    source, changed = Memory(), Memory()
    changed.x[TEST.items] = 1000.0
    assert equal(fit(source)[1].state, fit(changed)[1].state)


def test_validation_features_change_no_statistics() -> None:
    source, changed = Memory(), Memory()
    changed.x[VAL.items] += 5.0
    one, two = fit(source)[1].state, fit(changed)[1].state
    assert torch.equal(one["normaliser.mean"], two["normaliser.mean"])
    assert torch.equal(one["normaliser.std"], two["normaliser.std"])


def test_the_earliest_best_epoch_is_kept_and_patience_ends_the_fit() -> None:
    _, fitted, events = fit(Memory(), replace(RECIPE, epochs=40))
    uars = [e.val_uar for e in events]
    assert fitted.best_epoch == uars.index(max(uars)) + 1
    assert fitted.val_uar == max(uars)
    assert len(events) == min(40, fitted.best_epoch + RECIPE.patience)


def test_a_fit_below_the_threshold_is_pruned_after_that_epoch() -> None:
    _, fitted, events = fit(Memory(), stop_below=(-1.0, 1.1))
    assert (fitted.pruned, len(events)) == (True, 2)


def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_do() -> None:
    source = Memory()
    source.x[TRAIN.items[0]] = np.nan
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        fit(source, replace(RECIPE, normalise="none"))


def test_a_prediction_is_the_same_alone_in_a_batch_and_in_any_order() -> None:
    source = Memory()
    network, _, _ = fit(source)
    together = predict(network, RECIPE, source, TEST.items, TEST.owner, 6, CPU)
    for u in range(6):
        mine = TEST.items[TEST.owner == u]
        alone = predict(network, RECIPE, source, mine, np.zeros(len(mine), np.int64), 1, CPU)
        assert np.allclose(alone[0], together[u], atol=1e-6)
    order = np.random.default_rng(0).permutation(len(TEST.items))
    shuffled = predict(network, RECIPE, source, TEST.items[order], TEST.owner[order], 6, CPU)
    assert np.allclose(shuffled, together, atol=1e-6)
    assert np.allclose(together.sum(1), 1)


def test_windows_are_averaged_as_the_recipe_says() -> None:
    source = Memory()
    network, _, _ = fit(source)
    network.eval()
    with torch.inference_mode():
        x, lengths = source.batch(TEST.items[:WINDOWS])
        logits = network(network.normaliser(x, lengths), lengths)
    for average, expected in (("logits", logits.mean(0).softmax(0)), ("probabilities", logits.softmax(1).mean(0))):
        recipe = replace(RECIPE, average=average)  # type: ignore[arg-type]
        got = predict(network, recipe, source, TEST.items[:WINDOWS], np.zeros(WINDOWS, np.int64), 1, CPU)
        assert np.allclose(got[0], expected.numpy(), atol=1e-6)


def test_a_refit_runs_for_its_epochs_and_follows_the_same_path() -> None:
    """After n epochs without validation the weights are those that early stopping saw after n epochs."""
    source = Memory()
    network = build(Small, {}, RECIPE, source, TRAIN.items, (F, T), 2, 0)
    state = train_for(network, RECIPE, source, TRAIN, 2, 0, CPU)
    watched = build(Small, {}, RECIPE, source, TRAIN.items, (F, T), 2, 0)
    loop = train(watched, RECIPE, source, TRAIN, VAL, 0, CPU)
    next(loop), next(loop)
    assert equal(state, watched.state_dict())


def test_frames_past_an_utterance_stay_zero_and_whole_models_get_lengths() -> None:
    source = Memory()
    recipe = replace(RECIPE, window=None, hop=None)
    network = build(Whole, {}, recipe, source, TRAIN.items, (F, 0), 2, 0)
    x, lengths = source.batch(TEST.items[:2])
    lengths = torch.tensor([T, 3])
    normal = network.normaliser(x, lengths)
    assert torch.equal(normal[1, :, 3:], torch.zeros(F, T - 3))
    cut = network(network.normaliser(x[1:, :, :3], lengths[1:]), lengths[1:])
    assert torch.allclose(network(normal, lengths)[1], cut[0], atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("exponential", [1.0, 0.5, 0.25, 0.125]),
        ("step", [1.0, 1.0, 0.5, 0.5]),
        ("cosine", [1.0, 0.854, 0.5, 0.146]),
    ],
)
def test_schedules_step_once_per_epoch(schedule: str, rates: list[float]) -> None:
    recipe = replace(RECIPE, learning_rate=1.0, schedule=schedule, gamma=0.5, step_size=2, epochs=4)  # type: ignore[arg-type]
    optimiser, steps = make_optimiser(recipe, nn.Linear(1, 1))
    seen = []
    for _ in range(4):
        seen.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        steps.step()
    assert seen == pytest.approx(rates, abs=1e-3)


def test_optimisers_are_those_of_the_recipe() -> None:
    sgd, _ = make_optimiser(replace(RECIPE, optimiser="sgd", momentum=0.9, weight_decay=0.1), nn.Linear(1, 1))
    group = sgd.param_groups[0]
    assert (type(sgd), group["nesterov"], group["momentum"], group["weight_decay"]) == (torch.optim.SGD, True, 0.9, 0.1)
    assert type(make_optimiser(replace(RECIPE, optimiser="adamw"), nn.Linear(1, 1))[0]) is torch.optim.AdamW


def test_a_last_batch_of_one_joins_the_one_before() -> None:
    assert [len(b) for b in batches(np.arange(9), 4)] == [4, 5]
    assert [len(b) for b in batches(np.arange(10), 4)] == [4, 4, 2]
    assert [len(b) for b in batches(np.arange(1), 4)] == [1]


def test_mixup_mixes_items_with_their_partners() -> None:
    x, lengths = torch.randn(5, F, T), torch.tensor([1, 2, 3, 4, 5])
    mixed, longer, partner, lam = mixup(x, lengths, 0.5, np.random.default_rng(0))
    assert 0 <= lam <= 1
    assert torch.allclose(mixed, lam * x + (1 - lam) * x[partner])
    assert torch.equal(longer, torch.maximum(lengths, lengths[partner]))


def test_class_weights_are_inverse_frequencies_with_mean_one_over_items() -> None:
    unbalanced = Part(np.arange(4), np.arange(4), np.array([0, 0, 0, 1]))
    weights = class_weights(replace(RECIPE, class_weights=True), unbalanced, 2, CPU)
    assert weights is not None
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])
    assert float(weights[unbalanced.targets].mean()) == pytest.approx(1.0)
    assert class_weights(RECIPE, unbalanced, 2, CPU) is None


def test_devices_and_precisions_are_resolved_or_refused() -> None:
    assert resolve_precision("fp32", "cpu") == "fp32"
    assert resolve_precision("auto", "cpu") in {"fp32", "bf16"}
    with pytest.raises(ConfigError, match="no precision is called 'fp17'"):
        resolve_precision("fp17", "cpu")
    with pytest.raises(ConfigError, match="no device is called 'gpu'"):
        resolve_device("gpu")
