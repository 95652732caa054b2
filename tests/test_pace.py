"""How long the rest of a run takes."""

from __future__ import annotations

import pytest

from sertbench import status
from sertbench.pace import UnderWay, seconds_left


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
