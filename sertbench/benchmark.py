"""The flow of a run, from the plan to the leaderboard, readable from top to bottom.

plan (corpus, gate, folds) -> features -> per outer fold: tune on its validation part -> fit each seed -> freeze
  -> predict the sealed test part once per seed -> bundle -> figures -> leaderboard row
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from sertbench import bundle, cost, executors, gate, leaderboard
from sertbench import config as configs
from sertbench import plan as plans
from sertbench.config import RunConfig
from sertbench.cost import Cost
from sertbench.executors import Executor
from sertbench.feature_store import FeatureStore, open_store
from sertbench.fits import FitRecord, FitTask, PredictionTask, run_fit, run_prediction
from sertbench.model import Choice, Estimator
from sertbench.plan import Plan
from sertbench.progress import Display
from sertbench.protocols import Fold
from sertbench.results import Predictions, figures
from sertbench.sealed import SealedTest, now
from sertbench.tuning import Tuned, tune


@dataclass(frozen=True)
class FoldOutcome:
    """All that came of one outer fold."""

    tuned: Tuned
    records: Mapping[int, FitRecord]  # seed -> final fit
    sealed: SealedTest  #               frozen, with its log of readings
    probabilities: Mapping[int, np.ndarray]  # seed -> (n_test, n_classes)
    predict_seconds: float


@dataclass(frozen=True)
class Outcome:
    """The end of a run: its row, and the leaderboard that it stands in."""

    row: leaderboard.Row
    table: Path
    rows: list[leaderboard.Row]


def run(config: RunConfig, display: Display, *, dry: bool = False) -> Outcome | None:
    """Run a benchmark; a dry run shows the plan and gives None."""
    started = time.monotonic()
    plan = plans.make(config, display)
    if bundle.is_whole(plan.folder) and not dry:
        display.say(f"everything is done already: {plan.folder} (delete it to run again)")
        return publish(plan, bundle.load_run(plan.folder))
    price = cost.cost(plan)
    if not dry:
        bundle.ensure_writable(plan.folder)
        bundle.ensure_writable(Path(plan.config.leaderboards))
        display.log_to(plan.folder / "log.txt")
    display.pairs("plan", cost.describe(plan, price))
    if dry:
        return None
    outcomes = compute(plan, price, display)
    predictions = collect(plan, outcomes)
    record = record_of(plan, price, outcomes, predictions, time.monotonic() - started)
    return publish(plan, bundle.save(plan.folder, configs.dump(plan.config), plan.split, predictions, record))


def compute(plan: Plan, price: Cost, display: Display) -> list[FoldOutcome]:
    """Run all folds, side by side as far as there are workers."""
    store = features(plan, display)

    def on_epoch(tag: str, event: Any) -> None:
        display.epoch(tag, event, plan.recipe.epochs)

    with (
        display.fits(price.n_fits),
        executors.make(plan.workers, on_epoch) as executor,
        ThreadPoolExecutor(len(plan.split.folds)) as threads,
    ):
        futures = [threads.submit(run_fold, plan, fold, store, executor, display) for fold in plan.split.folds]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
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


def run_fold(plan: Plan, fold: Fold, store: FeatureStore | None, executor: Executor, display: Display) -> FoldOutcome:
    """Tune on the validation part, fit each seed, freeze, and predict the test part once per seed."""
    sealed = SealedTest(fold.name, fold.test)

    def evaluate(choice: Choice, seed: int, stop_below: tuple[float, ...], tag: str) -> FitRecord:
        tag = f"fold {fold.name}, {tag}"
        record = executor.run(run_fit, fit_task(plan, fold, store, choice, seed, stop_below), tag)
        display.fitted(tag, record)
        return record

    study = plan.folder / "studies" / f"{fold.name}.journal"
    tuned = tune(plan.model.cls, fold.name, study, plan.config.trials, warm_up(plan), evaluate)
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
        blind = tuple(replace(plan.manifest.utterances[i], label="") for i in test)
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
    )


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


def record_of(
    plan: Plan, price: Cost, outcomes: list[FoldOutcome], predictions: Predictions, seconds: float
) -> dict[str, Any]:
    """The content of run.json: what was run, what was chosen, what came out, and on which machine."""
    manifest, model, corpus = plan.manifest, plan.model, plan.corpus
    records = [record for outcome in outcomes for record in outcome.records.values()]
    audio_seconds = plan.config.seeds * sum(manifest.seconds)
    return {
        "row_id": plan.row_id,
        "date_utc": now(),
        "config": asdict(plan.config),
        "model": {
            "name": model.name,
            "origin": model.origin,
            "source_sha256": model.source_sha256,
            "family": model.cls.family,
            "year": model.cls.year,
            "paper": model.cls.paper,
            "diagnostic": getattr(model.cls, "diagnostic", False),
            "n_parameters": price.n_parameters,
            "recipe": asdict(plan.recipe),
        },
        "corpus": {
            "name": plan.corpus_name,
            "label_set": manifest.label_set,
            "subset": manifest.subset,
            "classes": list(manifest.classes),
            "n_utterances": len(manifest),
            "n_tested": len(plan.split.tested),
            "manifest_sha256": manifest.sha256,
            "licence": corpus.licence,
            "synthetic": corpus.synthetic,
            "unranked": corpus.unranked,
        },
        "protocol": {
            "name": plan.split.protocol,
            "sha256": plan.split.sha256,
            "flags": asdict(gate.flags(manifest, plan.split)),
            "overlaps": gate.table(plan.overlaps),
            "leaky": plan.leaky,
            "shuffled_labels": plan.config.shuffle_labels,
            "covers": plan.protocol.covers,
            "refit": plan.protocol.refit,
        },
        "compute": {**asdict(plan.compute), "workers": plan.workers},
        "tuning": [
            {"fold": f.name, **asdict(o.tuned)}
            for f, o in zip(plan.split.folds, outcomes, strict=True)
        ],
        "frozen": [asdict(o.sealed.frozen) for o in outcomes if o.sealed.frozen is not None],
        "test_reads": [read for o in outcomes for read in o.sealed.reads],
        "fits": [
            {"fold": f.name, "seed": seed, **asdict(record)}
            for f, o in zip(plan.split.folds, outcomes, strict=True)
            for seed, record in o.records.items()
        ],
        "val_uar": round(100 * fmean(r.val_uar for r in records), 2),
        "timing": {
            "wall_seconds": round(seconds, 1),
            "train_seconds_per_fit": round(fmean(r.seconds for r in records), 2),
            "predict_rtf": round(sum(o.predict_seconds for o in outcomes) / audio_seconds, 6),
        },
        "environment": bundle.environment(),
        "figures": figures(predictions),
    }  # fmt: skip


def publish(plan: Plan, run: dict[str, Any]) -> Outcome:
    """Put the bundle's row into its leaderboard."""
    row = leaderboard.row_of(run, plan.folder)
    table, rows = leaderboard.add(Path(plan.config.leaderboards), row, Path(plan.config.runs))
    mine = next(r for r in rows if r["row_id"] == row["row_id"])
    return Outcome(mine, table, rows)
