"""Which clips may be copies: the same pairs however the corpus is cut into tables, and the right shift of each."""

from __future__ import annotations

import numpy as np
import pytest

from sertbench import courses

STEPS = 4


def a_fingerprint(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Syllables of 100 to 300 ms, each with a spectrum of its own: (frames, 16), uint8."""
    lengths = rng.integers(10, 30, frames // 10)
    return np.repeat(rng.integers(0, 160, (len(lengths), 16)), lengths, axis=0)[:frames].astype(np.uint8)


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """40 clips of 0.7 to 2.5 s, shortest first; then copies of the longest, without its first 170 ms or last 300 ms."""
    rng = np.random.default_rng(0)
    clips = sorted((a_fingerprint(rng, int(n)) for n in rng.integers(70, 250, 40)), key=len)
    return [*clips, clips[-1][17:], clips[-1][:-30]]


def found(clips: list[np.ndarray]) -> list[tuple[int, int, int]]:
    """Candidates as positions in `clips`, with the shift of the second on the first."""
    order = sorted(range(len(clips)), key=lambda k: len(clips[k]))
    seconds = np.array([len(clips[k]) / 100 for k in order])
    pairs = courses.candidates([courses.course(clips[k], STEPS) for k in order], seconds)
    return [(order[i], order[j], shift) for i, j, shift in pairs]


def test_copies_are_found_with_their_shift_and_nothing_else(clips):
    pairs = {(i, j): shift for i, j, shift in found(clips)}  # the shorter one first

    assert set(pairs) == {(40, 39), (41, 39), (41, 40)}
    assert abs(pairs[40, 39] - -17) <= courses.POOL
    assert abs(pairs[41, 39]) <= courses.POOL


@pytest.mark.parametrize("block", [1, 2, 7, 40])
def test_the_size_of_the_tables_changes_nothing(clips, monkeypatch, block):
    whole = found(clips)

    monkeypatch.setattr(courses, "_BLOCK", block)

    assert found(clips) == whole


def test_clips_of_very_different_durations_are_not_compared(clips):
    long = clips[39]

    assert not found([long[: len(long) - 101], long])


def test_no_clips_and_silent_clips_have_no_candidates():
    assert found([]) == []
    assert found([np.zeros((100, 16), np.uint8)] * 3) == []
    assert found([np.zeros((1, 16), np.uint8)] * 3) == []
