"""The flow of a run, from the plan to the leaderboard, readable from top to bottom.

plan (corpus, gate, folds) -> features -> per outer fold: tune on its validation part -> fit each seed -> freeze
  -> predict the sealed test part once per seed -> bundle -> figures -> leaderboard row
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from sertbench import bundle, cost, gate, leaderboard, optimism, utterance_features
from sertbench import config as configs
from sertbench import plan as plans
from sertbench.config import RunConfig
from sertbench.cost import Cost
from sertbench.crossval import FoldOutcome, collect, cross_validate
from sertbench.plan import Plan
from sertbench.progress import Display
from sertbench.results import Predictions, figures
from sertbench.sealed import now


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
        return publish(plan, with_optimism(plan, bundle.load_run(plan.folder), display))
    price = cost.cost(plan)
    if not dry:
        bundle.ensure_writable(plan.folder)
        bundle.ensure_writable(Path(plan.config.leaderboards))
        display.log_to(plan.folder / "log.txt")
    display.pairs("plan", cost.describe(plan, price))
    if dry:
        return None
    outcomes = cross_validate(plan, price.n_fits, display)
    predictions = collect(plan, outcomes)
    record = record_of(plan, price, outcomes, predictions, time.monotonic() - started)
    whole = bundle.save(plan.folder, configs.dump(plan.config), plan.split, predictions, record)
    return publish(plan, with_optimism(plan, whole, display))


def with_optimism(plan: Plan, run: dict[str, Any], display: Display) -> dict[str, Any]:
    """Add the optimism meter to a finished run, if it was asked for and is not there yet."""
    if not plan.config.optimism or "optimism" in run:
        return run
    return bundle.save_run(
        plan.folder, {**run, "optimism": optimism.measure(plan, bundle.load_run(plan.folder), display)}
    )


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
        "features": {
            "versions": utterance_features.versions(plan.recipe.features),
            "licence": utterance_features.licence(plan.recipe.features),
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
