"""Which clips may be copies: the same pairs in any order and in tables of any size, and the right shift of each."""

from __future__ import annotations

import numpy as np
import pytest

from sertbench import likely_copies, pieces
from sertbench.courses import BANDS, STEP, UNITS


def a_course(rng: np.random.Generator, steps: int) -> np.ndarray:
    """Syllables of 75 to 250 ms with a spectrum each, smoothed as courses are: (steps, BANDS), uint8."""
    lengths = rng.integers(3, 10, steps)
    sound = np.repeat(
        rng.choice([0, 60, 90], (len(lengths), 1)) + rng.uniform(-25, 25, (len(lengths), BANDS)), lengths, 0
    )
    smooth = sum(w * sound[k : steps + k] for k, w in enumerate((0.25, 0.5, 0.25)))
    return np.clip(smooth, 0, 255).astype(np.uint8)


def cut(course: np.ndarray, start: int, end: int) -> np.ndarray:
    return course[start : len(course) - end]


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """60 clips of 0.7 to 4 s; then copies: of 5 without its first 5 steps, of 5 without its last 7, of 9 noisy."""
    rng = np.random.default_rng(0)
    clips = [a_course(rng, int(n)) for n in rng.integers(28, 160, 60)]
    clips[5] = a_course(rng, 100)
    noise = rng.integers(-UNITS, UNITS + 1, clips[9].shape)
    return [*clips, clips[5][5:], clips[5][:-7], np.clip(clips[9].astype(int) + noise, 0, 255).astype(np.uint8)]


def found(clips: list[np.ndarray]) -> dict[tuple[int, int], float]:
    return {(i, j): later for i, j, later in likely_copies.likely_copies(clips, [len(c) * STEP for c in clips])}


def test_copies_are_found_with_their_shift_and_nothing_else(clips):
    assert found(clips) == {(5, 60): 5 * STEP, (5, 61): 0, (60, 61): -5 * STEP, (9, 62): 0}


def test_the_order_of_the_clips_changes_nothing(clips):
    turned = {(len(clips) - 1 - j, len(clips) - 1 - i): -later for (i, j), later in found(clips[::-1]).items()}

    assert turned == found(clips)


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_the_size_of_the_tables_changes_nothing(clips, monkeypatch, size):
    whole = found(clips)

    monkeypatch.setattr(pieces, "_TOGETHER", size)
    monkeypatch.setattr(pieces, "_ROWS", size)
    monkeypatch.setattr(pieces, "_COLUMNS", 2 * size)
    monkeypatch.setattr(likely_copies, "_TABLE", 50 * size)

    assert found(clips) == whole


def test_no_pair_of_pieces_is_missed(clips):
    """What all pieces of a key compared with all others give: sorted by where they begin, few of them are compared."""
    parts = pieces._pieces(clips, 0)
    order = np.lexsort((parts.start, parts.key))
    parts = pieces._Pieces(*(column[order] for column in parts))
    seconds = np.array([len(c) * STEP for c in clips])
    pictures = parts.picture.astype(np.float32)
    one, other = np.nonzero(
        (pictures @ pictures.T >= pieces.SIMILAR) & np.triu(parts.key[:, None] == parts.key[None, :], 1)
    )
    edges = np.flatnonzero(np.diff(parts.key, prepend=-1, append=-1))

    expected = pieces._near(parts, one, other, seconds)

    assert len(expected) > 50
    assert sorted(pieces._similar(parts, edges, seconds)) == sorted(expected)


def test_the_rough_comparison_is_a_correlation_over_the_common_part(clips):
    """At the two shifts, also where one clip begins or ends outside the other."""
    both = likely_copies._Courses(clips)
    rng = np.random.default_rng(1)
    i, j = rng.integers(0, len(clips), (2, 300))
    shift = rng.integers(-20, 21, 300)

    def beside_mean(course: np.ndarray) -> np.ndarray:
        loudness = course.sum(1, dtype=float)
        reach = likely_copies.LOCAL
        return loudness - [loudness[max(0, t - reach) : t + reach + 1].mean() for t in range(len(loudness))]

    def correlation(a: np.ndarray, b: np.ndarray, s: int) -> float:
        start, end = max(0, s), min(len(a), len(b) + s)
        a, b = beside_mean(a)[start:end], beside_mean(b)[start - s : end - s]
        return float(a @ b / np.sqrt(max((a @ a) * (b @ b), 1e-6)))

    expected = [
        max(0.0, *(correlation(clips[a], clips[b], s + k) for k in (0, 1))) for a, b, s in zip(i, j, shift, strict=True)
    ]
    np.testing.assert_allclose(both._rough(i, j, shift), expected, atol=1e-4)


def test_a_copy_between_two_steps_is_found_at_half_a_step():
    course = a_course(np.random.default_rng(3), 80)
    between = ((course[:-1].astype(int) + course[1:]) // 2).astype(np.uint8)  # as if half a step were cut off

    assert found([course, between]) == {(0, 1): STEP / 2}


def test_the_same_clip_many_times_is_paired_with_each(clips):
    many = [clips[5]] * 30

    assert set(found(many)) == {(i, j) for i in range(30) for j in range(i + 1, 30)}


def test_clips_of_very_different_durations_are_not_compared(clips):
    long = clips[5]
    most = round(2 * pieces.MAX_CUT / STEP)

    assert not found([long[: len(long) - most - 1], long])
    assert not found([long[: len(long) // 2], long])


def test_no_clips_and_silent_steady_or_very_short_ones_are_like_nothing(clips):
    assert found([]) == {}
    assert found([np.zeros((0, BANDS), np.uint8)] * 3) == {}
    assert found([np.zeros((100, BANDS), np.uint8)] * 3) == {}
    assert found([np.full((100, BANDS), 80, np.uint8)] * 3) == {}
    assert found([clips[0][: pieces.WIDTH - 1]] * 3) == {}
    assert found([clips[5], np.zeros((0, BANDS), np.uint8), clips[5]]) == {(0, 2): 0}
