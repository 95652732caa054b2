"""What the page of one run shows beyond its row: worked out from the bundle, without the audio."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sertbench import activations, bundle, stress_record
from sertbench.config import flags
from sertbench.protocols import ROLES
from sertbench.results import Predictions, percent
from sertbench.scores import CALIBRATION_BINS, confusion, score
from sertbench.stress_record import Row


@dataclass(frozen=True)
class Group:
    """The score of a fold or a speaker."""

    name: str
    uar: float | None  #                  percent, mean over seeds; None where nothing can be scored
    seeds: tuple[float, ...]  #           the same per seed
    n: int  #                             utterances


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    name: str
    fold: int  #                          position, for the colour
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Embedding:
    """t-SNE of what the last layer was given, one fold's test part."""

    fold: str
    points: np.ndarray  #                 (n, 2)
    targets: tuple[int, ...]  #           class of each point
    utterances: tuple[str, ...]


@dataclass(frozen=True)
class Details:
    """All that a run's page draws."""

    run: Mapping[str, Any]
    classes: tuple[str, ...]
    seeds: tuple[int, ...]  #             of the predictions; a seed with a fit that failed is not among them
    confusion: np.ndarray  #              (C, C) counts, mean over seeds; row: true, column: predicted
    folds: tuple[Group, ...]
    speakers: tuple[Group, ...]  #        worst first
    reliability: tuple[tuple[float, float, float], ...]  # confidence, accuracy, share of the utterances per bin
    losses: tuple[Curve, ...]
    val_uars: tuple[Curve, ...]
    tuning: tuple[Curve, ...]
    command: str
    from_bundle: str
    embedding: Embedding | None
    sizes: tuple[tuple[str | int, ...], ...]  # fold, and its utterances to train, to validate and to test
    stress: tuple[Row, ...] = ()  #       what `sertbench stress` measured, the undisturbed test first


def details(folder: Path) -> Details:
    """Read a bundle. Raises BundleError where it is incomplete or was altered."""
    run = bundle.load_run(folder)
    predictions = bundle.load_predictions(folder, run)
    y, names = predictions.column("target"), predictions.column("fold")
    speakers = predictions.column("speaker")
    split = pd.read_parquet(folder / "split.parquet")
    counts = split.groupby(["fold", "role"], sort=False).size()
    folds = [str(name) for name in pd.unique(split["fold"])]
    return Details(
        run=run,
        classes=predictions.classes,
        seeds=predictions.seeds,
        confusion=confusion(y, predictions.labels, len(predictions.classes)).mean(axis=0),
        folds=tuple(group(predictions, name, names == name) for name in folds if (names == name).any()),
        speakers=tuple(
            sorted(
                (group(predictions, str(s), speakers == s) for s in np.unique(speakers)),
                key=lambda g: (g.uar if g.uar is not None else 100.0, g.name),
            )
        ),
        reliability=reliability(predictions),
        losses=history(run, "loss", 1.0),
        val_uars=history(run, "val_uar", 100.0),
        tuning=tuple(
            Curve(f"fold {t['fold']}", k, tuple((n + 1.0, 100 * v) for n, v in enumerate(t["curve"])))
            for k, t in enumerate(run["tuning"])
            if t.get("curve")
        ),
        command=command(run),
        from_bundle=from_bundle(run),
        embedding=embedding(folder, predictions),
        sizes=tuple((f, *(int(counts.get((f, role), 0)) for role in ROLES)) for f in folds),
        stress=stress_record.read(folder),
    )


def group(predictions: Predictions, name: str, chosen: np.ndarray) -> Group:
    """The score of some utterances."""
    y, n = predictions.column("target")[chosen], len(predictions.classes)
    uars = [score(y, labels[chosen], n).uar for labels in predictions.labels]
    return Group(name, percent(float(np.mean(uars))), tuple(100 * uar for uar in uars), int(chosen.sum()))


def reliability(predictions: Predictions) -> tuple[tuple[float, float, float], ...]:
    """Confidence, accuracy and share per bin of the largest probability, all seeds together; bins as for the ECE."""
    p = predictions.probabilities.reshape(-1, len(predictions.classes))
    y = np.tile(predictions.column("target"), len(predictions.seeds))
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == y
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    return tuple(
        (float(confidence[bins == b].mean()), float(correct[bins == b].mean()), float((bins == b).mean()))
        for b in np.unique(bins)
    )


def embedding(folder: Path, predictions: Predictions) -> Embedding | None:
    """The picture of the penultimate layer; None for a bundle without a recording."""
    found = activations.embed(folder)
    if found is None:
        return None
    fold, utterances, points = found
    classes = dict(zip(predictions.column("utterance"), predictions.column("target"), strict=True))
    return Embedding(fold, points, tuple(int(classes[u]) for u in utterances), tuple(map(str, utterances)))


def history(run: Mapping[str, Any], name: str, unit: float) -> tuple[Curve, ...]:
    """The final fits' course over epochs: one curve per fold and seed; none for models that have no epochs."""
    position = {t["fold"]: k for k, t in enumerate(run["tuning"])}
    return tuple(
        Curve(
            f"fold {f['fold']}, seed {f['seed']}",
            position.get(f["fold"], 0),
            tuple((float(e["epoch"]), unit * float(e[name])) for e in f["history"]),
        )
        for f in run["fits"]
        if f["history"]
    )


def command(run: Mapping[str, Any]) -> str:
    """What to type for this run again: every option that differs from its default, but for where things lie."""
    said = flags(run["config"], ("runs", "leaderboards", "workers", "data", "optimism"))
    return " ".join(["sertbench run", said, *unsettled(run)])


def from_bundle(run: Mapping[str, Any]) -> str:
    """The same with the configuration in the bundle."""
    return " ".join(["sertbench run --config config.toml", *unsettled(run)])


def unsettled(run: Mapping[str, Any]) -> list[str]:
    """What a configuration leaves to the machine: where the corpus lies, and what `auto` was."""
    config = run["config"]
    found = [name for name in ("device", "precision") if config[name] == "auto"]
    made_here = run["corpus"].get("synthetic") and not config.get("data")
    said = [f"--{name} {shlex.quote(str(run['compute'][name]))}" for name in found]
    return said if made_here else [*said, "--data FOLDER"]
