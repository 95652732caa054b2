from __future__ import annotations

import dataclasses
import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sertbench.critical_difference import critical_difference
from sertbench.errors import ConfigError
from sertbench.scores import score
from sertbench.statistics import (
    Interval,
    compare,
    equivalence,
    holm,
    holm_pairs,
    in_words,
    jackknife,
    pairwise,
    ranks,
    uar_interval,
)

C = 3


def corpus(n_speakers=8, n=40, seed=0):
    """Speakers of n utterances each, with classes in turn."""
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, C, n_speakers * n)
    speakers = np.repeat([f"speaker{g}" for g in range(n_speakers)], n)
    return y_true, speakers


def guesses(y_true, hit_rate, n_seeds=5, seed=1):
    """Predictions (n_seeds, n) that are right with the given rate, (n,) or a number."""
    rng = np.random.default_rng(seed)
    shape = (n_seeds, len(y_true))
    return np.where(rng.random(shape) < hit_rate, y_true, (y_true + 1) % C)


def test_figures_without_a_speaker_are_those_of_scoring_the_others():
    y_true, speakers = corpus(n_speakers=4)
    y_true[speakers == "speaker2"] %= 2  # lacks a class
    y_pred = guesses(y_true, 0.6)

    one = jackknife(y_true, y_pred, speakers, C)

    assert one.uar == pytest.approx(np.mean([score(y_true, p, C).uar for p in y_pred]))
    for g in range(4):
        rest = speakers != f"speaker{g}"
        expected = np.mean([score(y_true[rest], p[rest], C).uar for p in y_pred])
        assert one.without[g] == pytest.approx(expected)


def test_with_one_seed_and_even_speakers_the_interval_is_students():
    # Every speaker says each class ten times, so the UAR is the plain mean of the speakers' UAR.
    y_true, speakers = np.tile(np.repeat(np.arange(C), 10), 6), np.repeat(np.arange(6), 10 * C)
    y_pred = guesses(y_true, np.repeat(np.linspace(0.3, 0.9, 6), 10 * C), n_seeds=1)
    by_speaker = [score(y_true[speakers == g], y_pred[0, speakers == g], C).uar for g in range(6)]

    interval = uar_interval(y_true, y_pred, speakers, C)

    low, high = stats.t.interval(0.95, 5, np.mean(by_speaker), stats.sem(by_speaker))
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_the_luck_of_seeds_is_in_the_interval():
    # All speakers alike, seeds far apart: only the seeds' own variance is left.
    y_true, speakers = np.tile(np.repeat(np.arange(C), 10), 6), np.repeat(np.arange(6), 10 * C)
    y_pred = np.stack([np.where(np.arange(len(y_true)) % 10 < right, y_true, (y_true + 1) % C) for right in (5, 6, 9)])

    interval = uar_interval(y_true, y_pred, speakers, C)

    low, high = stats.t.interval(0.95, 2, np.mean([0.5, 0.6, 0.9]), stats.sem([0.5, 0.6, 0.9]))
    assert (interval.low, interval.high) == pytest.approx((low, min(high, 1)))


def test_the_order_of_utterances_and_the_names_of_speakers_do_not_matter():
    y_true, speakers = corpus()
    y_pred = guesses(y_true, 0.6)
    order = np.random.default_rng(3).permutation(len(y_true))
    renamed = np.array([f"x{name[::-1]}" for name in speakers])

    expected = uar_interval(y_true, y_pred, speakers, C)

    shuffled = uar_interval(y_true[order], y_pred[:, order], renamed[order], C)
    assert (shuffled.low, shuffled.high) == pytest.approx((expected.low, expected.high))


def test_a_class_of_one_speaker_only_keeps_its_place_in_the_mean():
    y_true, speakers = corpus(n_speakers=5)
    y_true = np.where(speakers == "speaker0", y_true, y_true % 2)
    y_pred = np.where(y_true == 2, 0, y_true)[None]  # class 2 is never found, the others always

    one = jackknife(y_true, y_pred, speakers, C)

    assert one.uar == pytest.approx(2 / 3)
    assert one.without == pytest.approx([2 / 3] * 5)


def test_one_speaker_says_nothing_about_others():
    y_true, speakers = corpus(n_speakers=1)
    a, b = guesses(y_true, 0.9), guesses(y_true, 0.1, seed=2)

    interval, comparison = uar_interval(y_true, a, speakers, C), compare(y_true, a, b, speakers, C)

    assert interval == Interval(0, 1)
    assert comparison.interval == Interval(-1, 1)
    assert comparison.p == 1
    assert "nothing can be said" in in_words(comparison, "a", "b")


def test_a_clear_difference_is_found_and_turns_its_sign_with_the_models():
    y_true, speakers = corpus()
    a, b = guesses(y_true, 0.8), guesses(y_true, 0.5, seed=2)

    ab, ba = compare(y_true, a, b, speakers, C), compare(y_true, b, a, speakers, C)

    assert ab.delta == pytest.approx(score(y_true, a.ravel()[: len(y_true)], C).uar - 0.5, abs=0.1)
    assert ab.interval.low > 0
    assert ab.p < 0.001
    assert (ba.delta, ba.interval.low, ba.p) == pytest.approx((-ab.delta, -ab.interval.high, ab.p))


def test_pairing_by_speaker_sees_what_two_separate_intervals_hide():
    # Speakers differ widely, and b is always a little better than a: the intervals overlap, the difference is sure.
    y_true, speakers = np.tile(np.repeat(np.arange(C), 20), 8), np.repeat(np.arange(8), 20 * C)
    within, good = np.arange(len(y_true)) % 20, np.repeat([4, 6, 8, 9, 11, 13, 14, 17], 20 * C)
    a = np.where(within < good, y_true, (y_true + 1) % C)[None]
    b = np.where(within < good + 1, y_true, (y_true + 1) % C)[None]

    interval_a, interval_b = (uar_interval(y_true, x, speakers, C) for x in (a, b))
    comparison = compare(y_true, a, b, speakers, C)

    assert interval_a.high > interval_b.low
    assert comparison.delta == pytest.approx(-0.05)
    assert comparison.p < 1e-6


def test_identical_models_and_constant_ones_have_no_difference():
    y_true, speakers = corpus()
    same = guesses(y_true, 0.6)
    always = [np.full((1, len(y_true)), c) for c in (0, 1)]

    assert compare(y_true, same, same, speakers, C).p == 1
    assert compare(y_true, *always, speakers, C).p == 1
    assert uar_interval(y_true, always[0], speakers, C).high == pytest.approx(1 / C)


def test_only_the_same_utterances_can_be_compared():
    y_true, speakers = corpus()
    y_pred = guesses(y_true, 0.6)
    whole, part = jackknife(y_true, y_pred, speakers, C), jackknife(y_true[1:], y_pred[:, 1:], speakers[1:], C)

    with pytest.raises(ValueError, match="same utterances"):
        whole.versus(part)


@pytest.mark.parametrize("shape", [(320,), (5, 319), (0, 320)])
def test_predictions_need_one_row_per_seed(shape):
    y_true, speakers = corpus()

    with pytest.raises(ValueError, match=r"expected y_true \(n,\), y_pred \(seeds, n\)"):
        uar_interval(y_true, np.zeros(shape, dtype=int), speakers, C)


def test_classes_out_of_range_are_refused():
    y_true, speakers = corpus()

    with pytest.raises(ValueError, match=r"class indices 0\.\.1, got 0\.\.2"):
        uar_interval(y_true, y_true[None], speakers, 2)


def test_equivalence_is_the_correlated_t_test_of_corani_and_benavoli():
    a, b = np.array([0.62, 0.58, 0.66, 0.60, 0.59]), np.array([0.60, 0.57, 0.61, 0.60, 0.58])
    d, k = a - b, 5
    scale = math.sqrt(d.var(ddof=1) * (1 / k + 1 / (k - 1)))

    worse, equivalent, better = equivalence(a, b, rope=0.01)

    assert worse == pytest.approx(stats.t.cdf(-0.01, k - 1, d.mean(), scale))
    assert better == pytest.approx(stats.t.sf(0.01, k - 1, d.mean(), scale))
    assert worse + equivalent + better == pytest.approx(1)


def test_equal_fold_scores_are_equivalent_and_constant_differences_are_certain():
    folds = np.array([0.5, 0.6, 0.7])

    assert equivalence(folds, folds) == (0, 1, 0)
    assert equivalence(folds + 0.25, folds) == pytest.approx((0, 0, 1))
    assert equivalence(folds, folds + 0.25) == pytest.approx((1, 0, 0))


def test_equivalence_needs_folds():
    with pytest.raises(ConfigError, match="two or more folds"):
        equivalence(np.array([0.5]), np.array([0.6]))


def test_holm_is_that_of_statsmodels():
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(0)
    for m in (1, 2, 7, 40):
        p = rng.random(m).round(2) ** 3  # with ties, zeros and ones
        assert np.array_equal(holm(p), multipletests(p, method="holm")[1])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).shape == (0,)
    p = np.array([[1, 0.01, 0.04], [0.01, 1, 0.2], [0.04, 0.2, 1]])
    assert holm_pairs(p) == pytest.approx(np.array([[1, 0.03, 0.08], [0.03, 1, 0.2], [0.08, 0.2, 1]]))


def symmetric(m, **small):
    p = np.ones((m, m))
    for pair, value in small.items():
        i, j = (int(c) for c in pair[1:])
        p[i, j] = p[j, i] = value
    return p


@pytest.mark.parametrize(
    ("uar", "p_values", "expected"),
    [
        ([0.6, 0.7, 0.5], symmetric(3), [1, 1, 1]),
        # Row 1 leads and is told apart from row 2 only; row 2 leads the second group.
        ([0.6, 0.7, 0.5], symmetric(3, p12=0.001), [1, 1, 3]),
        # Told apart from the leader, but not from each other.
        ([0.6, 0.7, 0.5], symmetric(3, p12=0.001, p01=0.001), [2, 1, 2]),
        # Holm's family is three pairs: 0.02 is not enough.
        ([0.6, 0.7, 0.5], symmetric(3, p12=0.02), [1, 1, 1]),
        # A noisy third row cannot be told apart from the leader, the second can: it stands behind the third.
        ([0.7, 0.6, 0.5], symmetric(3, p01=0.001), [1, 3, 1]),
        ([0.7], symmetric(1), [1]),
        ([], np.ones((0, 0)), []),
    ],
)
def test_rows_share_the_rank_of_a_leader_they_cannot_be_told_from(uar, p_values, expected):
    assert ranks(uar, p_values) == expected


def test_a_board_from_predictions_to_ranks():
    y_true, speakers = corpus(n_speakers=10, n=100)
    models = [jackknife(y_true, guesses(y_true, h, seed=s), speakers, C) for s, h in enumerate((0.5, 0.8, 0.51, 0.2))]

    p = pairwise(models)

    assert np.array_equal(p, p.T)
    assert p[0, 1] == models[0].versus(models[1]).p
    assert ranks([m.uar for m in models], p) == [2, 1, 2, 4]


def test_critical_difference_separates_what_always_differs():
    # Models 0 and 1 swap places from corpus to corpus; model 2 is worst on all twelve.
    rng = np.random.default_rng(0)
    level = rng.uniform(0.4, 0.8, 12)
    uar = np.stack([level + 0.1 + rng.normal(0, 0.02, 12), level + 0.1 + rng.normal(0, 0.02, 12), level])

    result = critical_difference(uar)

    assert result.friedman_p == pytest.approx(stats.friedmanchisquare(*uar).pvalue)
    assert result.mean_ranks[2] == 3
    assert sum(result.mean_ranks) == pytest.approx(6)
    assert result.p[0][2] == pytest.approx(3 * stats.wilcoxon(uar[0], uar[2]).pvalue)
    assert [set(c) for c in result.cliques] == [{0, 1}]


def test_cliques_overlap_where_only_the_ends_of_a_run_differ():
    rng = np.random.default_rng(0)
    uar = np.array([0.3, 0.6, 0.59, 0.575])[:, None] + rng.normal(0, 0.02, (4, 12))[[3, 0, 1, 2]]

    result = critical_difference(uar)

    assert result.p[1][3] < 0.05
    assert result.cliques == ((1, 2), (2, 3))


def test_models_that_are_all_alike_are_one_clique():
    result = critical_difference(np.full((3, 8), 0.5))

    assert result.friedman_p == 1
    assert result.cliques == ((0, 1, 2),)
    assert result.mean_ranks == (2, 2, 2)


@pytest.mark.parametrize(
    ("uar", "message"),
    [
        (np.zeros((3, 7)), "7 corpora are too few"),
        (np.zeros((2, 8)), "2 models are too few"),
        (np.full((3, 8), np.nan), "score on every corpus"),
    ],
)
def test_critical_difference_refuses_what_cannot_tell_anything(uar, message):
    with pytest.raises(ConfigError, match=message):
        critical_difference(uar)


def test_in_words_says_who_is_better_and_what_it_rests_on():
    y_true, speakers = corpus()
    comparison = compare(y_true, guesses(y_true, 0.5), guesses(y_true, 0.8, seed=2), speakers, C)

    text = in_words(comparison, "cnn", "glam", probabilities=(0.97, 0.02, 0.01))

    assert f"cnn {100 * comparison.uar_a:.1f} %, glam {100 * comparison.uar_b:.1f} %" in text
    assert f"Difference {100 * comparison.delta:+.1f} points" in text
    assert "8 speakers, 5 and 5 seeds" in text
    assert "glam is better than cnn" in text
    assert "cnn is better with probability 1 %, equivalent (within 1.0 points) with 2 %, worse with 97 %" in text


def test_in_words_does_not_call_models_equal_or_hide_a_single_seed():
    y_true, speakers = corpus()
    a, b = guesses(y_true, 0.6), guesses(y_true, 0.6, n_seeds=1, seed=2)
    comparison = compare(y_true, a, b, speakers, C)

    text = in_words(comparison, "cnn", "glam")

    assert "No difference can be told" in text
    assert "not proof that they are equal" in text
    assert f"about {100 * comparison.detectable:.1f} points to be found in 80 %" in text
    assert "With one seed" in text
    assert "better" not in text


@pytest.fixture(scope="module")
def simulation():
    path = Path(__file__).parent / "benchmarks" / "simulate_boards.py"
    spec = importlib.util.spec_from_file_location("simulate_boards", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "simulate_boards", module)  # dataclasses look their module up
        spec.loader.exec_module(module)
    return module


def test_the_simulations_truth_is_what_very_many_speakers_give(simulation):
    setting = dataclasses.replace(
        simulation.USUAL, n_models=1, n_seeds=1, seed_sd=0, speaker_sd=0.5099
    )  # equal variance

    board = simulation.simulate(setting, 3000, np.random.default_rng(0))

    found = jackknife(board.y_true, board.predictions[0], board.speakers, 4).uar
    assert found == pytest.approx(simulation.USUAL.truth, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("n_speakers", [5, 20])
def test_intervals_cover_and_equal_models_stay_tied(simulation, n_speakers):
    boards = 150

    outcome = simulation.study(simulation.USUAL, n_speakers, boards)

    # Allowed: the promised share and three standard errors of the simulation.
    error = 3 * math.sqrt(0.05 * 0.95 / boards)
    assert 0.95 - error < outcome.coverage < 0.97 + error
    assert outcome.false_positives < 0.05 + error / 3
    assert outcome.split_boards < 0.05 + error
