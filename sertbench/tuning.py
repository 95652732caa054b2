"""Nested tuning: one Optuna study per outer fold, on validation data only.

The study is asked and told in the driving process, the only one that writes its journal, in batches of `BATCH` trials
with a sampler seeded per trial number. All trials of a batch are asked before one of them is told, and they are told in
their order: so the study is the same with any number of workers, and one that was killed and resumed is the study that
was not killed. Trial 0 is the recipe as published. Pruning is the median rule on the best validation UAR so far, worked
out before a batch starts, so a worker needs nobody to ask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState

from sertbench.errors import SertbenchError, TrainingError, WorkerError
from sertbench.fits import FitRecord
from sertbench.model import Choice, Model
from sertbench.search_space import draw, published
from sertbench.study_journal import mark, open_study

if TYPE_CHECKING:
    from optuna import Study

optuna.logging.set_verbosity(optuna.logging.WARNING)

TUNING_VERSION = 2  # raised whenever the same scores give other choices
BATCH = 4  #          trials that are asked together, whatever the number of workers: it is part of the method
STARTUP_TRIALS = 4  # trials before the sampler models the scores and before anything is pruned
FINALIST_SHARE = 3  # one trial in three is a finalist, at most
MOST_FINALISTS = 3
FINAL_SEEDS = 2  #    finalists are judged by the mean over this many seeds


@dataclass(frozen=True)
class Request:
    """One fit that a study wants: where and on which fold it runs is not its business."""

    choice: Choice
    seed: int
    stop_below: tuple[float, ...]
    tag: str


# Gives for each request its record, or the error that it failed with; runs them side by side if it likes.
Evaluate = Callable[[Sequence[Request]], Sequence["FitRecord | SertbenchError"]]


@dataclass(frozen=True)
class Tuned:
    """The outcome of one fold's study."""

    choice: Choice
    scope: str  #                  "fixed": nothing was tuned; "perfold": by this fold's validation part
    curve: tuple[float, ...]  #    best validation UAR after each trial
    trials: tuple[dict[str, object], ...]


def tune(cls: Model, fold: str, path: Path, n_trials: int, warm_up: int, evaluate: Evaluate, basis: str = "") -> Tuned:
    """Choose hyperparameters for one fold.

    `evaluate` trains on the fold's training part; an error fails the trial, but for a WorkerError, which leaves it open
    and is raised. `warm_up` is the number of epochs during which no trial is pruned. `path` is the study's journal; one
    that is damaged, or of another `basis` (see `study_journal`), is put aside, and the study is made again, from
    finished fits.
    """
    if n_trials == 0:
        return Tuned({}, "fixed", (), ())
    study_seed = int.from_bytes(hashlib.sha256(fold.encode()).digest()[:4], "big")
    study = open_study(path, f"fold {fold}", basis)
    if not study.trials:
        study.enqueue_trial(published(cls))
    choices: dict[int, Choice] = {}
    for start in range(0, n_trials, BATCH):
        numbers = range(start, min(start + BATCH, n_trials))
        known = study.trials[start : numbers.stop]  # the whole batch or, but for the published trial, nothing
        finished = bool(known) and known[0].state.is_finished()
        asked: list[optuna.trial.Trial] = []
        for number in numbers:
            trial: optuna.trial.BaseTrial
            if finished:
                trial = optuna.trial.FixedTrial(known[number - start].params)
            else:
                study.sampler = sampler(study_seed + number)
                trial = study.ask()
                asked.append(trial)
            choices[number] = draw(cls, trial)
            if not choices[number]:
                return Tuned({}, "fixed", (), ())
        if asked:
            run_batch(study, asked, choices, thresholds(study.trials[:start], warm_up), evaluate)
            mark(study, numbers.stop)
    return choose(study, choices, evaluate)


def sampler(seed: int) -> optuna.samplers.TPESampler:
    """Tree-structured Parzen estimator (Bergstra et al. 2011), with all that Optuna's versions have as other defaults.

    `constant_liar`: trials of the batch that are not told yet count as bad ones, so that a batch spreads out.
    """
    return optuna.samplers.TPESampler(
        seed=seed,
        n_startup_trials=STARTUP_TRIALS,
        n_ei_candidates=24,
        multivariate=True,
        group=False,
        constant_liar=True,
    )


def run_batch(
    study: Study,
    asked: Sequence[optuna.trial.Trial],
    choices: Mapping[int, Choice],
    stop_below: tuple[float, ...],
    evaluate: Evaluate,
) -> None:
    """Evaluate the trials of a batch and tell the study. A WorkerError leaves all of them open."""
    requests = [Request(choices[t.number], 0, stop_below, f"trial {t.number}") for t in asked]
    outcomes = refuse_lost(evaluate(requests)) if requests else ()
    for trial, outcome in zip(asked, outcomes, strict=True):
        if isinstance(outcome, SertbenchError):
            trial.set_user_attr("failure", str(outcome))
            study.tell(trial, state=TrialState.FAIL)
        else:
            tell(study, trial, outcome)


def refuse_lost(outcomes: Sequence[FitRecord | SertbenchError]) -> Sequence[FitRecord | SertbenchError]:
    """The same outcomes; raises a WorkerError among them: it says nothing about its trial, which must be run again."""
    for outcome in outcomes:
        if isinstance(outcome, WorkerError):
            raise outcome
    return outcomes


def tell(study: Study, trial: optuna.trial.Trial, record: FitRecord) -> None:
    """Tell the study what a trial came to."""
    told = study.trials[trial.number].intermediate_values  # by a run that was killed before it told the end
    for event in record.history:
        if event.epoch not in told:
            trial.report(event.val_uar, event.epoch)
    trial.set_user_attr("epochs", len(record.history))
    if record.pruned:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, record.val_uar)


def thresholds(trials: list[FrozenTrial], warm_up: int) -> tuple[float, ...]:
    """Median over finished trials of the best validation UAR after each epoch (Golovin et al. 2017, median stopping).

    Validation UAR of short trainings jumps by several points between epochs: so the best so far is compared, not the
    last value, never before `warm_up` epochs, and only once `STARTUP_TRIALS` trials were completed. A trial that had
    stopped early counts with its final best. Empty: no pruning.
    """
    curves = [list(t.intermediate_values.values()) for t in trials if t.state == TrialState.COMPLETE]
    curves = [curve for curve in curves if curve]
    if len(curves) < STARTUP_TRIALS:
        return ()
    longest = max(map(len, curves))
    medians = (median(max(curve[: epoch + 1]) for curve in curves) for epoch in range(longest))
    return tuple(m if epoch + 1 >= warm_up else -1.0 for epoch, m in enumerate(medians))


def n_finalists(trials: int) -> int:
    """How many of the trials are judged with more seeds; one means that the best trial wins as it is."""
    return min(MOST_FINALISTS, max(1, trials // FINALIST_SHARE))


def choose(study: Study, choices: dict[int, Choice], evaluate: Evaluate) -> Tuned:
    """Take the best trial; from six trials on, run the best ones with a second seed and take the best mean.

    Raises TrainingError when every trial failed, or every finalist with the second seed.
    """
    trials = study.trials[: len(choices)]
    done = sorted((t for t in trials if t.state == TrialState.COMPLETE), key=lambda t: (-(t.value or 0.0), t.number))
    if not done:
        reasons = {str(t.user_attrs.get("failure", t.state.name)) for t in trials}
        raise TrainingError(
            f"{study.study_name}: none of {len(trials)} trials could be completed: {'; '.join(sorted(reasons))}"
        )
    finalists = done[: n_finalists(len(trials))]
    means = {t.number: t.value or 0.0 for t in finalists}
    if len(finalists) > 1:
        means = final_means(study, finalists, choices, evaluate)
    winner = max(means, key=lambda number: (means[number], -number))
    best_so_far, curve = 0.0, []
    for t in trials:
        best_so_far = max(best_so_far, t.value or 0.0) if t.state == TrialState.COMPLETE else best_so_far
        curve.append(best_so_far)
    table = tuple(
        {
            "trial": t.number,
            "state": t.state.name.lower(),
            "val_uar": t.value,
            "val_uar_final": means.get(t.number),
            "chosen": t.number == winner,
            **t.params,
        }
        for t in trials
    )
    return Tuned(choices[winner], "perfold", tuple(curve), table)


def final_means(
    study: Study, finalists: list[FrozenTrial], choices: dict[int, Choice], evaluate: Evaluate
) -> dict[int, float]:
    """Mean validation UAR over `FINAL_SEEDS` seeds by trial number; a finalist that fails with one of them is out."""
    means: dict[int, float] = {}
    failures: list[str] = []

    def again(t: FrozenTrial) -> str:
        return f"trial {t.number} again"

    requests = [Request(choices[t.number], seed, (), again(t)) for t in finalists for seed in range(1, FINAL_SEEDS)]
    outcomes = refuse_lost(evaluate(requests))
    for t in finalists:
        mine = [outcome for request, outcome in zip(requests, outcomes, strict=True) if request.tag == again(t)]
        scores = [outcome.val_uar for outcome in mine if not isinstance(outcome, SertbenchError)]
        if len(scores) == len(mine):
            means[t.number] = fmean([t.value or 0.0, *scores])
        failures += [f"trial {t.number}: {outcome}" for outcome in mine if isinstance(outcome, SertbenchError)]
    if not means:
        raise TrainingError(f"{study.study_name}: every finalist failed with another seed: {'; '.join(failures)}")
    return means
