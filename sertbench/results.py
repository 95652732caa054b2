"""The figures of a row, worked out from per-utterance predictions alone.

Figures are percent with two decimals, as the field prints them. Pooled means: over the concatenated test folds of one
seed; a figure without "fold" in its name is pooled per seed and averaged over seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sertbench.errors import few
from sertbench.scores import Scores, calibration, score

if TYPE_CHECKING:
    import pandas as pd

SAME = ("utterance", "fold", "speaker", "style", "target")  # what every seed says alike of an utterance


@dataclass(frozen=True)
class Predictions:
    """Every test utterance's class probabilities for every seed.

    `frame` has one row per (seed, utterance): utterance, fold, seed, speaker, style, target, epoch, and a column
    p_<class> per class. Each utterance occurs exactly once per seed.
    """

    frame: pd.DataFrame
    classes: tuple[str, ...]

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return tuple(int(s) for s in sorted(self.frame["seed"].unique()))

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(seeds, utterances, classes), utterances sorted by id."""
        ordered = self.frame.sort_values(["seed", "utterance"])
        values = ordered[[f"p_{c}" for c in self.classes]].to_numpy(dtype=np.float64)
        return values.reshape(len(self.seeds), -1, len(self.classes))

    @cached_property
    def labels(self) -> np.ndarray:
        """Predicted classes, (seeds, utterances)."""
        predicted: np.ndarray = self.probabilities.argmax(2)
        return predicted

    def column(self, name: str) -> np.ndarray:
        """A column that is the same for all seeds, one value per utterance, sorted by id."""
        values: np.ndarray = self._first[name].to_numpy()
        return values

    @cached_property
    def _first(self) -> pd.DataFrame:
        return self.frame[self.frame["seed"] == self.seeds[0]].sort_values("utterance")


def fault(frame: pd.DataFrame, classes: Sequence[str]) -> str:
    """What keeps a table from being the frame of `Predictions`, in words; empty if nothing does."""
    columns = [f"p_{c}" for c in classes]
    if lacking := [name for name in (*SAME, "seed", *columns) if name not in frame]:
        return f"lacks {few(lacking)}"
    if frame.empty:
        return "has no rows"
    if not np.isfinite(frame[columns].to_numpy(dtype=np.float64)).all():
        return "has probabilities that are no numbers"
    if not frame["target"].isin(range(len(classes))).all():
        return "has targets that are no classes"
    together = frame.groupby(list(SAME), dropna=False, sort=False).size()
    if frame.duplicated(["seed", "utterance"]).any() or (together != frame["seed"].nunique()).any():
        return "has other utterances, or says other things of them, for one seed than for another"
    return ""


def percent(fraction: float) -> float | None:
    """Percent with two decimals; None for a figure that does not exist."""
    return round(100 * float(fraction), 2) if np.isfinite(fraction) else None


def mean_of(all_scores: Sequence[Scores], name: str) -> float | None:
    """Mean over seeds of one of the scores."""
    return percent(float(np.mean([getattr(s, name) for s in all_scores])))


def members(column: np.ndarray) -> dict[str, np.ndarray]:
    """The positions of each value of a column, values in their order: one pass, however many values there are."""
    names, owner = np.unique(column, return_inverse=True)
    positions = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
    return dict(zip(names.tolist(), positions, strict=True))


def uar_where(predictions: Predictions, chosen: np.ndarray) -> float | None:
    """Mean over seeds of the UAR of some utterances (a mask, or positions)."""
    y, n = predictions.column("target")[chosen], len(predictions.classes)
    return percent(float(np.mean([score(y, labels[chosen], n).uar for labels in predictions.labels])))


def figures(predictions: Predictions) -> dict[str, object]:
    """All figures of a row that follow from the predictions, in the order of the table's columns."""
    from sertbench.statistics import uar_interval

    y, n = predictions.column("target"), len(predictions.classes)
    speakers = predictions.column("speaker")
    per_seed = [score(y, labels, n) for labels in predictions.labels]
    uars = [s.uar for s in per_seed]
    interval = uar_interval(y, predictions.labels, speakers, n)
    fold_of = predictions.column("fold")
    in_fold = members(fold_of)
    folds = {f: uar_where(predictions, in_fold[f]) for f in dict.fromkeys(fold_of)}
    fold_values = [v for v in folds.values() if v is not None]
    talkers = {str(s): uar_where(predictions, where) for s, where in members(speakers).items()}
    worst = min(talkers, key=lambda s: (talkers[s] if talkers[s] is not None else 100.0, s))
    calibrations = [calibration(p, y) for p in predictions.probabilities]
    styles = predictions.column("style")
    recalls = np.mean([s.recalls for s in per_seed], axis=0)
    return {
        "uar_pooled_mean": mean_of(per_seed, "uar"),
        "uar_pooled_seed_sd": percent(float(np.std(uars, ddof=1))) if len(uars) > 1 else None,
        "uar_ci95_lo": percent(interval.low),
        "uar_ci95_hi": percent(interval.high),
        "ci_unit": "speaker",
        "wa": mean_of(per_seed, "wa"),
        "macro_f1": mean_of(per_seed, "macro_f1"),
        "weighted_f1": mean_of(per_seed, "weighted_f1"),
        "uar_foldmean": round(float(np.mean(fold_values)), 2),
        "uar_fold_sd": round(float(np.std(fold_values, ddof=1)), 2) if len(fold_values) > 1 else None,
        **{f"uar_fold_{name}": value for name, value in folds.items()},
        **{f"recall_{c}": percent(r) for c, r in zip(predictions.classes, recalls, strict=True)},
        "worst_speaker": worst,
        "worst_speaker_uar": talkers[worst],
        **{f"uar_style_{s}": uar_where(predictions, styles == s) for s in sorted(set(styles) - {""})},
        "ece": percent(float(np.mean([c[0] for c in calibrations]))),
        "nll": round(float(np.mean([c[1] for c in calibrations])), 2),
        "n_utt_scored": len(y),
        "n_seeds": len(predictions.seeds),
        "n_folds": len(folds),
        "seeds": " ".join(map(str, predictions.seeds)),
        "alarms": "; ".join(alarms(predictions)),
    }


def alarms(predictions: Predictions) -> list[str]:
    """What tells a degenerate classifier: one answer for every utterance, or classes that are never the answer."""
    given = set(np.unique(predictions.labels))
    if len(given) == 1:
        return [f"answers {predictions.classes[given.pop()]} to every utterance"]
    return [f"never answers {name}" for index, name in enumerate(predictions.classes) if index not in given]
