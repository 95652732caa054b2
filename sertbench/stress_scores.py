"""Figures of a disturbed test: the score with its interval, the change, the changed answers, the calibration.

Several draws of a random disturbance are averaged like more utterances of the same speakers; they are no seeds of the
model. Figures are percent but for Brier score and NLL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sertbench.results import Predictions, percent
from sertbench.run_details import reliability
from sertbench.scores import IntArray, adaptive_calibration, brier, calibration, score
from sertbench.statistics import Comparison, Jackknife, jackknife
from sertbench.stress_kinds import KINDS, Cell
from sertbench.stress_record import Row


def row(cell: Cell, draws: Sequence[Predictions], clean: Predictions) -> Row:
    """The figures of all draws of one disturbance."""
    y, speakers, n = clean.column("target"), clean.column("speaker"), len(clean.classes)
    answers = np.stack([d.labels for d in draws])  # (draws, seeds, utterances)
    now, before = pooled(y, answers, speakers, n), pooled(y, clean.labels[None], speakers, n)
    interval, change = now.interval(), difference(now, before, uars(y, answers, n) - uars(y, clean.labels[None], n))
    each = [p for d in draws for p in d.probabilities]
    gaps = np.array([calibration(p, y) for p in each])
    return Row(
        kind=cell.kind,
        source=cell.source,
        strength=cell.strength,
        unit=KINDS[cell.kind].unit if cell.kind in KINDS else "",
        draws=len(draws),
        uar=points(now.uar),
        uar_ci95_lo=points(interval.low),
        uar_ci95_hi=points(interval.high),
        change=points(change.delta),
        change_ci95_lo=points(change.interval.low),
        change_ci95_hi=points(change.interval.high),
        changed=points(float((answers != clean.labels).mean())),
        wa=points(float((answers == y).mean())),
        ece=points(float(gaps[:, 0].mean())),
        ece_adaptive=points(float(np.mean([adaptive_calibration(p, y) for p in each]))),
        brier=round(float(np.mean([brier(p, y) for p in each])), 4),
        nll=round(float(gaps[:, 1].mean()), 4),
        n_utterances=len(y),
        n_seeds=len(clean.seeds),
        reliability=reliability(together(draws)),
    )


def points(fraction: float) -> float:
    """Percent with two decimals."""
    return percent(fraction) or 0.0


def together(draws: Sequence[Predictions]) -> Predictions:
    """All draws as if they were seeds, for the reliability table, which takes everything together."""
    import pandas as pd

    if len(draws) == 1:
        return draws[0]
    frames = [d.frame.assign(seed=d.frame["seed"] + k * 1_000_000) for k, d in enumerate(draws)]
    return Predictions(pd.concat(frames, ignore_index=True), draws[0].classes)


def uars(y: IntArray, answers: IntArray, n_classes: int) -> np.ndarray:
    """UAR per seed, mean over draws: (seeds,), from answers (draws, seeds, n)."""
    every = np.array([[score(y, labels, n_classes).uar for labels in draw] for draw in answers])
    per_seed: np.ndarray = every.mean(axis=0)
    return per_seed


def pooled(y: IntArray, answers: IntArray, speakers: np.ndarray, n_classes: int) -> Jackknife:
    """The jackknife of answers (draws, seeds, n): of the mean over draws. With one draw, that of the board."""
    parts = [jackknife(y, draw, speakers, n_classes) for draw in answers]
    return Jackknife(
        uar=float(np.mean([p.uar for p in parts])),
        without=np.mean([p.without for p in parts], axis=0),
        counts=parts[0].counts,
        seed_variance=seed_variance(uars(y, answers, n_classes)),
        n_seeds=parts[0].n_seeds,
    )


def seed_variance(per_seed: np.ndarray) -> float:
    """Variance of the mean over seeds; 0 with one seed, where it cannot be known."""
    return float(per_seed.var(ddof=1)) / len(per_seed) if len(per_seed) > 1 else 0.0


def difference(now: Jackknife, before: Jackknife, per_seed: np.ndarray) -> Comparison:
    """The change from `before` to `now`, both by the same fits: paired over speakers and over seeds.

    `per_seed` are the changes of each seed. Seeds that suffer alike do not widen the interval.
    """
    change = replace(
        now, uar=now.uar - before.uar, without=now.without - before.without, seed_variance=seed_variance(per_seed)
    )
    nothing = replace(change, uar=0.0, without=np.zeros_like(change.without), seed_variance=0.0)
    return change.versus(nothing)
