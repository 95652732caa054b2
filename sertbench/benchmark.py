"""The flow of a run, from the plan to the leaderboard, readable from top to bottom.

plan (corpus, gate, folds) -> features -> per outer fold: tune on its validation part -> fit each seed -> freeze
  -> predict the sealed test part once per seed -> bundle -> figures -> leaderboard row
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from sertbench import (
    activations,
    board_rows,
    bundle,
    cost,
    exclusions,
    executors,
    files,
    gate,
    leaderboard,
    optimism,
    plan_text,
    status,
    utterance_features,
)
from sertbench import config as configs
from sertbench import plan as plans
from sertbench.bundles import Bundles
from sertbench.config import RunConfig
from sertbench.cost import Cost
from sertbench.crossval import FoldOutcome, collect, cross_validate
from sertbench.errors import BundleError, NewerBundleError
from sertbench.executors import Runner
from sertbench.fits import clean
from sertbench.plan import Plan
from sertbench.progress import Display
from sertbench.resources import cache_limit, trim_cache
from sertbench.results import Predictions, figures
from sertbench.sealed import now
from sertbench.stopwatch import lap

LOCK_SECONDS = 5.0  # `sertbench status` holds a run's lock for an instant


@dataclass(frozen=True)
class Outcome:
    """The end of a run: its row, and the leaderboard that it stands in."""

    row: board_rows.Row
    table: Path
    rows: list[board_rows.Row]


@dataclass(frozen=True)
class Job:
    """A run that is ready to start."""

    config: RunConfig  # as it was typed
    plan: Plan
    price: Cost
    finished: bool  # it was done already: only its row is to be published


def run(config: RunConfig, display: Display, *, dry: bool = False) -> Outcome | None:
    """Run a benchmark; a dry run shows the plan and gives None."""
    job = prepare(config, display, dry=dry)
    if dry:
        return None
    if job.finished and not config.optimism:
        with executors.make(1) as idle:
            return complete(job, idle, display)
    with (
        status.tracked(config, job.plan.folder),
        executors.open_runner(config, job.plan.workers, job.plan.compute.device, job.plan.stack) as runner,
    ):
        return complete(job, runner, display)


def prepare(config: RunConfig, display: Display, *, dry: bool) -> Job:
    """Plan a run and show the plan. Nothing is written by a dry run; otherwise whatever will be written, can be."""
    return prepared(config, plans.make(config, display), display, dry=dry)


def prepared(config: RunConfig, plan: Plan, display: Display, *, dry: bool) -> Job:
    """Show a plan, and make sure of its folders."""
    cache_limit()  # it counts when all is done: what is wrong with it is told now
    if not dry and finished(plan, display):
        return Job(config, plan, Cost(0, 0, 0, 0.0), finished=True)
    price = cost.cost(plan)
    if not dry:
        files.ensure_writable(plan.folder)
        files.ensure_writable(Path(plan.config.leaderboards))
        display.log_to(plan.folder)
    display.pairs("plan", plan_text.describe(plan, price))
    for warning in plan_text.shortages(plan, price):
        display.say(f"warning: {warning}")
    lap("plan")
    return Job(config, plan, price, finished=False)


def finished(plan: Plan, display: Display) -> bool:
    """Whether nothing is left to do. A bundle that is damaged or incomplete is written anew, from finished fits."""
    if not bundle.is_whole(plan.folder):
        return False
    try:
        run = bundle.load_run(plan.folder)
        bundle.load_predictions(plan.folder, run)
    except NewerBundleError:
        raise
    except (BundleError, KeyError) as error:
        display.say(f"{error} It is written anew; finished fits are kept")
        return False
    return not run.get("failures")


def complete(job: Job, runner: Runner, display: Display) -> Outcome:
    """Do what a job is ready for. BusyError if another process is at the same run."""
    plan = job.plan
    with held(plan):
        run = done(job, runner, display)
        outcome = publish(plan, with_optimism(plan, run, runner, display))
        display.ended()  # before the lock is free: then a run that nobody holds and that has not ended was stopped
    status.finish(job.config, plan.folder, outcome.row["unranked_reason"] if run.get("failures") else "")
    trim_cache(configs.cache_folder(), cache_limit())
    lap("statistics")
    return outcome


def held(plan: Plan) -> AbstractContextManager[None]:
    """Keep other processes from the same run."""
    busy = f"{plan.folder} is being written by another sertbench. `sertbench status` shows it: wait for it, or stop it"
    return files.locked(plan.folder / ".lock", LOCK_SECONDS, busy)


def done(job: Job, runner: Runner, display: Display) -> dict[str, Any]:
    """The content of run.json: of an earlier run, or of this one. For one who holds the run."""
    plan = job.plan
    if job.finished:
        display.say(f"everything is done already: {plan.folder} (delete it to run again)")
        return bundle.load_run(plan.folder)
    files.remove_drafts(plan.folder)
    clean(Path(plan.config.runs) / "fits")
    return execute(job, runner, display)


def execute(job: Job, runner: Runner, display: Display) -> dict[str, Any]:
    """Run all folds and write the bundle; gives the content of run.json."""
    started, plan = time.monotonic(), job.plan
    display.expect({f"fold {fold.name}": len(fold.train) for fold in plan.split.folds})
    outcomes = cross_validate(plan, job.price.n_fits, runner, display)
    lap("fits")
    predictions = collect(plan, outcomes)
    record = record_of(plan, job.price, outcomes, predictions, time.monotonic() - started)
    tested = [[plan.manifest.utterances[i].id for i in fold.test] for fold in plan.split.folds]
    whole = not record.get("failures")
    seen = activations.collect(Path(plan.config.runs) / "fits", record["frozen"], tested) if whole else None
    config, audio = configs.dump(plan.config), bundle.audio_table(plan.manifest)
    return bundle.save(plan.folder, config, plan.split, predictions, record, plan.excluded, seen, audio)


def with_optimism(plan: Plan, run: dict[str, Any], runner: Runner, display: Display) -> dict[str, Any]:
    """Add the optimism meter to a finished run, if it was asked for and is not there yet."""
    if not plan.config.optimism or "optimism" in run or run.get("failures"):
        return run
    measured = optimism.measure(plan, bundle.load_run(plan.folder), runner, display)
    return bundle.save_run(plan.folder, {**run, "optimism": measured})


def record_of(
    plan: Plan, price: Cost, outcomes: list[FoldOutcome], predictions: Predictions, seconds: float
) -> dict[str, Any]:
    """The content of run.json: what was run, what was chosen, what came out, and on which machine."""
    manifest, model, corpus = plan.manifest, plan.model, plan.corpus
    seen = plan.exposure
    records = [record for outcome in outcomes for record in outcome.records.values()]
    heard = [i for f, o in zip(plan.split.folds, outcomes, strict=True) for _ in o.probabilities for i in f.test]
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
            "n_parameters": max(r.n_parameters for r in records) or price.n_parameters,  # the largest fold's, if tuned
            "recipe": asdict(plan.recipe),
        },
        "features": {
            "versions": utterance_features.versions(plan.recipe.features),
            "licence": utterance_features.licence(plan.recipe.features),
            "label": getattr(plan.recipe.features, "label", ""),
            "exposure": seen.cell,
            "exposure_details": seen.details,
            "exposure_unranked": seen.unranked,
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
            "excluded": list(plan.excluded),
            "excluded_sha256": exclusions.sha256(plan.excluded),
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
            {"fold": f.name, "seed": seed, **record.lasting()}
            for f, o in zip(plan.split.folds, outcomes, strict=True)
            for seed, record in o.records.items()
        ],
        "failures": [
            {"fold": f.name, "seed": seed, "reason": reason}
            for f, o in zip(plan.split.folds, outcomes, strict=True)
            for seed, reason in o.failures.items()
        ],
        "val_uar": round(100 * fmean(r.val_uar for r in records), 2),
        "timing": {
            "wall_seconds": round(seconds, 1),
            "train_seconds_per_fit": round(fmean(r.seconds for r in records), 2),
            "predict_rtf": round(sum(o.predict_seconds for o in outcomes) / sum(manifest.seconds[i] for i in heard), 6),
        },
        "environment": bundle.environment(),
        "figures": figures(predictions),
        **plan.sections,
    }  # fmt: skip


def publish(plan: Plan, run: dict[str, Any]) -> Outcome:
    """Put the bundle's row into its leaderboard."""
    boards, runs = Path(plan.config.leaderboards), Path(plan.config.runs)
    folder = Bundles.of(runs, boards).settled(plan.folder)
    row = board_rows.row_of(run if folder == plan.folder else bundle.load_run(folder), folder)
    table, rows = leaderboard.add(boards, row, runs)
    mine = next(r for r in rows if r["row_id"] == row["row_id"])
    return Outcome(mine, table, rows)
