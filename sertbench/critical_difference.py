"""Many models over many corpora: Friedman's test, pairwise Wilcoxon tests, cliques of a critical-difference diagram.

Here a corpus is one observation. On a single corpus the speakers are, and `statistics.compare` is the tool.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from sertbench.errors import ConfigError
from sertbench.statistics import FloatArray, holm_pairs

MIN_CORPORA = 8  # below, the signed-rank test cannot give a small p value: its least is 2 ** (1 - corpora)


@dataclass(frozen=True)
class CriticalDifference:
    """What a critical-difference diagram shows of m models over several corpora."""

    mean_ranks: tuple[float, ...]  #          1 is best; ties share the mean of their ranks
    friedman_p: float  #                      all models equal
    p: tuple[tuple[float, ...], ...]  #       Wilcoxon signed-rank, Holm-adjusted over all pairs
    cliques: tuple[tuple[int, ...], ...]  #   bars: longest runs along mean rank with no difference inside, 2 or more


def critical_difference(uar: FloatArray, level: float = 0.95) -> CriticalDifference:
    """Compare models over corpora: `uar` (m models, k corpora), seed-averaged, nothing missing.

    Friedman's test, then Wilcoxon's signed-rank test of each pair with Holm's adjustment (Demsar, Statistical
    comparisons of classifiers over multiple data sets, JMLR 2006; Benavoli, Corani & Mangili, Should we really use
    post-hoc tests based on mean-ranks?, JMLR 2016, on why not Nemenyi's). If Friedman's test finds nothing, all models
    are one clique.

    Raises ConfigError for fewer than 8 corpora, fewer than 3 models, or a missing score.
    """
    from scipy import stats

    uar = np.asarray(uar, dtype=np.float64)
    m, k = uar.shape
    if k < MIN_CORPORA:
        raise ConfigError(
            f"{k} {'corpus is' if k == 1 else 'corpora are'} too few to rank models over corpora: with {k}, "
            f"even a model that wins everywhere has a "
            f"signed-rank p value of {2.0 ** (1 - k):.3g} before Holm's adjustment. Run on {MIN_CORPORA} or more, "
            "or compare on each corpus by its speakers"
        )
    if m < 3:
        raise ConfigError(f"{m} models are too few for Friedman's test: add some, up to 3 or more")
    if not np.isfinite(uar).all():
        raise ConfigError("every model needs a score on every corpus: run what is missing, or leave that corpus out")
    mean_ranks = stats.rankdata(-uar, axis=0).mean(axis=1)
    raw = np.ones((m, m))
    for i, j in combinations(range(m), 2):
        if (uar[i] != uar[j]).any():
            raw[i, j] = raw[j, i] = stats.wilcoxon(uar[i], uar[j]).pvalue
    friedman_p = float(stats.friedmanchisquare(*uar).pvalue) if np.ptp(uar, axis=0).any() else 1.0
    adjusted = holm_pairs(raw)
    alike = adjusted >= 1 - level if friedman_p < 1 - level else np.ones((m, m), dtype=bool)
    return CriticalDifference(
        mean_ranks=tuple(mean_ranks.tolist()),
        friedman_p=friedman_p,
        p=tuple(tuple(row) for row in adjusted.tolist()),
        cliques=_cliques(np.argsort(mean_ranks, kind="stable"), alike),
    )


def _cliques(order: npt.NDArray[np.intp], alike: npt.NDArray[np.bool_]) -> tuple[tuple[int, ...], ...]:
    found: list[tuple[int, ...]] = []
    reached = 0
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and alike[order[end], order[start:end]].all():
            end += 1
        if end - start > 1 and end > reached:
            found.append(tuple(order[start:end].tolist()))
            reached = end
    return tuple(found)
