"""The outer folds of a run: per fold tune, fit each seed, freeze, and predict the sealed test part once per seed.

What depends on what is the order of `run_fold`; which of all that is ready runs where is the executor's business. A fit
that fails does not stop the others: its fold goes on without that seed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sertbench import stopwatch
from sertbench.errors import ConfigError, PluginError, SealError, SertbenchError, StoppedError, TrainingError, few
from sertbench.executors import BEGUN, STOPPED, Result, Runner, Work, ended_with
from sertbench.feature_store import FeatureStore
from sertbench.fits import FitRecord, run_fit, run_prediction
from sertbench.fold_tasks import features, fit_task, prediction_task
from sertbench.guard import refuse_edited
from sertbench.identity import model_code_sha256
from sertbench.model import Choice
from sertbench.plan import Plan
from sertbench.progress import Display
from sertbench.protocols import Fold
from sertbench.results import Predictions
from sertbench.sealed import SealedTest
from sertbench.tasks import FitTask
from sertbench.tuning import Request, Tuned, tune

FAULTS = (TrainingError, PluginError, SealError)  # what a fit can fail with; anything else is no fault of the model's

_extracting = threading.Lock()


@dataclass(frozen=True)
class FoldOutcome:
    """All that came of one outer fold."""

    tuned: Tuned
    records: Mapping[int, FitRecord]  # seed -> final fit
    sealed: SealedTest  #               frozen, with its log of readings
    probabilities: Mapping[int, np.ndarray]  # seed -> (n_test, n_classes)
    predict_seconds: float
    failures: Mapping[int, str]  #      seed -> why it has no fit


class FoldRunner:
    """Sends the fits and predictions of one run to the executor, and says what became of them."""

    def __init__(self, plan: Plan, store: FeatureStore | None, runner: Runner, display: Display) -> None:
        self.plan = plan
        self.store = store
        self._runner = runner
        self._display = display
        self._halted = threading.Event()
        self._code = model_code_sha256(plan.model.cls)

    def halt(self) -> None:
        """Begin nothing more of this run."""
        self._halted.set()

    def send(self, work: Work[Any, Result], task: Any, tag: str) -> Result:
        """Run work of this run and wait for its result."""
        if self._halted.is_set():
            raise StoppedError(STOPPED)
        synchronise = self._display.profile and self.plan.compute.device == "cuda"
        try:
            result, watch = self._runner.run(partial(stopwatch.timed, work, synchronise), task, tag, self._event)
        except FAULTS:
            refuse_edited(self.plan.model.spec, self._code)
            raise
        refuse_edited(self.plan.model.spec, self._code)
        self._display.spent(tag, self._runner.slots, watch)
        return result

    def _event(self, tag: str, event: Any) -> None:
        if event == BEGUN:
            self._display.begun(tag)
        elif isinstance(event, str):
            self._display.say(f"{tag}: {event}")
        else:
            self._display.epoch(tag, event, self.plan.recipe.epochs)

    def fit(self, task: FitTask, tag: str) -> FitRecord | SertbenchError:
        """The record of a fit, or the fault that it failed with."""
        tag = f"fold {task.fold}, {tag}"
        try:
            record = self.send(run_fit, task, tag)
            refuse_other_versions(task, record)
        except StoppedError:
            raise
        except FAULTS as error:
            self._display.failed(tag, error)
            return error
        self._display.fitted(tag, record)
        return record

    def fit_all(self, tasks: Sequence[tuple[FitTask, str]]) -> list[FitRecord | SertbenchError]:
        """As `fit`, side by side; outcomes in the order of the tasks."""
        with ThreadPoolExecutor(max(1, len(tasks))) as threads:
            return list(threads.map(lambda pair: self.fit(*pair), tasks))


def refuse_other_versions(task: FitTask, record: FitRecord) -> None:
    """ConfigError when a worker's fit is not the one that was asked for: code or libraries differ there."""
    if record.identity != task.identity():
        raise ConfigError(
            f"a worker made the fit {record.identity} where {task.identity()} was asked for: it has another version of "
            "sertbench, torch or the plug-in, or the plug-in was edited meanwhile. Install the same everywhere, then "
            "type the same command again"
        )


def cross_validate(
    plan: Plan, n_fits: int, runner: Runner, display: Display, choices: Sequence[Choice] | None = None
) -> list[FoldOutcome]:
    """Run all folds, side by side as far as there are workers.

    `choices`, if given, are the folds' hyperparameters, and nothing is tuned.
    """
    with _extracting:  # runs of a grid that share features compute them once
        store = features(plan, display)
    stopwatch.lap("features")
    given: Sequence[Choice | None] = choices or [None] * len(plan.split.folds)
    fits = FoldRunner(plan, store, runner, display)
    with display.fits(n_fits), ThreadPoolExecutor(len(plan.split.folds)) as threads:
        futures = [
            threads.submit(run_fold, fits, fold, choice) for fold, choice in zip(plan.split.folds, given, strict=True)
        ]
        with ended_with(runner):
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                fits.halt()
                raise
        return [future.result() for future in futures]


def run_fold(fits: FoldRunner, fold: Fold, choice: Choice | None) -> FoldOutcome:
    """Tune on the validation part unless a choice is given, fit each seed, freeze, predict the test part once each."""
    plan, store = fits.plan, fits.store
    sealed = SealedTest(fold.name, fold.test)
    seeds = range(plan.config.seeds)

    def evaluate(requests: Sequence[Request]) -> Sequence[FitRecord | SertbenchError]:
        trials = [
            fit_task(plan, fold, store, r.choice, r.seed, stop_below=r.stop_below, predicts=False) for r in requests
        ]
        return fits.fit_all([(task, request.tag) for task, request in zip(trials, requests, strict=True)])

    study = plan.folder / "studies" / f"{fold.name}.journal"
    n_trials = 0 if choice is not None else plan.config.trials
    try:
        basis = fit_task(plan, fold, store, {}, 0).identity() if n_trials else ""
        tuned = tune(plan.model.cls, fold.name, study, n_trials, warm_up(plan), evaluate, basis)
    except StoppedError:
        raise
    except FAULTS as error:
        return FoldOutcome(Tuned({}, "failed", (), ()), {}, sealed, {}, 0.0, dict.fromkeys(seeds, str(error)))
    if choice is not None:
        tuned = replace(tuned, choice=choice)
    predicts = not plan.protocol.refit
    tasks = {seed: fit_task(plan, fold, store, tuned.choice, seed, predicts=predicts) for seed in seeds}
    records, failures = told_apart(seeds, fits.fit_all([(tasks[seed], f"seed {seed}") for seed in seeds]))
    if plan.protocol.refit:
        tasks = {seed: replace(tasks[seed], refit_epochs=r.best_epoch, predicts=True) for seed, r in records.items()}
        refits, more = told_apart(records, fits.fit_all([(t, f"seed {seed}, refit") for seed, t in tasks.items()]))
        records = {seed: replace(refit, val_uar=records[seed].val_uar) for seed, refit in refits.items()}
        failures |= more
    if not records:
        return FoldOutcome(tuned, {}, sealed, {}, 0.0, failures)
    sealed.freeze(
        tuned.choice,
        {seed: record.best_epoch for seed, record in records.items()},
        {seed: record.identity for seed, record in records.items()},
    )
    probabilities, seconds, more = predict_test(fits, sealed, {seed: tasks[seed] for seed in records})
    return FoldOutcome(tuned, records, sealed, probabilities, seconds, failures | more)


def told_apart(
    seeds: Iterable[int], outcomes: Sequence[FitRecord | SertbenchError]
) -> tuple[dict[int, FitRecord], dict[int, str]]:
    """What became a fit, and why the rest did not, by seed."""
    records: dict[int, FitRecord] = {}
    failures: dict[int, str] = {}
    for seed, outcome in zip(seeds, outcomes, strict=True):
        if isinstance(outcome, SertbenchError):
            failures[seed] = str(outcome)
        else:
            records[seed] = outcome
    return records, failures


def predict_test(
    fits: FoldRunner, sealed: SealedTest, tasks: Mapping[int, FitTask]
) -> tuple[dict[int, np.ndarray], float, dict[int, str]]:
    """Open the frozen fold's test part once per seed and predict it; the predictor gets no labels.

    Gives probabilities by seed, seconds, and why a seed has none.
    """
    plan, probabilities, failures, seconds = fits.plan, {}, {}, 0.0
    for seed, fit in tasks.items():
        task = prediction_task(plan, fit, sealed.open(seed))
        try:
            probabilities[seed], taken = fits.send(run_prediction, task, f"fold {sealed.fold}, seed {seed}, test")
        except StoppedError:
            raise
        except FAULTS as error:
            failures[seed] = str(error)
        else:
            seconds += taken
    return probabilities, seconds, failures


def complete_seeds(outcomes: Sequence[FoldOutcome], seeds: int) -> list[int]:
    """The seeds whose predictions are there for all folds."""
    return [seed for seed in range(seeds) if all(seed in outcome.probabilities for outcome in outcomes)]


def warm_up(plan: Plan) -> int:
    """Epochs during which no trial is pruned: a fifth of the training, at least five."""
    return max(5, plan.recipe.epochs // 5)


def collect(plan: Plan, outcomes: list[FoldOutcome]) -> Predictions:
    """Join the predictions of all folds with the test labels, which only now leave the manifest.

    Only seeds that have predictions for all folds: figures of a part of the corpus would not be comparable.
    Raises TrainingError when there is none.
    """
    import pandas as pd  # a second that the first training step need not wait for

    manifest, frames = plan.manifest, []
    seeds = complete_seeds(outcomes, plan.config.seeds)
    if not seeds:
        reasons = dict.fromkeys(reason for outcome in outcomes for reason in outcome.failures.values())
        n_failed = sum(len(outcome.failures) for outcome in outcomes)
        raise TrainingError(
            f"{n_failed} of {plan.config.seeds * len(outcomes)} final fits failed, so no seed has all folds: "
            f"{few(reasons, 2)}. Logs are in {plan.folder / 'failures'}; the same command tries those again"
        )
    for fold, outcome in zip(plan.split.folds, outcomes, strict=True):
        test = [manifest.utterances[i] for i in fold.test]
        for seed in seeds:
            probabilities = outcome.probabilities[seed]
            frame = pd.DataFrame(
                {
                    "utterance": [u.id for u in test],
                    "fold": fold.name,
                    "seed": seed,
                    "speaker": [u.speaker for u in test],
                    "style": [u.style or "" for u in test],
                    "target": [manifest.targets[i] for i in fold.test],
                    "epoch": outcome.records[seed].best_epoch,
                }
            )
            for column, name in enumerate(manifest.classes):
                frame[f"p_{name}"] = probabilities[:, column]
            frames.append(frame)
    return Predictions(pd.concat(frames, ignore_index=True), manifest.classes)
