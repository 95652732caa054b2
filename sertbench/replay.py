"""The flow of a replay, readable from top to bottom.

claim -> settings (utterances dropped and counted, splits drawn per seed) -> features -> one fit per seed and fold, with
the predictions of every epoch -> the epoch that the claim's rule reports -> bundle with figures -> a row of the
replication board, beside what was published and the honest score
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
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
from sertbench.protocols import Fold
from sertbench.replay_choice import ReplayConfig
from sertbench.replay_cost import describe
from sertbench.replay_fits import EveryEpoch, epoch_of, predicted_by, run_every_epoch
from sertbench.replay_plan import ReplayPlan, Setting
from sertbench.replay_stamp import dishonest
from sertbench.results import Predictions
from sertbench.sealed import now
from sertbench.tasks import PredictionTask, blinded


@dataclass(frozen=True)
class Job:
    """One fit of a replay."""

    setting: Setting
    seed: int
    fold: Fold
    store: FeatureStore | None

    @property
    def tag(self) -> str:
        """Its name on the screen."""
        s = self.setting
        return f"{s.label}, {s.rule.name}, {s.subset}, seed {self.seed}, fold {self.fold.name}"


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
    describe(plan, display)
    if dry:
        return None
    bundle.ensure_writable(runs)
    bundle.ensure_writable(boards)
    display.log_to(runs / replication.BUNDLES / f"{claim.name}.log")
    rows = []
    with closing(finished(plan, display)) as bundles:
        for setting, run in zip(plan.settings, bundles, strict=True):
            name, subset = setting.plan.model.name, setting.subset
            default = plan.default_protocol
            honest = replication.find_honest(name, plan.corpus_name, plan.label_set, subset, default, boards, runs)
            rows.append(replication.row_of(run, setting.plan.folder, honest))
            replication.add(boards, rows[-1])
    return Outcome(plan, tuple(rows), replication.path_of(boards, claim.name))


def finished(plan: ReplayPlan, display: Display) -> Generator[dict[str, Any], None, None]:
    """Yield the content of each setting's bundle, as soon as it is there: an earlier replay's, or a new one.

    The fits of all settings run side by side, as far as there are workers; finished ones are taken as they are.
    """
    waiting = [s for s in plan.settings if not bundle.is_whole(s.plan.folder)]
    if done := len(plan.settings) - len(waiting):
        display.say(
            f"{done} of {len(plan.settings)} settings are done already (delete their bundles to run them again)"
        )
    stores = {s.plan.row_id: features(s.plan, display) for s in waiting}
    jobs = [Job(s, seed, fold, stores[s.plan.row_id]) for s in waiting for seed, fold in folds_of(s)]
    epochs = {job.tag: job.setting.plan.recipe.epochs for job in jobs}

    def on_epoch(tag: str, event: Any) -> None:
        display.epoch(tag, event, epochs[tag])

    def fit(job: Job) -> EveryEpoch:
        outcome = executor.run(run_every_epoch, task_of(job), job.tag)
        display.fitted(job.tag, outcome.record)
        return outcome

    with (
        display.fits(len(jobs)),
        executors.make(plan.workers, on_epoch) as executor,
        ThreadPoolExecutor(plan.workers) as threads,
    ):
        futures = [threads.submit(fit, job) for job in jobs]
        try:
            for setting in plan.settings:
                if setting.plan.row_id not in stores:
                    yield bundle.load_run(setting.plan.folder)
                    continue
                fitted = [f.result() for f, job in zip(futures, jobs, strict=True) if job.setting is setting]
                yield save(setting, fitted)
        except BaseException:
            for future in futures:
                future.cancel()
            executor.stop()
            raise


def save(setting: Setting, fitted: list[EveryEpoch]) -> dict[str, Any]:
    """Write a setting's bundle; gives the content of its run.json."""
    frame = collect(setting, fitted)
    predictions = Predictions(frame, setting.plan.manifest.classes)
    record = record_of(setting, fitted, frame)
    return bundle.save(setting.plan.folder, config_of(setting), setting.plan.split, predictions, record)


def folds_of(setting: Setting) -> list[tuple[int, Fold]]:
    """The fits of a setting: seed and fold."""
    return [(seed, fold) for seed, split in setting.splits.items() for fold in split.folds]


def task_of(job: Job) -> PredictionTask:
    """What a worker needs for one fit and its predictions."""
    plan = replace(job.setting.plan, split=job.setting.splits[job.seed])
    positions = predicted_by(job.fold)
    blind = tuple(blinded(plan.manifest.utterances[i]) for i in positions)
    fit = fit_task(plan, job.fold, job.store, {}, job.seed, ())
    return PredictionTask(fit, positions, blind, seconds_of(plan, positions))


def reported(setting: Setting, fold: Fold, fitted: EveryEpoch) -> int:
    """The epoch that the claim's rule reports, from 0."""
    targets, n = np.asarray(setting.plan.manifest.targets), len(fold.test)
    test = fitted.probabilities[:, :n], targets[list(fold.test)]
    val = (fitted.probabilities[:, -len(fold.val) :], targets[list(fold.val)])
    return epoch_of(setting.rule, test, val, len(setting.plan.manifest.classes))


def collect(setting: Setting, fitted: list[EveryEpoch]) -> pd.DataFrame:
    """Per seed, fold and test utterance: target, reported epoch, and the probabilities of it and of the last epoch."""
    manifest, frames = setting.plan.manifest, []
    for (seed, fold), outcome in zip(folds_of(setting), fitted, strict=True):
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


def record_of(setting: Setting, fitted: list[EveryEpoch], frame: pd.DataFrame) -> dict[str, Any]:
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
        "dishonest": dishonest(setting),
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
            for (seed, fold), f in zip(folds_of(setting), fitted, strict=True)
        ],
        "frozen": [],
        "test_reads": [],
        "timing": {"train_seconds_per_fit": round(fmean(f.record.seconds for f in fitted), 2)},
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
