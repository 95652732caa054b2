"""The flow of a replay, readable from top to bottom.

claim -> settings (utterances dropped and counted, splits drawn per seed) -> per setting: features -> one fit per seed
and fold, with the predictions of every epoch -> the epoch that the claim's rule reports -> bundle -> figures -> a row
of the replication board, beside what was published and the honest score
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from sertbench import bundle, executors, gate, replay_plan, replication
from sertbench.claim import SCORES, Claim
from sertbench.crossval import features, fit_task, seconds_of
from sertbench.feature_store import FeatureStore
from sertbench.leaderboard import Row
from sertbench.progress import Display
from sertbench.protocols import Fold, Split
from sertbench.replay_choice import ReplayConfig
from sertbench.replay_cost import describe
from sertbench.replay_fits import EveryEpoch, epoch_of, predicted_by, run_every_epoch
from sertbench.replay_plan import ReplayPlan, Setting
from sertbench.results import Predictions
from sertbench.sealed import now
from sertbench.tasks import PredictionTask, blinded

Job = tuple[int, Fold]  # seed and fold


@dataclass(frozen=True)
class Outcome:
    """The end of a replay: its plan, one row per setting in the plan's order, and the board's file."""

    plan: ReplayPlan
    rows: tuple[Row, ...]
    board: Path


def replay(claim: Claim, asked: ReplayConfig, display: Display, *, dry: bool = False) -> Outcome | None:
    """Replay a claim; a dry run shows the plan and gives None."""
    plan = replay_plan.make(claim, asked, display)
    boards, runs = Path(asked.leaderboards), Path(asked.runs)
    if not dry:
        bundle.ensure_writable(runs)
        bundle.ensure_writable(boards)
    describe(plan, display)
    if dry:
        return None
    rows = []
    for number, setting in enumerate(plan.settings, 1):
        run = finished(setting, display, f"{number}/{len(plan.settings)}")
        honest = replication.find_honest(
            setting.plan.model.name,
            plan.corpus_name,
            plan.label_set,
            setting.subset,
            plan.default_protocol,
            boards,
            runs,
        )
        rows.append(replication.row_of(run, setting.plan.folder, honest))
        replication.add(boards, rows[-1])
    return Outcome(plan, tuple(rows), replication.path_of(boards, claim.name))


def finished(setting: Setting, display: Display, number: str) -> dict[str, Any]:
    """The finished bundle of a setting: the one that is there, or a new one."""
    folder = setting.plan.folder
    what = f"replay {number}: {setting.rule.name}, {setting.subset}, {setting.label}"
    if bundle.is_whole(folder):
        display.say(f"{what}: done already, {folder}")
        return bundle.load_run(folder)
    display.log_to(folder / "log.txt")
    display.say(what)
    started = time.monotonic()
    fitted = fit_all(setting, display)
    frame = collect(setting, fitted)
    record = record_of(setting, fitted, frame, time.monotonic() - started)
    predictions = Predictions(frame, setting.plan.manifest.classes)
    return bundle.save(folder, config_of(setting), setting.plan.split, predictions, record)


def jobs_of(setting: Setting) -> list[Job]:
    """All fits of a setting."""
    return [(seed, fold) for seed, split in setting.splits.items() for fold in split.folds]


def fit_all(setting: Setting, display: Display) -> list[EveryEpoch]:
    """Fit every seed and fold, side by side as far as there are workers; finished ones are taken as they are."""
    plan, jobs = setting.plan, jobs_of(setting)
    store = features(plan, display)

    def on_epoch(tag: str, event: Any) -> None:
        display.epoch(tag, event, plan.recipe.epochs)

    def fit(job: Job) -> EveryEpoch:
        seed, fold = job
        tag = f"seed {seed}, fold {fold.name}"
        outcome = executor.run(run_every_epoch, task_of(setting, setting.splits[seed], fold, seed, store), tag)
        display.fitted(tag, outcome.record)
        return outcome

    with (
        display.fits(len(jobs)),
        executors.make(plan.workers, on_epoch) as executor,
        ThreadPoolExecutor(min(len(jobs), 2 * plan.workers)) as threads,
    ):
        futures = [threads.submit(fit, job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            executor.stop()
            raise
        return [future.result() for future in futures]


def task_of(setting: Setting, split: Split, fold: Fold, seed: int, store: FeatureStore | None) -> PredictionTask:
    """What a worker needs for one fit and its predictions."""
    plan = replace(setting.plan, split=split)
    positions = predicted_by(fold)
    blind = tuple(blinded(plan.manifest.utterances[i]) for i in positions)
    return PredictionTask(fit_task(plan, fold, store, {}, seed, ()), positions, blind, seconds_of(plan, positions))


def reported(setting: Setting, fold: Fold, fitted: EveryEpoch) -> int:
    """The epoch that the claim's rule reports, from 0."""
    targets, n = np.asarray(setting.plan.manifest.targets), len(fold.test)
    test = fitted.probabilities[:, :n], targets[list(fold.test)]
    val = (fitted.probabilities[:, -len(fold.val) :], targets[list(fold.val)])
    return epoch_of(setting.rule, test, val, len(setting.plan.manifest.classes))


def collect(setting: Setting, fitted: list[EveryEpoch]) -> pd.DataFrame:
    """Per seed, fold and test utterance: target, reported epoch, and the probabilities of it and of the last epoch."""
    manifest, frames = setting.plan.manifest, []
    for (seed, fold), outcome in zip(jobs_of(setting), fitted, strict=True):
        test = [manifest.utterances[i] for i in fold.test]
        epoch = reported(setting, fold, outcome)
        columns: dict[str, Any] = {
            "utterance": [u.id for u in test],
            "fold": f"{seed}/{fold.name}",
            "seed": seed,
            "speaker": [u.speaker for u in test],
            "style": [u.style or "" for u in test],
            "target": [manifest.targets[i] for i in fold.test],
            "epoch": epoch + 1,
        }
        for prefix, which in (("p", epoch), ("last", -1)):
            values = outcome.probabilities[which, : len(test)]
            columns |= {f"{prefix}_{name}": values[:, k] for k, name in enumerate(manifest.classes)}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def config_of(setting: Setting) -> str:
    """What was asked for, as TOML: the options of `sertbench replay` that give this bundle again."""
    config = setting.plan.config
    said = {
        "claim": setting.claim.name, "splits": [setting.rule.name], "models": [config.model],
        "variants": [setting.variant] if setting.variant else [], "subsets": [setting.subset], "seeds": config.seeds,
        "epochs": config.epochs, "dataset": config.dataset, "labels": config.labels, "device": config.device,
        "precision": config.precision,
    }  # fmt: skip
    return tomli_w.dumps({k: v for k, v in said.items() if v is not None})


def record_of(setting: Setting, fitted: list[EveryEpoch], frame: pd.DataFrame, seconds: float) -> dict[str, Any]:
    """The content of run.json: the claim's rules, what differs, what came out, and on which machine."""
    plan, claim, rule = setting.plan, setting.claim, setting.rule
    published: Mapping[str, Any] = asdict(setting.published) if setting.published else {}
    return {
        "kind": "replay",
        "row_id": plan.row_id,
        "date_utc": now(),
        "claim": {
            "name": claim.name,
            "sha256": claim.sha256,
            "title": claim.title,
            "paper": claim.paper,
            "split": rule.name,
            "split_rule": split_rule(setting),
            "epoch_rule": rule.epoch + ("" if rule.epoch == "last" else f" by {' and '.join(rule.by)}"),
            "score": rule.score,
            "variant": setting.variant,
            "published": {k: v for k, v in published.items() if v and k in (*SCORES, "source")},
            "differs": [*claim.differs, *rule.differs, *setting.model.differs],
        },
        "dishonest": replay_plan.dishonest(setting),
        "model": {
            "name": plan.model.name,
            "called": setting.model.called,
            "origin": plan.model.origin,
            "source_sha256": plan.model.source_sha256,
            "paper": plan.model.cls.paper,
            "recipe": asdict(plan.recipe),
        },
        "corpus": {
            "name": plan.corpus_name,
            "label_set": plan.manifest.label_set,
            "subset": setting.subset,
            "classes": list(plan.manifest.classes),
            "n_before": setting.n_before,
            "n_utterances": len(plan.manifest),
            "dropped": list(setting.dropped),
            "counts_asserted": setting.counted,
            "manifest_sha256": plan.manifest.sha256,
            "licence": plan.corpus.licence,
        },
        "protocol": {
            "name": plan.split.protocol,
            "sha256": plan.split.sha256,
            "flags": asdict(gate.flags(plan.manifest, plan.split)),
        },
        "compute": {**asdict(plan.compute), "workers": plan.workers},
        "fits": [
            {"seed": seed, "fold": fold.name, "reported_epoch": reported(setting, fold, f) + 1, **asdict(f.record)}
            for (seed, fold), f in zip(jobs_of(setting), fitted, strict=True)
        ],
        "frozen": [],
        "test_reads": [],
        "timing": {
            "wall_seconds": round(seconds, 1),
            "train_seconds_per_fit": round(fmean(f.record.seconds for f in fitted), 2),
        },
        "environment": bundle.environment(),
        "figures": replication.figures(frame, plan.manifest.classes, rule.score),
    }


def split_rule(setting: Setting) -> str:
    """The split's rule in words."""
    rule = setting.rule
    if rule.rule == "random":
        rest = 1 - rule.train - rule.validation
        shares = f"{rule.train:.0%} train, {rule.validation:.0%} validate, {rest:.0%} test"
        return f"random by utterance, drawn anew per seed: {shares}"
    if rule.rule == "kfold":
        return f"{rule.folds} random folds by utterance, drawn anew per seed"
    if rule.rule == "protocol":
        return f"the corpus's protocol {rule.protocol}"
    return f"the table {rule.table}" + (f", {rule.validation:.0%} of training validates" if rule.validation else "")
