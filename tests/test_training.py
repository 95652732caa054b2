"""The loop: determinism, early stopping, what is fitted on what, and predictions that depend on nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from sertbench import training
from sertbench.compute import Compute
from sertbench.errors import TrainingError
from sertbench.feature_spec import mfcc
from sertbench.model import NeuralModel, Recipe
from sertbench.network import Network, Part, build
from sertbench.optimisation import batches, class_weights, draw_mixup, make_optimiser, mixup
from sertbench.testing_sounds import as_in_a_fit
from sertbench.training import EpochEnd, Fitted, predict, train, train_for

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
    with pytest.raises(TrainingError, match="Lower the learning rate, or set clip_norm") as told:
        fit(source, replace(RECIPE, normalise="none"))
    assert "fp32" not in str(told.value)  # it is that already


def test_fp32_is_advised_where_a_fit_is_not_in_fp32() -> None:
    source = Memory()
    source.x[TRAIN.items[0]] = np.nan
    network = build(Small, {}, RECIPE, Memory(), TRAIN.items, (F, T), 2, 0)
    with pytest.raises(TrainingError, match=r"became nan in epoch 1 .*, run with --precision fp32, or set clip_norm"):
        next(train(network, replace(RECIPE, normalise="none"), source, TRAIN, VAL, 0, Compute("cpu", "bf16")))


class Forgetful(Small):
    """A weight that nobody initialises."""

    def __init__(self, input_shape: tuple[int, int], n_classes: int) -> None:
        super().__init__(input_shape, n_classes)
        self.shift = nn.Parameter(torch.empty(n_classes))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(x) + self.shift
        return logits


def test_a_weight_that_nobody_initialised_is_no_number_by_chance() -> None:
    with as_in_a_fit():
        network = build(Forgetful, {}, RECIPE, Memory(), TRAIN.items, (F, T), 2, 0)
        with pytest.raises(TrainingError, match="loss became nan in epoch 1"):
            next(train(network, RECIPE, Memory(), TRAIN, VAL, 0, CPU))


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
    shares, partner = map(torch.from_numpy, draw_mixup(5, 0.5, np.random.default_rng(0)))
    mixed, longer = mixup(x, lengths, shares, partner)
    lam = float(shares[0])
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


class Scripted(NeuralModel):
    """After epoch e, right[e - 1] of the four validation utterances, one of each class, are recognised."""

    def __init__(self, input_shape: tuple[int, int], n_classes: int, right: tuple[int, ...] = ()) -> None:
        super().__init__(input_shape, n_classes)
        self.weight = nn.Parameter(torch.zeros(n_classes))
        self.register_buffer("epoch", torch.tensor(0))
        self.right = right

    def train(self, mode: bool = True) -> Scripted:
        if mode:
            self.epoch += 1
        super().train(mode)
        return self

    def forward(self, x: Tensor) -> Tensor:
        number = x[:, 0, 0].long()
        known = number < (0, *self.right)[int(self.epoch)]
        answers = torch.where(known, number, (number + 1) % 4)
        return functional.one_hot(answers, 4) + 0 * self.weight


class Numbers:
    """Four utterances of one item each; utterance i holds i everywhere and is of class i."""

    def batch(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(items.astype(np.float32))[:, None, None].expand(-1, 2, 3), torch.full((len(items),), 3)

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("nothing is to be normalised")


@settings(max_examples=60, deadline=None)
@given(
    right=st.lists(st.integers(0, 4), min_size=1, max_size=8).map(tuple),
    patience=st.integers(1, 5),
    stop_below=st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.3, 0.5, 0.8]), max_size=10).map(tuple),
)
def test_stopping_keeping_and_pruning_follow_their_definitions(
    right: tuple[int, ...], patience: int, stop_below: tuple[float, ...]
) -> None:
    recipe = Recipe(window=1.0, hop=1.0, normalise="none", epochs=len(right), patience=patience)
    everything = Part(np.arange(4), np.arange(4), np.arange(4))
    network = build(Scripted, {"right": right}, recipe, Numbers(), np.arange(4), (2, 3), 4, 0)
    network.eval()

    loop = train(network, recipe, Numbers(), everything, everything, 0, CPU, stop_below)
    events = []
    while True:
        try:
            events.append(next(loop))
        except StopIteration as stop:
            fitted = stop.value
            break

    uars = [r / 4 for r in right]
    best = [max(uars[: e + 1]) for e in range(len(uars))]
    pruned_at = next((e for e, least in enumerate(stop_below[: len(uars)], 1) if best[e - 1] < least), np.inf)
    patient = next((e for e in range(1, len(uars) + 1) if e - (uars.index(best[e - 1]) + 1) >= patience), np.inf)
    length = int(min(len(uars), pruned_at, patient))
    kept = uars.index(best[length - 1]) + 1
    assert [e.val_uar for e in events] == uars[:length]
    assert fitted.history == tuple(events)
    assert (fitted.best_epoch, fitted.val_uar, fitted.pruned) == (kept, best[length - 1], pruned_at == length)
    assert int(fitted.state["model.epoch"]) == kept


def test_random_numbers_of_the_process_do_not_reach_a_fit() -> None:
    torch.manual_seed(1)
    first = fit(Memory())[1].state
    torch.manual_seed(2)
    torch.rand(100)
    assert equal(first, fit(Memory())[1].state)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_validation_and_test_features_never_reach_the_weights(seed: int, scale: float) -> None:
    """The kept epoch may depend on the validation part; the weights after a given number of epochs may not."""
    source, changed = Memory(), Memory()
    others = np.concatenate([VAL.items, TEST.items])
    changed.x[others] = scale * np.random.default_rng(seed).standard_normal((len(others), F, T))
    recipe = replace(RECIPE, epochs=2, patience=2)

    assert equal(fit(source, recipe)[0].state_dict(), fit(changed, recipe)[0].state_dict())


def test_learning_rates_of_all_epochs_are_reported() -> None:
    _, _, events = fit(Memory(), replace(RECIPE, schedule="exponential", gamma=0.5, epochs=3, patience=3))
    assert [e.learning_rate for e in events] == pytest.approx([0.02, 0.01, 0.005])


def test_sgd_is_nesterov_s() -> None:
    """Sutskever et al. 2013 as torch has it: v = m v + g, p = p - rate (g + m v), with weight decay in g."""
    layer = nn.Linear(1, 1, bias=False)
    rate, momentum, decay = 0.1, 0.8, 0.05
    recipe = replace(RECIPE, optimiser="sgd", learning_rate=rate, momentum=momentum, weight_decay=decay)
    optimiser, _ = make_optimiser(recipe, layer)
    p, v = layer.weight.item(), 0.0
    for gradient in (0.5, -0.2, 0.7):
        layer.weight.grad = torch.tensor([[gradient]])
        optimiser.step()
        g = gradient + decay * p
        v = momentum * v + g
        p -= rate * (g + momentum * v)
    assert layer.weight.item() == pytest.approx(p, rel=1e-5)


def test_sgd_without_momentum_is_plain() -> None:
    optimiser, _ = make_optimiser(replace(RECIPE, optimiser="sgd", momentum=0.0), nn.Linear(1, 1))
    assert optimiser.param_groups[0]["nesterov"] is False


def test_frozen_parameters_are_not_optimised() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    optimiser, _ = make_optimiser(RECIPE, layer)
    assert [id(p) for p in optimiser.param_groups[0]["params"]] == [id(layer.weight)]


def logits_before(source: Memory, recipe: Recipe, items: np.ndarray) -> Tensor:
    """What an untrained network of Plain gives in the first step."""
    network = build(Plain, {}, recipe, source, TRAIN.items, (F, T), 2, 0)
    x, lengths = source.batch(items)
    logits: Tensor = network(network.normaliser(x, lengths), lengths)
    return logits


class Plain(Small):
    """Without dropout and batch normalisation: a batch's loss can be worked out item by item."""

    def __init__(self, input_shape: tuple[int, int], n_classes: int) -> None:
        super().__init__(input_shape, n_classes)
        self.layers = nn.Linear(input_shape[0], n_classes)


def first_loss(recipe: Recipe, chosen: Part) -> float:
    """The loss of the first epoch, whose only batch meets the untrained network."""
    source = Memory()
    network = build(Plain, {}, recipe, source, TRAIN.items, (F, T), 2, 0)
    return next(train(network, recipe, source, chosen, VAL, 0, CPU)).loss


def test_the_loss_is_weighted_by_class_and_smoothed() -> None:
    unbalanced = Part(np.arange(6), np.repeat(np.arange(3), 2), np.array([0, 0, 1]))
    recipe = replace(RECIPE, batch_size=6, class_weights=True, label_smoothing=0.1)
    y = torch.tensor([0, 0, 0, 0, 1, 1])
    weight = torch.tensor([6 / (2 * 4), 6 / (2 * 2)])
    expected = functional.cross_entropy(
        logits_before(Memory(), recipe, unbalanced.items), y, weight, label_smoothing=0.1
    )
    assert first_loss(recipe, unbalanced) == pytest.approx(expected.item(), rel=1e-5)
    assert first_loss(replace(recipe, class_weights=False), unbalanced) != pytest.approx(expected.item(), rel=1e-3)


def test_with_mixup_the_loss_is_that_of_mixed_items_and_mixed_classes() -> None:
    recipe = replace(RECIPE, batch_size=len(TRAIN.items), mixup=0.4, normalise="none")
    rng = np.random.default_rng(0)
    order = rng.permutation(len(TRAIN.items))
    lam, partner = rng.beta(0.4, 0.4), rng.permutation(len(order))
    source, y = Memory(), functional.one_hot(torch.from_numpy(TRAIN.targets[TRAIN.owner][order]), 2).float()
    x = source.x[TRAIN.items[order]]
    source.x[TRAIN.items] = lam * x + (1 - lam) * x[partner]
    expected = functional.cross_entropy(logits_before(source, recipe, TRAIN.items), lam * y + (1 - lam) * y[partner])
    assert first_loss(recipe, TRAIN) == pytest.approx(expected.item(), rel=1e-4)


def test_without_mixup_nothing_is_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fit(Memory())[1].state

    def never(*_: object) -> None:
        raise AssertionError("mixed")

    monkeypatch.setattr(training, "mixup", never)
    assert equal(fit(Memory())[1].state, expected)
    with pytest.raises(AssertionError, match="mixed"):
        fit(Memory(), replace(RECIPE, mixup=0.1))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 6), alpha=st.floats(0.01, 10.0), seed=st.integers(0, 2**32 - 1))
def test_every_mixture_is_convex_and_every_item_is_a_partner_once(n: int, alpha: float, seed: int) -> None:
    x = torch.arange(n, dtype=torch.float32)[:, None, None].expand(-1, 2, 3)
    shares, partner = map(torch.from_numpy, draw_mixup(n, alpha, np.random.default_rng(seed)))
    mixed, _ = mixup(x, torch.full((n,), 3), shares, partner)
    assert shares.min() >= 0
    assert float(shares.sum()) == pytest.approx(1)
    assert sorted(partner.tolist()) == list(range(n))
    assert mixed.min() >= 0
    assert mixed.max() <= (n - 1) * (1 + 1e-6)  # float32 rounds both shares


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 70), size=st.integers(1, 20))
def test_batches_hold_every_item_once_and_none_is_a_lone_rest(n: int, size: int) -> None:
    order = np.random.default_rng(0).permutation(n)
    cut = list(batches(order, size))
    assert np.array_equal(np.concatenate(cut), order)
    assert all(len(batch) == size for batch in cut[:-1])
    assert 1 <= len(cut[-1]) <= size + 1
    assert len(cut[-1]) > 1 or n == 1


def test_batch_normalisation_survives_one_item_more_than_a_batch() -> None:
    assert len(TRAIN.items) == 24
    assert fit(Memory(), replace(RECIPE, batch_size=23, epochs=1))[1].best_epoch == 1


def test_gradients_are_clipped() -> None:
    """A plain step of rate 1 is then no longer than the largest gradient norm."""
    recipe = replace(RECIPE, optimiser="sgd", momentum=0.0, learning_rate=1.0, batch_size=99, epochs=1, clip_norm=1e-3)

    def step(recipe: Recipe) -> float:
        before = build(Small, {}, recipe, Memory(), TRAIN.items, (F, T), 2, 0).state_dict()
        after = fit(Memory(), recipe)[0].state_dict()
        parameters = [name for name in after if name.endswith((".weight", ".bias"))]
        return float(torch.sqrt(sum(((after[name] - before[name]) ** 2).sum() for name in parameters)))

    assert step(recipe) == pytest.approx(1e-3, rel=1e-3)
    assert step(replace(recipe, clip_norm=None)) > 1e-2


class Turns:
    """40 whole utterances of 2 to 9 frames."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.turns = [rng.standard_normal((F, 2 + n % 8)).astype(np.float32) for n in range(40)]
        self.asked: list[int] = []

    def batch(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        self.asked += items.tolist()
        lengths = torch.tensor([self.turns[i].shape[1] for i in items])
        x = torch.zeros(len(items), F, int(lengths.max()))
        for row, i in zip(x, items, strict=True):
            row[:, : self.turns[i].shape[1]] = torch.from_numpy(self.turns[i])
        return x, lengths

    def moments(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames = np.concatenate([self.turns[i] for i in items], 1)
        return frames.mean(1, keepdims=True), frames.std(1, keepdims=True)


@settings(max_examples=15, deadline=None)
@given(chosen=st.lists(st.integers(0, 39), min_size=1, max_size=40, unique=True))
def test_a_whole_utterance_s_prediction_depends_on_nothing_else(chosen: list[int]) -> None:
    source, recipe = Turns(), replace(RECIPE, window=None, hop=None)
    network = build(Whole, {}, recipe, source, np.arange(40), (F, 0), 2, 0)

    def of(items: np.ndarray) -> np.ndarray:
        return predict(network, recipe, source, items, np.arange(len(items)), len(items), CPU)

    everyone = of(np.arange(40))
    assert source.asked == list(range(40))  # in two batches, each utterance once
    assert np.allclose(of(np.array(chosen)), everyone[chosen], atol=1e-6)


def test_training_on_whole_utterances_keeps_padding_zero() -> None:
    seen: list[Tensor] = []

    class Watching(Whole):
        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            seen.extend(row[:, n:] for row, n in zip(x, lengths, strict=True))
            return super().forward(x, lengths)

    recipe = replace(RECIPE, window=None, hop=None, epochs=1)
    network = build(Watching, {}, recipe, Turns(), np.arange(20), (F, 0), 2, 0)
    learnt, judged = (Part(np.arange(n, n + 20), np.arange(20), np.arange(20) % 2) for n in (0, 20))
    list(train(network, recipe, Turns(), learnt, judged, 0, CPU))
    assert len(seen) == 40
    assert sum(rest.numel() for rest in seen) > 0
    assert all((rest == 0).all() for rest in seen)


def test_a_divergence_names_its_epoch_and_rate() -> None:
    recipe = replace(RECIPE, optimiser="sgd", learning_rate=1e30, epochs=9, patience=9)
    with pytest.raises(
        TrainingError, match=r"became (nan|inf) in epoch \d \(learning rate 1e\+30\).*clip_norm"
    ) as told:
        fit(Memory(), recipe)
    assert "--precision" not in str(told.value)  # it is fp32 already


def test_bf16_computes_and_keeps_float32_weights() -> None:
    network = build(Small, {}, RECIPE, Memory(), TRAIN.items, (F, T), 2, 0)
    loop = train(network, RECIPE, Memory(), TRAIN, VAL, 0, Compute("cpu", "bf16"))
    assert np.isfinite(next(loop).loss)
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("how", ["train", "train_for"])
def test_weights_that_break_in_the_very_last_step_are_told(how: str) -> None:
    """One batch of one epoch: its loss is finite, the weights after it are not."""
    recipe = replace(RECIPE, optimiser="sgd", momentum=0.0, learning_rate=1e38, weight_decay=1e3, epochs=1)
    recipe = replace(recipe, batch_size=len(TRAIN.items))
    network = build(Small, {}, recipe, Memory(), TRAIN.items, (F, T), 2, 0)
    trainings = {
        "train": lambda: fit(Memory(), recipe),
        "train_for": lambda: train_for(network, recipe, Memory(), TRAIN, 1, 0, CPU),
    }
    with pytest.raises(TrainingError, match=r"training ended in weights that are not finite .*layers\.0.*clip_norm"):
        trainings[how]()
