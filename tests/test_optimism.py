"""The optimism meter's best epoch on test: pooled like the honest score that it stands beside."""

from __future__ import annotations

import numpy as np

from sertbench.optimism import best_and_kept, pooled_gain

TRUTHS = [np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1, 1, 1])]  # folds in which classes weigh unequally


def test_without_a_choice_of_the_epoch_the_meter_shows_the_honest_pooled_score() -> None:
    epochs = [np.array([[0, 1, 1, 1]]), np.array([[1, 1, 1, 1, 0, 1]])]

    given = [best_and_kept(e, truth, 2, kept=1) for e, truth in zip(epochs, TRUTHS, strict=True)]

    assert pooled_gain(TRUTHS, given, 2) == {"test_epoch": 54.17, "oracle_gap": 0.0}  # a mean of folds: 53.33


def test_the_best_epoch_of_each_fold_and_seed_is_taken_and_the_gap_is_over_the_kept_ones() -> None:
    wrong = [1 - truth for truth in TRUTHS]
    epochs = [np.stack([bad, truth]) for bad, truth in zip(wrong, TRUTHS, strict=True)]

    one = [best_and_kept(e, truth, 2, kept=1) for e, truth in zip(epochs, TRUTHS, strict=True)]
    two = [best_and_kept(e, truth, 2, kept=2) for e, truth in zip(epochs, TRUTHS, strict=True)]

    assert pooled_gain(TRUTHS, [*one, *two], 2) == {"test_epoch": 100.0, "oracle_gap": 50.0}
