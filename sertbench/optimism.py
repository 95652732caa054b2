"""The optimism meter: what the same model would have scored with the field's usual cheats, beside the honest score.

- random_split: folds that are random by utterance, so that test speakers are in training;
- test_epoch: the epoch picked on the test part of each fold (its difference from the honest score is the oracle gap);
- speaker_norm: features standardised per speaker, with the test speakers' own statistics.

The hyperparameters are the ones that the honest run chose. Nothing here can change the honest score, whose predictions
are final before any of this starts; and none of these figures is ever ranked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import numpy as np

from sertbench.crossval import collect, cross_validate
from sertbench.errors import ConfigError
from sertbench.executors import Runner, ended_with
from sertbench.fits import predict_every_epoch
from sertbench.fold_tasks import features, fit_task, prediction_task
from sertbench.model import Choice, Estimator
from sertbench.plan import Plan
from sertbench.progress import Display
from sertbench.protocol_rules import RANDOM10
from sertbench.results import figures
from sertbench.scores import score


def measure(plan: Plan, run: Mapping[str, Any], runner: Runner, display: Display) -> dict[str, float]:
    """The figures of the meter in percent; `run` is the finished honest run. Costs about three runs without tuning."""
    refuse_other_code(plan, run)
    display = display.aside()
    choices: list[Choice] = [dict(frozen["choice"]) for frozen in run["frozen"]]
    display.say(f"optimism meter: {RANDOM10.n_folds} random folds")
    random = replace(plan, protocol=RANDOM10, split=RANDOM10.split(plan.manifest.utterances))
    found = {"random_split": pooled_uar(random, runner, display, list(islice(cycle(choices), RANDOM10.n_folds)))}
    if plan.recipe.features is not None:
        display.say("optimism meter: features standardised per speaker")
        found["speaker_norm"] = pooled_uar(replace(plan, speaker_norm=True), runner, display, choices)
    if not issubclass(plan.model.cls, Estimator):
        display.say("optimism meter: the best epoch on the test part")
        found |= best_test_epoch(plan, run, runner, display)
    return found


def refuse_other_code(plan: Plan, run: Mapping[str, Any]) -> None:
    """ConfigError when the run's fits are not those that the code and libraries of now would make.

    What two versions score is no measure of a cheat, and the kept epochs are those of the other version.
    """
    for fold, frozen in zip(plan.split.folds, run["frozen"], strict=True):
        for seed, identity in frozen["fits"].items():
            fit = fit_task(plan, fold, None, dict(frozen["choice"]), int(seed))
            if plan.protocol.refit:
                fit = replace(fit, refit_epochs=frozen["epochs"][seed])
            if fit.identity() != identity:
                raise ConfigError(
                    f"--optimism: {plan.folder.name} was fitted by another version of sertbench, torch or scikit-learn "
                    f"than the one that is installed, so the two cannot be compared. Delete {plan.folder / 'run.json'} "
                    "and type the same command again: the run is made anew, and then measured"
                )


def pooled_uar(plan: Plan, runner: Runner, display: Display, choices: list[Choice]) -> float:
    """Pooled UAR of a cross-validation without tuning, mean over seeds, in percent."""
    n_fits = plan.config.seeds * len(plan.split.folds) * (2 if plan.protocol.refit else 1)
    predictions = collect(plan, cross_validate(plan, n_fits, runner, display, choices))
    uar = figures(predictions)["uar_pooled_mean"]
    return float(str(uar))


def best_test_epoch(plan: Plan, run: Mapping[str, Any], runner: Runner, display: Display) -> dict[str, float]:
    """Pooled UAR, mean over seeds, when each fold has its best epoch on test, and its excess over the kept epochs'.

    Pooled like the honest score: a mean over folds would differ from it without any choice of the epoch.
    """
    store, targets = features(plan, display), np.asarray(plan.manifest.targets)
    folds, seeds, n_classes = plan.split.folds, range(plan.config.seeds), len(plan.manifest.classes)
    jobs = [(k, seed) for seed in seeds for k in range(len(folds))]

    def answers(job: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        k, seed = job
        test = np.asarray(folds[k].test)
        fit = fit_task(plan, folds[k], store, dict(run["frozen"][k]["choice"]), seed)
        every = runner.run(predict_every_epoch, prediction_task(plan, fit, test), f"fold {folds[k].name}, seed {seed}")
        return best_and_kept(every.argmax(2), targets[test], n_classes, run["frozen"][k]["epochs"][str(seed)])

    with ThreadPoolExecutor(len(jobs)) as threads, ended_with(runner):
        given = list(threads.map(answers, jobs))
    return pooled_gain([targets[list(fold.test)] for fold in folds], given, n_classes)


def pooled_gain(
    truths: Sequence[np.ndarray], given: Sequence[tuple[np.ndarray, np.ndarray]], n_classes: int
) -> dict[str, float]:
    """The figures of the best epoch on test in percent: `truths` of the folds, answers of the folds for each seed."""
    truth, k = np.concatenate(truths), len(truths)
    seeds = [given[start : start + k] for start in range(0, len(given), k)]
    best, kept = (
        float(
            np.mean([score(truth, np.concatenate([fold[which] for fold in folds]), n_classes).uar for folds in seeds])
        )
        for which in (0, 1)
    )
    return {"test_epoch": round(100 * best, 2), "oracle_gap": round(100 * (best - kept), 2)}


def best_and_kept(by_epoch: np.ndarray, truth: np.ndarray, n_classes: int, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers (n,) of the epoch with the highest UAR on the test part, and of the kept one, from 1; (epochs, n) given.

    Of equals the earliest.
    """
    best = max(range(len(by_epoch)), key=lambda epoch: score(truth, by_epoch[epoch], n_classes).uar)
    return by_epoch[best], by_epoch[kept - 1]
