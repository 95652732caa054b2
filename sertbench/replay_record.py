"""What a replay's bundle holds: the predictions that count, the claim's rules, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from sertbench import bundle, gate, replication
from sertbench.claim import SCORES
from sertbench.protocols import Fold
from sertbench.replay_fits import EveryEpoch, epoch_of, predicted_by
from sertbench.replay_plan import Setting, folds_of
from sertbench.replay_stamp import dishonest
from sertbench.results import Predictions
from sertbench.sealed import now


def save(setting: Setting, fitted: list[EveryEpoch]) -> dict[str, Any]:
    """Write a setting's bundle; gives the content of its run.json."""
    frame = collect(setting, fitted)
    predictions = Predictions(frame, setting.plan.manifest.classes)
    record = record_of(setting, fitted, frame)
    return bundle.save(setting.plan.folder, config_of(setting), setting.plan.split, predictions, record)


def parts_of(fold: Fold, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The test and the validation part of what a fit has predicted: (epochs, n, n_classes) each."""
    place = {int(i): at for at, i in enumerate(predicted_by(fold))}
    return probabilities[:, [place[i] for i in fold.test]], probabilities[:, [place[i] for i in fold.val]]


def reported(setting: Setting, fold: Fold, fitted: EveryEpoch) -> int:
    """The epoch that the claim's rule reports, from 0."""
    targets = np.asarray(setting.plan.manifest.targets)
    test, val = parts_of(fold, fitted.probabilities)
    answers = (test, targets[list(fold.test)]), (val, targets[list(fold.val)])
    return epoch_of(setting.rule, *answers, len(setting.plan.manifest.classes))


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
            values = parts_of(fold, outcome.probabilities)[0][which]
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
