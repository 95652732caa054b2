"""The classic classifiers: what the validation part chooses, what it cannot touch, and whose decision is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from sertbench import plugins
from sertbench.estimator_layers import C_GRID, best_step, even_weights
from sertbench.model import Examples
from sertbench.scores import score

NAMES = ("svm", "logreg", "mlp", "gbdt")
CLASSES = {name: plugins.load_model(name).cls for name in NAMES}
every = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """One thread as in a run, and few candidates."""
    monkeypatch.setattr(f"{CLASSES['mlp'].__module__}.EPOCHS", 12)
    monkeypatch.setattr(f"{CLASSES['gbdt'].__module__}.ROUNDS", 12)
    with threadpool_limits(1):
        yield


def part(seed: int, counts=(30, 12, 6), noise: float = 1.5) -> Examples:
    """Three classes, unevenly many, apart on three of five columns of very different scale and offset."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(len(counts)), counts)
    x = noise * rng.standard_normal((len(targets), 5))
    x[np.arange(len(targets)), targets] += 2.0
    functionals = (x * [1e-4, 1e3, 1.0, 1.0, 10.0] + [0, 1e4, 0, 5, 0]).astype(np.float32)
    return Examples((), np.ones(len(targets)), functionals, targets)


def fitted(name: str, train: Examples, val: Examples, step: int | None = None, seed: int = 0, **arguments):
    estimator = CLASSES[name](3, seed, **arguments)
    estimator.step = step
    estimator.fit(train, val)
    return estimator


def uar(estimator, examples: Examples) -> float:
    return score(examples.targets, estimator.predict_proba(examples).argmax(1), 3).uar


@every
def test_learns_what_there_is_to_learn_however_columns_are_scaled(name):
    estimator = fitted(name, part(0, (60, 40, 30), noise=0.5), part(1))

    assert uar(estimator, part(2, noise=0.5)) > 0.85


@every
def test_the_rare_class_counts_as_much_as_the_frequent_one(name):
    estimator = fitted(name, part(0, (200, 20, 20)), part(1, (40, 20, 20)))

    test = part(2, (100, 100, 100))
    recalls = score(test.targets, estimator.predict_proba(test).argmax(1), 3).recalls
    assert min(recalls) > 0.4


@every
def test_the_validation_part_chooses_the_best_candidate(name):
    train, val = part(0), part(1)
    chosen = fitted(name, train, val)

    others = range(1, len(C_GRID) + 1) if name in ("svm", "logreg") else range(1, 13, 4)
    uars = {step: uar(fitted(name, train, val, step), val) for step in others}

    assert chosen.step >= 1
    assert uar(chosen, val) >= max(uars.values()) - 1e-9
    if chosen.step in uars:
        assert all(found < uar(chosen, val) for step, found in uars.items() if step < chosen.step)


@every
def test_a_given_candidate_is_the_one_that_was_chosen_and_validation_cannot_touch_it(name):
    train, val = part(0), part(1)
    chosen = fitted(name, train, val)
    nonsense = replace(val, functionals=-val.functionals, targets=val.targets[::-1].copy())

    again = fitted(name, train, nonsense, chosen.step)

    test = part(2)
    assert np.array_equal(again.predict_proba(test).argmax(1), chosen.predict_proba(test).argmax(1))
    if name != "svm":  # whose softmax is sharpened by the validation part
        assert np.array_equal(again.predict_proba(test), chosen.predict_proba(test))


@every
def test_nothing_is_fitted_to_the_validation_part(name):
    """The same validation part twice over makes the same choice; then nothing else may differ."""
    train, val = part(0), part(1)
    more = Examples((), np.ones(2 * len(val.targets)), np.tile(val.functionals, (2, 1)), np.tile(val.targets, 2))

    once, twice = fitted(name, train, val), fitted(name, train, more)

    test = part(2)
    assert once.step == twice.step
    assert np.array_equal(once.predict_proba(test), twice.predict_proba(test))


@every
def test_two_classes_are_two_columns(name):
    train, val, test = (part(seed, (20, 20)) for seed in range(3))
    estimator = CLASSES[name](2, 0)
    estimator.fit(train, val)

    given = estimator.predict_proba(test)

    assert given.shape == (40, 2)
    assert score(test.targets, given.argmax(1), 2).uar > 0.6


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("step", [3, 5, 7])
def test_the_likeliest_class_is_the_decision_of_scikit_learns_machine(kernel, step):
    train, test = part(0), part(2, (50, 50, 50))
    ours = fitted("svm", train, part(1), step, kernel=kernel)

    theirs = make_pipeline(
        StandardScaler(),
        SVC(C=C_GRID[step - 1], kernel=kernel, gamma=1 / 5, class_weight="balanced", break_ties=True),
    )
    theirs.fit(train.functionals.astype(np.float64), train.targets)

    expected = theirs.predict(test.functionals.astype(np.float64))
    assert np.array_equal(ours.predict_proba(test).argmax(1), expected)


def test_a_machine_without_a_stored_kernel_decides_the_same(monkeypatch):
    train, val, test = part(0), part(1), part(2)
    for kernel in ("linear", "rbf"):
        stored = fitted("svm", train, val, kernel=kernel)
        with monkeypatch.context() as patch:
            patch.setattr(f"{CLASSES['svm'].__module__}.MOST_KERNEL", 10)
            direct = fitted("svm", train, val, kernel=kernel)
            found = direct.predict_proba(test)
        assert direct.step == stored.step
        np.testing.assert_allclose(found, stored.predict_proba(test), atol=1e-3)


def test_the_softmax_is_sharpened_to_the_validation_part():
    train, val = part(0, (60, 40, 30)), part(1, (60, 40, 30))
    estimator = fitted("svm", train, val)
    calibrated = log_loss(val.targets, estimator.predict_proba(val))

    estimator.sharpness = 1.0

    assert calibrated < log_loss(val.targets, estimator.predict_proba(val))


@pytest.mark.parametrize("name", ["svm", "logreg"])
def test_what_has_nothing_random_is_the_same_for_all_seeds(name):
    train, val, test = part(0), part(1), part(2)

    one, two = (fitted(name, train, val, seed=seed).predict_proba(test) for seed in (0, 1))

    assert np.array_equal(one, two)


def test_a_perceptrons_seed_matters():
    train, val, test = part(0), part(1), part(2)

    one, two = (fitted("mlp", train, val, seed=seed).predict_proba(test) for seed in (0, 1))

    assert not np.array_equal(one, two)


def test_of_equal_candidates_the_first_is_best():
    val = part(1, (2, 2, 2))
    good, bad = val.targets, np.zeros(6, int)

    assert best_step([bad, good, good], val, 3) == 2
    assert best_step([bad, bad], val, 3) == 1


def test_even_weights_give_each_class_the_same():
    targets = np.array([0, 0, 0, 2])

    weights = even_weights(targets)

    assert weights.sum() == pytest.approx(1.0)
    assert weights[targets == 0].sum() == pytest.approx(weights[targets == 2].sum())
