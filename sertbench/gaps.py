"""Gaps between groups of speakers: how large they are, and how large chance alone would make them.

A model that is equally good for all still scores unequally for two groups, and its worst of 20 speakers looks bad. So
each gap stands beside two simulations:

- equal: a model of the same recall per class whose errors do not depend on the group. Each utterance gets the outcome
  (right or wrong, for all seeds together) of one drawn from all utterances of its class, with replacement.
- dealt: the speakers as they are, dealt out to the groups anew. A gap between women and men that is more than "equal"
  but not more than "dealt" tells that speakers differ, not that the groups do.

The first follows the simulated chance thresholds of Derington et al. (Testing correctness, fairness, and robustness of
speech emotion recognition models, 2023), the second is a permutation test of speakers (Good, Permutation tests, 2000).
Figures are percent. A group's UAR is the mean recall over the classes that it has, as everywhere; that a group lacks a
class is in both simulations too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sertbench.results import Predictions
from sertbench.statistics import jackknife

DRAWS = 5000
BLOCK = 250  # draws at a time
LEVEL = 0.05

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """The score of one group."""

    name: str
    speakers: int
    utterances: int
    uar: float
    interval: tuple[float, float]  # 95 %, over speakers and seeds; 0 to 100 with one speaker


@dataclass(frozen=True)
class Figure:
    """Something observed beside what chance gives."""

    name: str  #                      "gap", "worst" or "best"
    observed: float
    band: tuple[float, float]  #      95 % of what the equal model gives
    p: float  #                       two-sided: how often the equal model's is as extreme or more
    p_dealt: float | None  #          the same of speakers dealt out anew; None where the groups are the speakers


@dataclass(frozen=True)
class Gap:
    """All about one grouping. `figures` begin with the gap: the best group's UAR minus the worst one's."""

    grouping: str  # "gender", "age" or "speaker"
    groups: tuple[Group, ...]  # best first
    figures: tuple[Figure, ...]
    left_out: int  # utterances whose group is not known


def measure(predictions: Predictions, grouping: str, group_of: Mapping[str, str], draws: int = DRAWS) -> Gap | None:
    """The gap between groups; `group_of` gives the group of an utterance by its id, where it is known.

    None where fewer than two groups are known. The draws are the same at each call.
    """
    names = np.array([group_of.get(str(u), "") for u in predictions.column("utterance")])
    known = names != ""
    found, group = np.unique(names[known], return_inverse=True)
    if len(found) < 2:
        return None
    y, labels = predictions.column("target")[known], predictions.labels[:, known]
    speakers = predictions.column("speaker")[known]
    n_classes = len(predictions.classes)
    right: FloatArray = (labels == y).mean(axis=0)  # share of the seeds
    observed = group_uars(right[None], y, group, n_classes)[0]
    equal = equal_model(right, y, group, n_classes, draws)
    dealt = None if grouping == "speaker" else dealt_speakers(right, y, group, speakers, n_classes, draws)
    groups = []
    for g in np.argsort(-observed, kind="stable"):
        mine = group == g
        ends = jackknife(y[mine], labels[:, mine], speakers[mine], n_classes).interval()
        n_speakers, n, uar = len(np.unique(speakers[mine])), int(mine.sum()), 100 * float(observed[g])
        groups.append(Group(str(found[g]), n_speakers, n, uar, (100 * ends.low, 100 * ends.high)))
    figures = [figure("gap", np.ptp(observed), np.ptp(equal, axis=1), None if dealt is None else np.ptp(dealt, axis=1))]
    if grouping == "speaker":
        figures.append(figure("worst", observed.min(), equal.min(axis=1), None))
        figures.append(figure("best", observed.max(), equal.max(axis=1), None))
    return Gap(grouping, tuple(groups), tuple(figures), int((~known).sum()))


def figure(name: str, observed: float, equal: FloatArray, dealt: FloatArray | None) -> Figure:
    """An observation (fraction) beside its simulations."""
    low, high = 100 * np.quantile(equal, (LEVEL / 2, 1 - LEVEL / 2))
    p_dealt = None if dealt is None else p_value(observed, dealt)
    return Figure(name, 100 * float(observed), (float(low), float(high)), p_value(observed, equal), p_dealt)


def p_value(observed: float, simulated: FloatArray) -> float:
    """Two-sided: twice the smaller share of simulations beyond the observation, itself counted (so never 0)."""
    beyond = min((simulated >= observed - 1e-9).sum(), (simulated <= observed + 1e-9).sum())
    return float(min(1.0, 2 * (1 + beyond) / (1 + len(simulated))))


def group_uars(
    right: FloatArray, y: npt.NDArray[np.integer], group: npt.NDArray[np.integer], n_classes: int
) -> FloatArray:
    """UAR of each group, (draws, groups), of outcomes (draws, n): the mean over the classes that a group has."""
    n_groups = int(group.max()) + 1
    member = np.zeros((len(y), n_groups * n_classes))
    member[np.arange(len(y)), group * n_classes + y] = 1
    counts = member.sum(axis=0)
    recalls = (right @ member / np.maximum(counts, 1)).reshape(len(right), n_groups, n_classes)
    uars: FloatArray = recalls.sum(axis=2) / (counts.reshape(n_groups, n_classes) > 0).sum(axis=1)
    return uars


def equal_model(
    right: FloatArray, y: npt.NDArray[np.integer], group: npt.NDArray[np.integer], n_classes: int, draws: int
) -> FloatArray:
    """UAR of each group, (draws, groups), by models that are as good per class and equally good for all groups."""
    rng, parts = np.random.default_rng(0), []
    members = [np.flatnonzero(y == c) for c in np.unique(y)]
    for start in range(0, draws, BLOCK):
        size = min(BLOCK, draws - start)
        drawn = np.empty((size, len(y)))
        for rows in members:
            drawn[:, rows] = right[rows][rng.integers(len(rows), size=(size, len(rows)))]
        parts.append(group_uars(drawn, y, group, n_classes))
    return np.concatenate(parts)


def dealt_speakers(
    right: FloatArray,
    y: npt.NDArray[np.integer],
    group: npt.NDArray[np.integer],
    speakers: npt.NDArray[np.generic],
    n_classes: int,
    draws: int,
) -> FloatArray:
    """UAR of each group, (draws, groups), when whole speakers are dealt out to groups of the same numbers of speakers.

    A speaker whose utterances are in several groups (who aged between two sessions) is dealt out as several.
    """
    rng, n_groups = np.random.default_rng(1), int(group.max()) + 1
    _, talker = np.unique(np.unique(speakers, return_inverse=True)[1] * n_groups + group, return_inverse=True)
    n_talkers = int(talker.max()) + 1
    cell = talker * n_classes + y
    counts = np.bincount(cell, minlength=n_talkers * n_classes).reshape(n_talkers, n_classes)
    hits = np.bincount(cell, right, minlength=n_talkers * n_classes).reshape(n_talkers, n_classes)
    own = np.zeros(n_talkers, dtype=int)
    own[talker] = group
    uars = np.empty((draws, n_groups))
    for k in range(draws):
        member = np.eye(n_groups)[rng.permutation(own)]  # (talkers, groups)
        n, h = member.T @ counts, member.T @ hits
        present = n > 0
        uars[k] = (h / np.maximum(n, 1)).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    return uars


def in_words(gap: Gap) -> str:
    """What can be said of a gap, in a sentence or two."""
    first, best, worst = gap.figures[0], gap.groups[0], gap.groups[-1]
    low, high = first.band
    what = f"{gap.grouping}: {best.name} {best.uar:.1f} %, {worst.name} {worst.uar:.1f} %, gap {first.observed:.1f}"
    chance = f"a model that is equally good for all shows {low:.1f} to {high:.1f} points (p = {first.p:.2g})"
    if first.p >= LEVEL:
        return f"{what}: within what chance gives; {chance}."
    if first.observed < low:
        return f"{what}: less than chance gives; {chance}."
    said = f"{what}: more than chance gives; {chance}."
    if first.p_dealt is None:
        return said
    dealt = f"groups of as many speakers, dealt out at random (p = {first.p_dealt:.2g})"
    if first.p_dealt >= LEVEL:
        return f"{said} But no more than between {dealt}: not shown to be about {gap.grouping}."
    return f"{said} It is more than between {dealt}, too."
