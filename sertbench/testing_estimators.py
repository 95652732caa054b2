"""Checks of non-neural models: fit on train, give class probabilities per utterance, the same ones each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from sertbench import feature_spec
from sertbench import testing_recipes as recipes
from sertbench.corpus import Utterance
from sertbench.errors import PluginError
from sertbench.model import Estimator, Examples
from sertbench.plugin_import import RAISES, said
from sertbench.tasks import blinded
from sertbench.testing import Check

CLASSES = 4


def examples(
    cls: type[Estimator], count: int, seed: int, classes: Sequence[int] = range(CLASSES), told: bool = True
) -> Examples:
    """Utterances of some classes, on which functionals and durations depend; `told`: with their labels."""
    rng = np.random.default_rng(seed)
    targets = np.asarray(classes)[np.arange(count) % len(classes)]
    columns = feature_spec.width(cls.recipe.features)
    functionals = (rng.standard_normal((count, columns)) + targets[:, None]).astype(np.float32)
    utterances = tuple(
        Utterance(
            id=f"{seed}_{i:03d}",
            path=Path(f"{seed}_{i:03d}.wav"),
            label=f"class {target}" if told else "",
            speaker=f"{seed}_{i % 3}",
            gender=("female", "male")[i % 2],
            text=f"text {i % 5}",
            transcript=f"These are words {i % 5}.",
        )
        for i, target in enumerate(targets)
    )
    seconds = rng.uniform(1.0, 2.0, count) + 0.5 * targets
    return Examples(utterances, seconds, functionals, targets if told else None)


def fitted(
    cls: type[Estimator],
    classes: Sequence[int] = range(CLASSES),
    val_seed: int = 2,
    step: int | None = None,
    **arguments: Any,
) -> Estimator:
    """An estimator fitted on 40 utterances of some classes; `step` is as the harness gives it."""
    estimator = cls(CLASSES, 0, **arguments)
    estimator.step = step
    with threadpool_limits(1):  # as in a run
        estimator.fit(examples(cls, 40, 1, classes), examples(cls, 16, val_seed, classes))
    return estimator


def gives_probabilities(cls: type[Estimator]) -> None:
    """Rows of n_classes probabilities that sum to 1, each in its own column where the training part lacks a class."""
    recipes.valid_constructor(cls)
    for classes, where in ((range(CLASSES), ""), (range(1, CLASSES), " when one class does not occur in training")):
        given = np.asarray(fitted(cls, classes).predict_proba(examples(cls, 8, 3, classes, told=False)))
        if given.shape != (8, CLASSES):
            raise PluginError(
                f"predict_proba gave shape {given.shape} for 8 utterances and {CLASSES} classes{where}: it must be "
                f"(8, {CLASSES}), column c for class index c (scikit-learn leaves out classes that it has not seen)"
            )
        if not np.isfinite(given).all() or given.min() < 0 or np.abs(given.sum(1) - 1).max() > 1e-4:
            raise PluginError(
                f"the rows of predict_proba are no probabilities{where}: they must be >= 0 and sum to 1; the first row "
                f"is {given[0]}"
            )
    absent, *present = given.mean(axis=0)
    targets = np.asarray(classes)[np.arange(8) % len(classes)]
    own, left = (float(given[np.arange(8), targets - shift].mean()) for shift in (0, 1))
    if absent > min(present) + 1e-6 and left > own + 1e-6:  # one alone may be a choice of the model's, or a weak model
        raise PluginError(
            f"class 0, which does not occur in training, gets more ({absent:.2f}) than one that does "
            f"({min(present):.2f}): column c must be class index c. scikit-learn has columns for `classes_` alone: put "
            "them where they belong (sertbench.estimator_layers.all_classes), not side by side from the left"
        )


def predicts_each_alone(cls: type[Estimator]) -> None:
    """An utterance is predicted the same alone and among others, and predicting changes nothing."""
    estimator = fitted(cls)
    data = examples(cls, 8, 3, told=False)
    together = estimator.predict_proba(data)
    alone = np.concatenate([estimator.predict_proba(part) for part in one_by_one(data)])
    gap = float(np.abs(together - alone).max())
    if gap > 1e-5:
        raise PluginError(
            f"probabilities differ by {gap:.1e} when an utterance is predicted alone: predict_proba may use what `fit` "
            "learnt and the utterance itself, nothing computed over the other utterances"
        )


def one_by_one(data: Examples) -> Iterator[Examples]:
    """Each utterance as examples of its own."""
    for i in range(len(data.utterances)):
        part = slice(i, i + 1)
        yield replace(
            data, utterances=data.utterances[part], seconds=data.seconds[part], functionals=data.functionals[part]
        )


def fits_the_same_again(cls: type[Estimator]) -> None:
    """The same seed and data give the same probabilities."""
    data = examples(cls, 8, 3, told=False)
    once = fitted(cls).predict_proba(data)
    np.random.seed(1)
    if not np.array_equal(once, fitted(cls).predict_proba(data)):
        raise PluginError(
            "two fits with the same seed give other probabilities: pass `random_state=self.seed` to scikit-learn, or "
            "draw from np.random.default_rng(self.seed), and keep nothing on the class or module"
        )


def searches_what_it_can_fit(cls: type[Estimator]) -> None:
    """Draws from the search space are valid, hold the published setting, and fit."""
    for choice in recipes.draws(cls, 3):
        _, arguments = cls.recipe.with_choice(choice)
        try:
            fitted(cls, **arguments)
        except RAISES as error:
            raise PluginError(f"fit fails with {choice}, drawn from search_space: {said(error)}") from error


def leaves_the_validation_part_alone(cls: type[Estimator]) -> None:
    """With `step` given, the validation part, which is then part of training, changes nothing."""
    data, step = examples(cls, 8, 3, told=False), fitted(cls).step or 1
    once, again, other = (fitted(cls, val_seed=seed, step=step).predict_proba(data) for seed in (2, 2, 4))
    if np.array_equal(once, again) and not np.array_equal(once, other):  # what is random is told by `repeatable`
        raise PluginError(
            "with self.step given, another validation part gives other probabilities: `val` may choose among "
            "candidates (and `self.step` says which one it chose), never be fitted. If self.step is not None, take "
            "that candidate and leave `val` alone: it is then a part of `train`"
        )


def hears_what_it_predicts(cls: type[Estimator]) -> None:
    """One with features predicts by these and the duration; speaker, text and transcript are blank then."""
    estimator, data = fitted(cls), examples(cls, 8, 3, told=False)
    once, again = (estimator.predict_proba(data) for _ in range(2))
    blank = replace(data, utterances=tuple(blinded(utterance, cls) for utterance in data.utterances))
    try:
        gap = float(np.abs(again - estimator.predict_proba(blank)).max())
        fault = f"probabilities differ by {gap:.1e}" if gap and np.array_equal(once, again) else ""
    except RAISES as error:
        fault = f"predict_proba raised {said(error)}"
    if fault:
        raise PluginError(
            f"{fault} when speaker, text and transcript are blank. In a run they are, for an estimator with features: "
            "its row says that it hears. Predict by `functionals` and `seconds`; or leave the features out of the "
            "recipe, and the row says `metadata`"
        )


CHECKS = (
    Check("documentation", recipes.documented, "The class says what it is and where it is from", needed=True),
    Check("recipe", recipes.valid_recipe, "The recipe holds settings that can be", needed=True),
    Check("probabilities", gives_probabilities, "fit works, and predict_proba gives probabilities", needed=True),
    Check("alone", predicts_each_alone, "An utterance is predicted the same alone and among others"),
    Check("audio", hears_what_it_predicts, "With features, it predicts by them and the duration alone"),
    Check("validation", leaves_the_validation_part_alone, "The validation part chooses, and is never fitted"),
    Check("search_space", searches_what_it_can_fit, "What search_space draws can be fitted"),
    Check("repeatable", fits_the_same_again, "The same seed gives the same probabilities"),
)
