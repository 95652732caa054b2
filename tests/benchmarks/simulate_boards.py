"""How often the intervals, p values and tie groups of `sertbench.statistics` are right, on boards of known truth.

    python -P tests/benchmarks/simulate_boards.py --boards 500

A board is six models of equal population UAR on one corpus of few speakers. Whether an utterance is recognised is a
logistic model of its class, its own difficulty (shared by all models), its speaker (partly shared by all models), the
seed (partly shared by all folds, partly by the two speakers of a fold, partly of one speaker), and a coin. Speakers
differ in how much they say, and some lack a class. The truth is the UAR over infinitely many speakers and seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from sertbench.statistics import jackknife, pairwise, ranks

N_SPEAKERS = (5, 8, 10, 20)


@dataclass(frozen=True)
class Setting:
    """A kind of corpus and of models; standard deviations are in logits, per class."""

    name: str
    ease: tuple[float, ...] = (1.2, 0.6, 0.3, -0.2)  # mean logit of each class's recall
    shares: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)  # of the classes
    absent: tuple[float, ...] = (0.0, 0.0, 0.1, 0.15)  # probability that a speaker lacks the class
    per_speaker: float = 60.0  # mean number of utterances
    unevenness: float = 0.4  # coefficient of variation of the number of utterances over speakers
    n_models: int = 6
    n_seeds: int = 5
    utterance_sd: float = 1.0
    speaker_sd: float = 0.5  # shared by all models
    model_speaker_sd: float = 0.3  # of one model
    seed_sd: float = 0.1
    fold_seed_sd: float = 0.15
    speaker_seed_sd: float = 0.2

    @property
    def truth(self) -> float:
        """The population UAR of every model, by Gauss-Hermite quadrature."""
        parts = ("utterance_sd", "speaker_sd", "model_speaker_sd", "seed_sd", "fold_seed_sd", "speaker_seed_sd")
        sd = np.sqrt(sum(getattr(self, part) ** 2 for part in parts))
        nodes, weights = np.polynomial.hermite_e.hermegauss(81)
        return float((expit(np.array(self.ease)[:, None] + sd * nodes) @ weights / weights.sum()).mean())


USUAL = Setting("usual")
SETTINGS = (
    USUAL,
    replace(USUAL, name="ceiling", ease=(3.5, 3.0, 2.5, 2.0)),
    replace(USUAL, name="long", per_speaker=200.0),
    replace(USUAL, name="uneven", unevenness=0.8, absent=(0.0, 0.1, 0.3, 0.4)),
    replace(USUAL, name="seeds differ", seed_sd=0.4, fold_seed_sd=0.3),
    replace(USUAL, name="models differ", model_speaker_sd=0.6),
    replace(USUAL, name="ten seeds", n_seeds=10),
    replace(USUAL, name="one seed", n_seeds=1),
)


@dataclass(frozen=True)
class Board:
    """Predictions (models, seeds, n) of one simulated corpus; `y_true` and `speakers` (n,)."""

    y_true: np.ndarray
    speakers: np.ndarray
    predictions: np.ndarray


def simulate(setting: Setting, n_speakers: int, rng: np.random.Generator) -> Board:
    """Draw one board."""
    s, n_classes = setting, len(setting.ease)
    counts = np.zeros((n_speakers, n_classes), dtype=int)
    while not (counts.any(axis=0).all() and counts.any(axis=1).all()):
        size = s.per_speaker * rng.gamma(s.unevenness**-2, s.unevenness**2, n_speakers)
        counts = rng.poisson(size[:, None] * s.shares) * (rng.random((n_speakers, n_classes)) >= s.absent)
    speakers = np.repeat(np.arange(n_speakers), counts.sum(axis=1))
    y_true = np.concatenate([np.repeat(np.arange(n_classes), row) for row in counts])
    fold = np.arange(n_speakers) // 2

    models, seeds = s.n_models, s.n_seeds
    logit = s.ease + rng.normal(0, s.speaker_sd, (1, 1, n_speakers, n_classes))
    logit = logit + rng.normal(0, s.model_speaker_sd, (models, 1, n_speakers, n_classes))
    logit = logit + rng.normal(0, s.seed_sd, (models, seeds, 1, n_classes))
    logit = logit + rng.normal(0, s.fold_seed_sd, (models, seeds, fold[-1] + 1, n_classes))[:, :, fold]
    logit = logit + rng.normal(0, s.speaker_seed_sd, (models, seeds, n_speakers, n_classes))
    logit = logit.astype(np.float32)[:, :, speakers, y_true]
    logit += rng.normal(0, s.utterance_sd, len(y_true)).astype(np.float32)
    right = rng.random(logit.shape, dtype=np.float32) < expit(logit)
    return Board(y_true, speakers, np.where(right, y_true, (y_true + 1) % n_classes))


def percentile_interval(board: Board, model: int, n_classes: int, rng: np.random.Generator) -> tuple[float, float]:
    """The usual percentile bootstrap of speakers and seeds, 500 replicates: what `uar_interval` is better than."""
    predictions, g = board.predictions[model], board.speakers.max() + 1
    cell = board.speakers * n_classes + board.y_true
    n = np.bincount(cell, minlength=g * n_classes).reshape(g, n_classes)
    hits = np.stack([np.bincount(cell, row == board.y_true, g * n_classes) for row in predictions])
    seeds = rng.multinomial(len(hits), np.full(len(hits), 1 / len(hits)), 500) / len(hits)
    speakers = rng.multinomial(g, np.full(g, 1 / g), 500)
    right = (speakers[:, :, None] * (seeds @ hits).reshape(-1, g, n_classes)).sum(axis=1)
    total = speakers @ n
    recalls = np.divide(right, total, out=np.full(right.shape, np.nan), where=total > 0)
    low, high = np.quantile(np.nanmean(recalls, axis=1), [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Outcome:
    """Shares of boards, intervals or pairs, 0..1; `width` and `detectable` are mean fractions of UAR."""

    percentile: float  #        of the percentile bootstrap's 95 % intervals that hold the truth
    coverage: float  #          of our 95 % intervals that hold the truth
    width: float  #             of our intervals
    false_positives: float  #   of pairs of equal models with p < 0.05
    detectable: float
    split_boards: float  #      of boards of equal models with more than one rank


def study(setting: Setting, n_speakers: int, boards: int, seed: int = 0) -> Outcome:
    """Simulate boards and average what is said of them, over all models and pairs."""
    rng = np.random.default_rng(seed)
    n_classes, truth = len(setting.ease), setting.truth
    naive, covered, widths, positives, detectable, split = [], [], [], [], [], []
    for _ in range(boards):
        board = simulate(setting, n_speakers, rng)
        low, high = percentile_interval(board, 0, n_classes, rng)
        naive.append(low <= truth <= high)
        models = [jackknife(board.y_true, pred, board.speakers, n_classes) for pred in board.predictions]
        intervals = [model.interval() for model in models]
        covered += [i.low <= truth <= i.high for i in intervals]
        widths += [i.high - i.low for i in intervals]
        p = pairwise(models)
        positives += list(p[np.triu_indices(len(models), 1)] < 0.05)
        detectable.append(models[0].versus(models[1]).detectable)
        split.append(max(ranks([model.uar for model in models], p)) > 1)
    means = (float(np.mean(x)) for x in (naive, covered, widths, positives, detectable, split))
    return Outcome(*means)


def main() -> None:
    """Print one line per setting and number of speakers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, default=500, help="simulated boards per line (default: 500)")
    boards = parser.parse_args().boards
    head = "corpus         speakers  percentile  coverage  width  false positives  detectable  boards split"
    print(head)  # noqa: T201
    for setting in SETTINGS:
        for n_speakers in N_SPEAKERS:
            o = study(setting, n_speakers, boards)
            line = (
                f"{setting.name:14} {n_speakers:8}  {o.percentile:10.1%}  {o.coverage:8.1%}  {o.width:5.1%}  "
                f"{o.false_positives:15.1%}  {o.detectable:10.1%}  {o.split_boards:12.1%}"
            )
            print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
