"""Estimators, which are no networks: how one is fitted, and how a fit that is finished gives it back to predict.

Whatever needs a fitted estimator asks `fitted_estimator` for it: it reads what the fit stored, and fits again only what
could not be stored, was damaged since, or is of an older run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from sertbench import estimator_state
from sertbench.errors import StoppedError, StorageError
from sertbench.estimator_state import State
from sertbench.groupnorm import normalised_functionals
from sertbench.guard import refuse_no_probabilities
from sertbench.model import Estimator, Examples
from sertbench.plugin_import import RAISES
from sertbench.scores import score
from sertbench.stopwatch import lap
from sertbench.tasks import FitTask, PredictionTask, blinded
from sertbench.training import Fitted


@dataclass(frozen=True)
class FittedEstimator:
    """An estimator that was fitted just now."""

    estimator: Estimator
    outcome: Fitted
    state: State | None  # to be stored; None if nothing will be predicted with it, or it cannot be stored


def examples(task: FitTask, positions: np.ndarray, first: int, targets: np.ndarray | None) -> Examples:
    """One part of a fold as an estimator sees it; `first` is where it begins in the task's utterances."""
    part = slice(first, first + len(positions))
    functionals = np.zeros((len(positions), 0), np.float32)
    if task.store and task.normalise_by is not None:
        functionals = normalised_functionals(task.store, task.normalise_by, positions)
    elif task.store:
        functionals = task.store.functionals(positions)
    return Examples(task.utterances[part], task.seconds[part], functionals, targets)


def fit_estimator(task: FitTask, cls: type[Estimator], arguments: dict[str, Any]) -> FittedEstimator:
    """Fit a non-neural model, score it on the validation part, and take down what it learnt if it will predict."""
    estimator = cls(task.n_classes, task.seed, **arguments)
    estimator.step = task.refit_epochs
    part, targets = task.train, task.train_targets
    if task.refit_epochs is not None:
        part, targets = np.concatenate([task.train, task.val]), np.concatenate([task.train_targets, task.val_targets])
    val = examples(task, task.val, len(task.train), task.val_targets)
    seen = examples(task, part, 0, targets)
    lap("batches")
    with threadpool_limits(1):  # as for networks: the same numbers on any number of cores
        estimator.fit(seen, val)
        blind = replace(val, utterances=tuple(blinded(u, cls) for u in val.utterances), targets=None)
        probabilities = np.asarray(estimator.predict_proba(blind))
        refuse_no_probabilities(task.model, probabilities, len(task.val), task.n_classes)
        state = proven_state(estimator, unfitted(task, cls, arguments), blind, probabilities) if task.predicts else None
    lap("estimator")
    uar = score(task.val_targets, probabilities.argmax(1), task.n_classes).uar
    return FittedEstimator(estimator, Fitted({}, estimator.step or 1, uar, (), pruned=False), state)


def unfitted(task: FitTask, cls: type[Estimator], arguments: dict[str, Any]) -> Estimator:
    """A new estimator of a task, which a stored state can be put into."""
    return cls(task.n_classes, task.seed, **arguments)


def proven_state(estimator: Estimator, copy: Estimator, val: Examples, probabilities: np.ndarray) -> State | None:
    """What a fitted estimator has learnt; None unless `copy`, given that, predicts `val` the same bit for bit.

    A plug-in may keep something where a state does not look, or draw random numbers as it predicts.
    """
    try:
        state = estimator_state.state_of(estimator)
        same = np.array_equal(estimator_state.restore(copy, state).predict_proba(val), probabilities)
    except StoppedError:
        raise
    except RAISES:  # a copy may lack something
        return None
    return state if same else None


def stored_at(task: FitTask) -> Path:
    """Where the estimator of a fit is stored, if it is."""
    return task.folder / task.identity() / estimator_state.FILE


def fitted_estimator(
    task: FitTask, cls: type[Estimator], arguments: dict[str, Any], report: Callable[[str], None]
) -> Estimator:
    """The estimator of a finished fit: read, or fitted again on the same part, and then stored if it can be.

    One that is stored and damaged is told to `report`, and fitted again.
    """
    path = stored_at(task)
    if path.exists():
        try:
            return estimator_state.restore(unfitted(task, cls, arguments), estimator_state.load(path))
        except StorageError as error:
            report(f"{path} was damaged, so the estimator is fitted again ({error})")
    fitted = fit_estimator(task, cls, arguments)
    if fitted.state is not None:
        estimator_state.save(path, fitted.state)
        lap("checkpoints")
    return fitted.estimator


def predict_estimator(
    task: PredictionTask, cls: type[Estimator], arguments: dict[str, Any], report: Callable[[str], None]
) -> np.ndarray:
    """Class probabilities of the test utterances, (n_test, n_classes) float32."""
    estimator = fitted_estimator(task.fit, cls, arguments, report)
    test = examples(replace(task.fit, utterances=task.utterances, seconds=task.seconds), task.test, 0, None)
    lap("batches")
    with threadpool_limits(1):
        probabilities = np.asarray(estimator.predict_proba(test), dtype=np.float32)
    lap("evaluation")
    return probabilities
