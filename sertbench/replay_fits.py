"""Fits of a replay: trained without early stopping, with the predictions of every epoch kept.

Papers differ in which epoch they report: the best one on the test part, the last one. When the predictions after each
epoch are there, each of these rules is a pure function of them, and the same fits show what the choice is worth.
Nothing of this can reach an honest row: a replay has bundles, fits and boards of its own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sertbench.claim import SplitRule
from sertbench.compute import settle
from sertbench.errors import StorageError
from sertbench.fits import FitRecord, load_record, predict_every_epoch, publish, run_fit, run_prediction
from sertbench.fitting import Report
from sertbench.guard import blaming
from sertbench.model import Estimator
from sertbench.protocols import Fold
from sertbench.scores import score
from sertbench.tasks import PredictionTask
from sertbench.training import EpochEnd

FILE = "weights.pt"  # as of any fit, but it holds predictions


@dataclass(frozen=True)
class EveryEpoch:
    """What a replayed fit leaves: its record, and class probabilities (epochs, n, n_classes) of what it predicts."""

    record: FitRecord
    probabilities: np.ndarray


def predicted_by(fold: Fold) -> np.ndarray:
    """Positions that a fit predicts after every epoch: all that it does not train on, ascending."""
    return np.asarray(sorted({*fold.val, *fold.test}))


def identity_of(task: PredictionTask) -> str:
    """Hash of all that can change the predictions of all epochs: 16 hex digits."""
    parts = f"every epoch {task.fit.identity()} {task.test.tolist()}"
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def run_every_epoch(task: PredictionTask, report: Report) -> EveryEpoch:
    """Train and predict `task.test` after every epoch, unless it is there already. An estimator has one epoch."""
    identity, folder = identity_of(task), task.fit.folder
    done = load_record(folder, identity)
    if done is not None:
        return EveryEpoch(replace(done, reused=True), stored(task, identity))
    settle(task.fit.compute.device)
    started = time.perf_counter()
    history: list[EpochEnd] = []

    def keep(event: EpochEnd | str) -> None:
        if isinstance(event, EpochEnd):
            history.append(event)
        report(event)

    cls, _, _ = task.fit.resolve()
    if issubclass(cls, Estimator):
        fitted = run_fit(task.fit, report)
        probabilities = run_prediction(task, report)[0][None]
        best, val_uar, n_parameters = 1, fitted.val_uar, fitted.n_parameters
    else:
        with blaming(task.fit.model):
            probabilities = predict_every_epoch(task, keep)
        top = max(history, key=lambda event: event.val_uar)
        best, val_uar, n_parameters = top.epoch, top.val_uar, 0
    record = FitRecord(identity, best, val_uar, tuple(history), time.perf_counter() - started, n_parameters)
    publish(folder, record, {"probabilities": torch.from_numpy(probabilities)})
    return EveryEpoch(record, probabilities)


def stored(task: PredictionTask, identity: str) -> np.ndarray:
    """The probabilities of a finished fit; StorageError if they cannot be read."""
    path = task.fit.folder / identity / FILE
    try:
        kept: dict[str, Any] = torch.load(path, weights_only=True)
        probabilities: np.ndarray = kept["probabilities"].numpy()
    except (OSError, RuntimeError, KeyError) as error:
        raise StorageError(f"{path} cannot be read ({error}). Delete its folder and type the command again") from error
    return probabilities


def epoch_of(
    rule: SplitRule,
    test: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    n_classes: int,
) -> int:
    """The epoch that a claim's rule reports, from 0; the earliest of equals. Parts are (probabilities, targets)."""
    if rule.epoch == "last":
        return len(test[0]) - 1
    probabilities, targets = test if rule.epoch == "best on test" else val
    return int(np.argmax([worth(rule.by, p, targets, n_classes) for p in probabilities]))


def worth(by: Sequence[str], probabilities: np.ndarray, targets: np.ndarray, n_classes: int) -> float:
    """The mean of the scores that decide which epoch is best."""
    scores = score(targets, probabilities.argmax(1), n_classes)
    return float(np.mean([getattr(scores, "uar" if name == "ua" else name) for name in by]))
