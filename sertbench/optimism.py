"""The optimism meter: what the same model would have scored with the field's usual cheats, beside the honest score.

- random_split: folds that are random by utterance, so that test speakers are in training;
- test_epoch: the epoch picked on the test part of each fold (its difference from the honest score is the oracle gap);
- speaker_norm: features standardised per speaker, with the test speakers' own statistics.

The hyperparameters are the ones that the honest run chose. Nothing here can change the honest score, whose predictions
are final before any of this starts; and none of these figures is ever ranked.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """Mean over folds and seeds of the test UAR at the best epoch on test, and its excess over the kept epoch's."""
    store, targets = features(plan, display), np.asarray(plan.manifest.targets)
    jobs = [(k, seed) for k in range(len(plan.split.folds)) for seed in range(plan.config.seeds)]

    def uars(job: tuple[int, int]) -> tuple[float, float]:
        k, seed = job
        fold = plan.split.folds[k]
        test = np.asarray(fold.test)
        fit = fit_task(plan, fold, store, dict(run["frozen"][k]["choice"]), seed)
        task = prediction_task(plan, fit, test)
        every = runner.run(predict_every_epoch, task, f"fold {fold.name}, seed {seed}")
        by_epoch = [score(targets[test], p.argmax(1), fit.n_classes).uar for p in every]
        return max(by_epoch), by_epoch[run["frozen"][k]["epochs"][str(seed)] - 1]

    with ThreadPoolExecutor(len(jobs)) as threads, ended_with(runner):
        best, honest = np.array(list(threads.map(uars, jobs))).T
    return {
        "test_epoch": round(100 * float(best.mean()), 2),
        "oracle_gap": round(100 * float((best - honest).mean()), 2),
    }
