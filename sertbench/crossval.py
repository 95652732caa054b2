"""The outer folds of a run: per fold tune, fit each seed, freeze, and predict the sealed test part once per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sertbench import config as configs
from sertbench import executors
from sertbench.corpus import Manifest
from sertbench.executors import Executor
from sertbench.feature_store import FeatureStore, open_store
from sertbench.fits import FitRecord, run_fit, run_prediction
from sertbench.model import Choice, Estimator
from sertbench.plan import Plan
from sertbench.progress import Display
from sertbench.protocols import Fold
from sertbench.results import Predictions
from sertbench.sealed import SealedTest
from sertbench.tasks import FitTask, PredictionTask, blinded
from sertbench.tuning import Tuned, tune


@dataclass(frozen=True)
class FoldOutcome:
    """All that came of one outer fold."""

    tuned: Tuned
    records: Mapping[int, FitRecord]  # seed -> final fit
    sealed: SealedTest  #               frozen, with its log of readings
    probabilities: Mapping[int, np.ndarray]  # seed -> (n_test, n_classes)
    predict_seconds: float


def cross_validate(
    plan: Plan, n_fits: int, display: Display, choices: Sequence[Choice] | None = None
) -> list[FoldOutcome]:
    """Run all folds, side by side as far as there are workers.

    `choices`, if given, are the folds' hyperparameters, and nothing is tuned.
    """
    store = features(plan, display)
    given: Sequence[Choice | None] = choices or [None] * len(plan.split.folds)

    def on_epoch(tag: str, event: Any) -> None:
        display.epoch(tag, event, plan.recipe.epochs)

    with (
        display.fits(n_fits),
        executors.make(plan.workers, on_epoch) as executor,
        ThreadPoolExecutor(len(plan.split.folds)) as threads,
    ):
        futures = [
            threads.submit(run_fold, plan, fold, store, executor, display, choice)
            for fold, choice in zip(plan.split.folds, given, strict=True)
        ]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            executor.stop()
            raise
        return [future.result() for future in futures]


def features(plan: Plan, display: Display) -> FeatureStore | None:
    """The features of all utterances, from the cache or worked out now; None for a model that asks for none."""
    recipe, manifest = plan.recipe, plan.manifest
    if recipe.features is None:
        return None
    paths = [u.path for u in manifest.utterances]
    with display.stage(f"{recipe.features.kind} features", len(paths)) as advance:
        return open_store(
            paths,
            manifest.audio_sha256,
            recipe.features,
            recipe.window,
            recipe.hop,
            plan.corpus.channel,
            configs.cache_folder(),
            advance,
        )


def run_fold(
    plan: Plan, fold: Fold, store: FeatureStore | None, executor: Executor, display: Display, choice: Choice | None
) -> FoldOutcome:
    """Tune on the validation part unless a choice is given, fit each seed, freeze, predict the test part once each."""
    sealed = SealedTest(fold.name, fold.test)

    def evaluate(choice: Choice, seed: int, stop_below: tuple[float, ...], tag: str) -> FitRecord:
        tag = f"fold {fold.name}, {tag}"
        record = executor.run(run_fit, fit_task(plan, fold, store, choice, seed, stop_below), tag)
        display.fitted(tag, record)
        return record

    study = plan.folder / "studies" / f"{fold.name}.journal"
    n_trials = 0 if choice is not None else plan.config.trials
    tuned = tune(plan.model.cls, fold.name, study, n_trials, warm_up(plan), evaluate)
    if choice is not None:
        tuned = replace(tuned, choice=choice)
    seeds = range(plan.config.seeds)
    finals = {seed: fit_task(plan, fold, store, tuned.choice, seed, ()) for seed in seeds}
    with ThreadPoolExecutor(len(seeds)) as threads:
        records = dict(
            zip(seeds, threads.map(lambda seed: evaluate(tuned.choice, seed, (), f"seed {seed}"), seeds), strict=True)
        )
        if plan.protocol.refit:
            finals = {seed: replace(fit, refit_epochs=records[seed].best_epoch) for seed, fit in finals.items()}
            tags = (f"fold {fold.name}, seed {seed}, refit" for seed in seeds)
            refits = dict(
                zip(seeds, threads.map(executor.run, [run_fit] * len(seeds), finals.values(), tags), strict=True)
            )
            records = {seed: replace(refits[seed], val_uar=records[seed].val_uar) for seed in seeds}
    sealed.freeze(
        tuned.choice,
        {seed: record.best_epoch for seed, record in records.items()},
        {seed: record.identity for seed, record in records.items()},
    )
    probabilities, seconds = predict_test(plan, sealed, finals, executor)
    return FoldOutcome(tuned, records, sealed, probabilities, seconds)


def predict_test(
    plan: Plan, sealed: SealedTest, fits: Mapping[int, FitTask], executor: Executor
) -> tuple[dict[int, np.ndarray], float]:
    """Open the frozen fold's test part once per seed and predict it; the predictor gets no labels."""
    probabilities, seconds = {}, 0.0
    for seed, fit in fits.items():
        test = sealed.open(seed)
        blind = tuple(blinded(plan.manifest.utterances[i]) for i in test)
        task = PredictionTask(fit, test, blind, seconds_of(plan, test))
        tag = f"fold {sealed.fold}, seed {seed}, test"
        probabilities[seed], taken = executor.run(run_prediction, task, tag)
        seconds += taken
    return probabilities, seconds


def warm_up(plan: Plan) -> int:
    """Epochs during which no trial is pruned: a fifth of the training, at least five."""
    return max(5, plan.recipe.epochs // 5)


def seconds_of(plan: Plan, positions: np.ndarray) -> np.ndarray:
    """Durations of some utterances."""
    lengths: np.ndarray = np.asarray(plan.manifest.seconds)[positions]
    return lengths


def fit_task(
    plan: Plan, fold: Fold, store: FeatureStore | None, choice: Choice, seed: int, stop_below: tuple[float, ...]
) -> FitTask:
    """What a worker needs for one fit: of the fold, the training and validation parts alone."""
    manifest, targets = plan.manifest, np.asarray(plan.manifest.targets)
    train, val = np.asarray(fold.train), np.asarray(fold.val)
    seen = np.concatenate([train, val])
    if plan.config.shuffle_labels:
        targets[seen] = np.random.default_rng(seed).permutation(targets[seen])
    estimator = issubclass(plan.model.cls, Estimator)
    return FitTask(
        model=plan.model.spec,
        choice={**plan.base_choice, **choice},
        seed=seed,
        manifest_sha256=manifest.sha256,
        split_sha256=plan.split.sha256,
        fold=fold.name,
        n_classes=len(manifest.classes),
        train=train,
        train_targets=targets[train],
        val=val,
        val_targets=targets[val],
        utterances=tuple(manifest.utterances[i] for i in seen) if estimator else (),
        seconds=seconds_of(plan, seen),
        store=store,
        compute=plan.compute,
        folder=Path(plan.config.runs) / "fits",
        stop_below=stop_below,
        normalise_by=speakers_of(manifest) if plan.speaker_norm else None,
    )


def speakers_of(manifest: Manifest) -> np.ndarray:
    """The speaker of each utterance as a number."""
    groups: np.ndarray = np.unique([u.speaker for u in manifest.utterances], return_inverse=True)[1]
    return groups


def collect(plan: Plan, outcomes: list[FoldOutcome]) -> Predictions:
    """Join the predictions of all folds with the test labels, which only now leave the manifest."""
    manifest, frames = plan.manifest, []
    for fold, outcome in zip(plan.split.folds, outcomes, strict=True):
        test = [manifest.utterances[i] for i in fold.test]
        for seed, probabilities in outcome.probabilities.items():
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
