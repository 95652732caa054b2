"""How long the rest of a run takes."""

from __future__ import annotations

import numpy as np
import pytest

from sertbench import status
from sertbench.pace import UnderWay, at_most, seconds_left


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_no_order_of_fits_takes_longer_than_is_said(workers):
    rng = np.random.default_rng(workers)
    for n_fits in (1, 2, 3, 5, 16, 17):
        for spread in (0.0, 0.2, 3.0):
            fits = 10 + spread * rng.random(n_fits)
            free = [0.0] * workers
            for fit in fits:
                free[free.index(min(free))] += fit
            said = at_most(fits.sum(), fits.max(), n_fits, workers)
            assert max(free) <= said * (1 + 1e-9)
            assert said <= fits.sum() * (1 + 1e-9)


@pytest.mark.parametrize("workers", [1, 4, 32])
def test_batches_that_wait_for_one_another_count(workers):
    """Five folds of four batches of four fits of ten seconds, all folds side by side."""
    rounds = max(np.ceil(5 * 4 / workers), 1)
    assert at_most(5 * 16 * 10, 10, 5 * 16, workers, chain=4) >= 4 * 10 * rounds


def test_nothing_is_known_before_anything_is_done():
    assert seconds_left(60.0, 0, [], 4) is None
    assert seconds_left(60.0, 0, [UnderWay(40, 40, 50)], 4) is None


def test_epochs_count_before_the_first_fit_has_ended():
    assert seconds_left(100.0, 0, [UnderWay(0, 5, 50), UnderWay(0, 5, 50)], 6) == pytest.approx(2900)


def test_what_a_fit_had_done_before_this_start_is_no_sign_of_speed():
    fresh = seconds_left(100.0, 0, [UnderWay(0, 1, 50)], 1)
    continued = seconds_left(100.0, 0, [UnderWay(40, 41, 50)], 1)
    assert fresh == pytest.approx(4900)
    assert continued == pytest.approx(900)


def test_fits_side_by_side_are_expected_to_end_side_by_side():
    others = [UnderWay(0, 45, 50)] * 7
    assert seconds_left(100.0, 1, others, 23) == pytest.approx(100 * (23 - 6.3) / 7.3)


def test_nothing_is_left_at_the_end():
    assert seconds_left(100.0, 3, [], 0) == 0


def test_the_journal_counts_a_running_fit_by_the_mean_time_of_the_others():
    known = status.Progress(total=6)
    known.done, known.fresh, known.last = {"a": 100.0, "b": 100.0}, 2, 150.0
    assert known.seconds_left == pytest.approx(150 * 4 / 2)
    known.running = {"c": 100.0}
    assert known.seconds_left == pytest.approx(150 * 3.5 / 2.5)
    known.running = {"c": 0.0}  # it takes longer than the others
    assert known.seconds_left == pytest.approx(150 * 3.1 / 2.9)
