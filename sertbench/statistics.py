"""Intervals, paired comparisons and ties: how far a difference between two scores can be trusted.

The speakers are the sample. Utterances of one speaker rise and fall together, so nothing here resamples utterances.
One corpus has 4 to 20 speakers mostly, and with so few the percentile and BCa bootstraps of speakers can be too narrow
(down to 88 % true coverage where 95 % is claimed, 84 % with one seed; `tests/benchmarks/simulate_boards.py`). Used
instead is the delete-one jackknife over speakers and over seeds with Student's t:

    variance = (G - 1) / G * sum_g (uar_(-g) - mean)^2 + var(uar per seed) / S,    for G speakers and S seeds
    degrees of freedom by Satterthwaite (Biometrics Bulletin 1946), from G - 1 and S - 1

Sources: MacKinnon, Nielsen & Webb, Fast and reliable jackknife and bootstrap methods for cluster-robust inference,
Journal of Applied Econometrics 2023 (the cluster jackknife, CV3, with few and uneven clusters); Owen, The pigeonhole
bootstrap, Annals of Applied Statistics 2007 (for two crossed factors the sum of the two variances counts their
interaction twice: never too small, somewhat wide when seeds disagree much).

What an interval is about: other speakers of the same kind, and other seeds. What it is not about: other training
data (the models of two folds share most of theirs, and the speakers of one fold share a model), other corpora, other
labels. With a single seed the luck of the seed is not in it either, and it is too narrow for a model that has any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from sertbench.errors import ConfigError
from sertbench.scores import IntArray

FloatArray = npt.NDArray[np.float64]

POWER = 0.8  #        with which a detectable difference is found
ROUNDING = 1e-12  #   two UAR closer than this are equal


@dataclass(frozen=True)
class Interval:
    """A confidence interval; its ends are in the unit of what it is about."""

    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Model A against model B on the same utterances. All UAR are fractions; differences are A - B."""

    uar_a: float
    uar_b: float
    delta: float
    interval: Interval  #    of delta
    p: float  #              two-sided, of delta = 0; not adjusted for other comparisons
    detectable: float  #     least true difference that is found with a power of 80 %; inf with one speaker
    n_speakers: int
    n_seeds: tuple[int, int]
    level: float


@dataclass(frozen=True)
class Jackknife:
    """One model's pooled UAR without each speaker: all that its interval and comparisons need. See `jackknife`."""

    uar: float  #                mean over seeds of the UAR of all utterances
    without: FloatArray  #       (G,) the same without each speaker
    counts: IntArray  #          (G, C) utterances of each speaker and class
    seed_variance: float  #      of `uar`; 0 with one seed, where it cannot be known
    n_seeds: int

    def interval(self, level: float = 0.95) -> Interval:
        """Interval of `uar`; 0..1 with one speaker."""
        error, df = _standard_error(self.without, (self,))
        margin = _margin(error, df, level)
        return Interval(max(0.0, self.uar - margin), min(1.0, self.uar + margin))

    def versus(self, other: Jackknife, level: float = 0.95) -> Comparison:
        """Paired comparison with another model of the same utterances.

        Each speaker is left out of both models at once; the seeds of two models have nothing in common, so their
        variances add. Raises ValueError if the utterances differ.
        """
        if not np.array_equal(self.counts, other.counts):
            raise ValueError("two models can only be compared on the same utterances")
        delta = self.uar - other.uar
        error, df = _standard_error(self.without - other.without, (self, other))
        margin = _margin(error, df, level)
        p = float(2 * stdtr(df, -abs(delta) / error)) if error > 0 else 0.0
        return Comparison(
            uar_a=self.uar,
            uar_b=other.uar,
            delta=delta,
            interval=Interval(max(-1.0, delta - margin), min(1.0, delta + margin)),
            p=p if abs(delta) > ROUNDING else 1.0,
            detectable=margin + float(stdtrit(df, POWER)) * error,
            n_speakers=len(self.without),
            n_seeds=(self.n_seeds, other.n_seeds),
            level=level,
        )


def jackknife(y_true: IntArray, y_pred: IntArray, speakers: npt.NDArray[np.generic], n_classes: int) -> Jackknife:
    """Leave each speaker out once.

    `y_true` (n,), `y_pred` (S, n): class indices, one row per seed; `speakers` (n,): identity of each utterance's
    speaker. A speaker may lack classes. Raises ValueError for other shapes and for classes out of range.
    """
    y_true, y_pred, speakers = np.asarray(y_true), np.asarray(y_pred), np.asarray(speakers)
    if y_pred.ndim != 2 or not y_pred.shape[1:] == y_true.shape == speakers.shape or y_pred.size == 0:
        raise ValueError(
            f"expected y_true (n,), y_pred (seeds, n) and speakers (n,), got the shapes {y_true.shape}, {y_pred.shape}"
            f" and {speakers.shape}"
        )
    if y_true.min() < 0 or y_true.max() >= n_classes:
        raise ValueError(f"y_true must hold class indices 0..{n_classes - 1}, got {y_true.min()}..{y_true.max()}")
    names, speaker = np.unique(speakers, return_inverse=True)
    cell, shape = speaker * n_classes + y_true, (len(names), n_classes)
    size = len(names) * n_classes
    counts = np.bincount(cell, minlength=size).reshape(shape)
    hits = np.stack([np.bincount(cell, row == y_true, minlength=size).reshape(shape) for row in y_pred])
    present = counts.any(axis=0)
    n, hits = counts[:, present], hits[:, :, present]

    total, right = n.sum(axis=0), hits.mean(axis=0)
    recalls = right.sum(axis=0) / total
    rest = total - n
    # A class that only one speaker has keeps its recall without that speaker: its mean over classes must stay the same.
    without = np.where(rest > 0, (right.sum(axis=0) - right) / np.maximum(rest, 1), recalls)
    per_seed = (hits.sum(axis=1) / total).mean(axis=-1)
    n_seeds = len(per_seed)
    return Jackknife(
        uar=float(recalls.mean()),
        without=without.mean(axis=-1),
        counts=counts,
        seed_variance=float(per_seed.var(ddof=1)) / n_seeds if n_seeds > 1 else 0.0,
        n_seeds=n_seeds,
    )


def uar_interval(
    y_true: IntArray, y_pred: IntArray, speakers: npt.NDArray[np.generic], n_classes: int, *, level: float = 0.95
) -> Interval:
    """Interval of the pooled UAR, mean over seeds; arguments as of `jackknife`."""
    return jackknife(y_true, y_pred, speakers, n_classes).interval(level)


def compare(
    y_true: IntArray,
    pred_a: IntArray,
    pred_b: IntArray,
    speakers: npt.NDArray[np.generic],
    n_classes: int,
    *,
    level: float = 0.95,
) -> Comparison:
    """Paired comparison of two models, predictions (S_a, n) and (S_b, n); arguments as of `jackknife`.

    Where every pair of a board is wanted, make one `jackknife` per model and compare with `pairwise`.
    """
    a, b = (jackknife(y_true, pred, speakers, n_classes) for pred in (pred_a, pred_b))
    return a.versus(b, level)


def pairwise(models: Sequence[Jackknife]) -> FloatArray:
    """The p values of all pairs, not adjusted: symmetric (m, m), with ones on the diagonal, as `ranks` takes them."""
    p = np.ones((len(models), len(models)))
    for i, j in combinations(range(len(models)), 2):
        p[i, j] = p[j, i] = models[i].versus(models[j]).p
    return p


def _standard_error(without: FloatArray, models: Sequence[Jackknife]) -> tuple[float, float]:
    """Standard error of the full figure and its degrees of freedom, from the figures without each speaker."""
    g = len(without)
    if g < 2:
        return np.inf, 1.0
    variances = [(g - 1) * float(without.var()), *(m.seed_variance for m in models)]
    freedoms = [g - 1, *(max(m.n_seeds - 1, 1) for m in models)]
    total = sum(variances)
    if total == 0:
        return 0.0, float(g - 1)
    # Shares, not variances, are squared: the squares of tiny variances vanish.
    df = 1 / sum((v / total) ** 2 / f for v, f in zip(variances, freedoms, strict=True))
    return float(np.sqrt(total)), df


def _margin(error: float, df: float, level: float) -> float:
    return float(stdtrit(df, (1 + level) / 2)) * error


def equivalence(fold_uar_a: FloatArray, fold_uar_b: FloatArray, rope: float = 0.01) -> tuple[float, float, float]:
    """Probabilities that A is worse than, practically equivalent to, and better than B, summing to 1.

    Bayesian correlated t-test (Corani & Benavoli, A Bayesian approach for comparing cross-validated algorithms, Machine
    Learning 2015; baycomp) on fold scores (k,), averaged over seeds. `rope`: a difference within +-rope is equivalent.
    Seeds are no further runs: refitting on the same split does not add test speakers.

    Raises ConfigError for fewer than two folds.
    """
    from baycomp import two_on_single

    a, b = np.asarray(fold_uar_a, dtype=np.float64), np.asarray(fold_uar_b, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or a.size < 2:
        raise ConfigError(
            f"equivalence needs the scores of the same two or more folds, got the shapes {a.shape} and {b.shape}. "
            "Use a protocol with several folds, or read the interval over speakers"
        )
    worse, equivalent, better = two_on_single(b, a, rope=rope, runs=1)
    return float(worse), float(equivalent), float(better)


def holm(p_values: Sequence[float] | FloatArray) -> FloatArray:
    """Holm's adjusted p values, (m,) in the given order (Scandinavian Journal of Statistics 1979).

    Equal to statsmodels' `multipletests`, whose import takes longer than all else that a board needs.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order, adjusted = np.argsort(p), np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1.0)
    return adjusted


def holm_pairs(p_values: FloatArray) -> FloatArray:
    """Holm's adjusted p values of all pairs: symmetric matrix (m, m) to symmetric matrix, with ones on the diagonal."""
    p = np.asarray(p_values, dtype=np.float64)
    upper = np.triu_indices(len(p), 1)
    adjusted = np.ones_like(p)
    adjusted[upper] = adjusted.T[upper] = holm(p[upper])
    return adjusted


def ranks(uar: Sequence[float], p_values: FloatArray, level: float = 0.95) -> list[int]:
    """Ranks of a board's rows, in the given order; rows that cannot be told apart from their leader share its rank.

    `uar` (m,); `p_values` (m, m) symmetric, `Comparison.p` of each pair, not adjusted. The row of the highest UAR leads
    rank 1, and every row whose Holm-adjusted p value against it is not below 1 - `level` joins it. The best row that is
    left leads the next group, and so on. A group's rank is one more than the number of rows in the groups before it
    (1, 1, 1, 4). A row may stand behind one of lower UAR: a difference is judged by its own error, not by its size.

    Holm's family is all pairs of the board, not only those with the leader: the leader is whoever scored best, and with
    six equal models the comparisons with the luckiest one alone would tell one apart on up to 10 % of boards.
    """
    adjusted = holm_pairs(p_values)
    result = [0] * len(uar)
    left = sorted(range(len(uar)), key=lambda i: -uar[i])
    while left:
        rank, leader = len(uar) - len(left) + 1, left[0]
        tied = [i for i in left if i == leader or adjusted[leader, i] >= 1 - level]
        for i in tied:
            result[i] = rank
        left = [i for i in left if i not in tied]
    return result


def in_words(
    comparison: Comparison,
    name_a: str,
    name_b: str,
    probabilities: tuple[float, float, float] | None = None,
    rope: float = 0.01,
) -> str:
    """What can and cannot be said of two models, one sentence per line; `probabilities` are those of `equivalence`."""
    c, low, high = comparison, 100 * comparison.interval.low, 100 * comparison.interval.high
    lines = [
        f"UAR: {name_a} {100 * c.uar_a:.1f} %, {name_b} {100 * c.uar_b:.1f} %. "
        f"Difference {100 * c.delta:+.1f} points, {100 * c.level:g} % interval [{low:+.1f}, {high:+.1f}], "
        f"p = {c.p:.2g}; {c.n_speakers} speakers, {c.n_seeds[0]} and {c.n_seeds[1]} seeds."
    ]
    if c.p < 1 - c.level:
        better, worse = (name_a, name_b) if c.delta > 0 else (name_b, name_a)
        lines.append(f"{better} is better than {worse} on this corpus and protocol: the interval excludes zero.")
    else:
        lines.append("No difference can be told: the interval contains zero. That is not proof that they are equal.")
    if np.isfinite(c.detectable):
        lines.append(
            f"With {c.n_speakers} speakers and these seeds, a true difference must be about {100 * c.detectable:.1f} "
            f"points to be found in {100 * POWER:.0f} % of such studies."
        )
    else:
        lines.append("One speaker cannot tell how speakers differ: nothing can be said about others.")
    if probabilities is not None:
        worse_p, equal_p, better_p = (100 * p for p in probabilities)
        lines.append(
            f"Over the folds, {name_a} is better with probability {better_p:.0f} %, equivalent (within "
            f"{100 * rope:.1f} points) with {equal_p:.0f} %, worse with {worse_p:.0f} %."
        )
    if min(c.n_seeds) == 1:
        lines.append(
            "With one seed the luck of the seed is not in the interval: too narrow, unless there is none. Run 5 seeds."
        )
    lines.append(
        "The interval is about other speakers and other seeds, not about other training data, corpora or labels."
    )
    return "\n".join(lines)
