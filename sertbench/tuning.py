"""Nested tuning: one Optuna study per outer fold, on validation data only.

The study is asked and told in the driving process, one trial after another, with a sampler seeded per trial number:
so a study that was killed and resumed is the study that was not killed. Trial 0 is the recipe as published. Pruning is
the median rule on the best validation UAR so far, worked out before a trial starts, so a worker needs nobody to ask.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from sertbench.errors import PluginError, TrainingError, WorkerError, few
from sertbench.fits import FitRecord
from sertbench.model import Choice, Model, hyperparameters

if TYPE_CHECKING:
    from optuna import Study

optuna.logging.set_verbosity(optuna.logging.WARNING)

STARTUP_TRIALS = 4  # trials before the sampler models the scores and before anything is pruned
FINALIST_SHARE = 3  # one trial in three is a finalist, at most
MOST_FINALISTS = 3
FINAL_SEEDS = 2  #    finalists are judged by the mean over this many seeds

Evaluate = Callable[[Choice, int, tuple[float, ...], str], FitRecord]


@dataclass(frozen=True)
class Tuned:
    """The outcome of one fold's study."""

    choice: Choice
    scope: str  #                  "fixed": nothing was tuned; "perfold": by this fold's validation part
    curve: tuple[float, ...]  #    best validation UAR after each trial
    trials: tuple[dict[str, object], ...]


def tune(cls: Model, fold: str, path: Path, n_trials: int, warm_up: int, evaluate: Evaluate) -> Tuned:
    """Choose hyperparameters for one fold.

    `evaluate(choice, seed, stop_below, tag)` trains on the fold's training part and gives the record; a TrainingError
    fails the trial. `warm_up` is the number of epochs during which no trial is pruned. `path` is the study's journal.
    """
    if n_trials == 0:
        return Tuned({}, "fixed", (), ())
    study_seed = int.from_bytes(hashlib.sha256(fold.encode()).digest()[:4], "big")
    path.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name=f"fold {fold}",
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.NopPruner(),
    )
    if not study.trials:
        study.enqueue_trial(published(cls))
    choices: dict[int, Choice] = {}
    for number in range(n_trials):
        study.sampler = optuna.samplers.TPESampler(
            seed=study_seed + number, n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=False
        )
        trial = resume(study, number)
        choices[number] = draw(cls, trial)
        if not choices[number]:
            return Tuned({}, "fixed", (), ())
        if isinstance(trial, optuna.trial.Trial):
            run_trial(study, trial, choices[number], warm_up, evaluate)
    return choose(study, choices, evaluate)


def draw(cls: Model, trial: optuna.trial.BaseTrial) -> Choice:
    """What the search space makes of a trial. PluginError for whatever goes wrong in it."""
    try:
        choice = cls.search_space(trial)
    except Exception as error:
        raise PluginError(f"{cls.__name__}.search_space fails: {type(error).__name__}: {error}") from error
    if not isinstance(choice, dict):
        raise PluginError(f"{cls.__name__}.search_space gives {choice!r}: return a dict, {{}} for nothing to tune")
    return choice


def published(cls: Model) -> Choice:
    """The published value of everything that a search space could name: recipe fields and constructor defaults.

    Trial 0 is made of these. PluginError for one that a categorical range of the search space lacks: it could not be.
    """
    values = {f.name: getattr(cls.recipe, f.name) for f in fields(cls.recipe)}
    values |= {k: v for k, v in hyperparameters(cls).items() if v is not inspect.Parameter.empty}
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    choice = draw(cls, trial)
    reachable: Choice = {}
    for name, value in values.items():
        range_ = trial.distributions.get(name)
        if isinstance(range_, optuna.distributions.CategoricalDistribution):
            if value in range_.choices:
                reachable[name] = value
            elif choice.get(name) == trial.params[name]:  # else the plug-in makes something else of the draw
                raise PluginError(
                    f"{cls.__name__}: the search space cannot draw the published {name} = {value!r}, only "
                    f"{few(map(repr, range_.choices))}. Add it to suggest_categorical({name!r}, ...), so that tuning "
                    "starts from the paper's setting; or run the recipe as it is with --trials 0"
                )
        elif isinstance(value, (bool, int, float)) or (range_ is None and isinstance(value, str)):
            reachable[name] = value
    return reachable


def resume(study: Study, number: int) -> optuna.trial.BaseTrial:
    """Trial `number`: asked anew, or taken up again where a killed run left it, or read back if it is finished."""
    trials = study.trials
    if number >= len(trials) or trials[number].state == TrialState.WAITING:
        return study.ask()
    if trials[number].state.is_finished():
        return optuna.trial.FixedTrial(trials[number].params)
    return optuna.trial.Trial(study, trials[number]._trial_id)


def run_trial(study: Study, trial: optuna.trial.Trial, choice: Choice, warm_up: int, evaluate: Evaluate) -> None:
    """Evaluate one choice and tell the study. A WorkerError leaves the trial open."""
    try:
        record = evaluate(choice, 0, thresholds(study.trials, warm_up), f"trial {trial.number}")
    except WorkerError:
        raise  # nothing is known about this trial: the resumed study takes it up again
    except TrainingError as error:
        trial.set_user_attr("failure", str(error))
        study.tell(trial, state=TrialState.FAIL)
        return
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
    means, failures = {}, []
    for t in finalists:
        try:
            more = [
                evaluate(choices[t.number], seed, (), f"trial {t.number} again").val_uar
                for seed in range(1, FINAL_SEEDS)
            ]
        except WorkerError:
            raise
        except TrainingError as error:
            failures.append(f"trial {t.number}: {error}")
        else:
            means[t.number] = fmean([t.value or 0.0, *more])
    if not means:
        raise TrainingError(f"{study.study_name}: every finalist failed with another seed: {'; '.join(failures)}")
    return means
