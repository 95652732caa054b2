"""What a course is: the bands in time, at any level and sampling rate."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from sertbench.courses import BANDS, FLOOR, STEP, UNITS, course

RATE = 16000


def tone(hertz: float, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


@pytest.fixture(scope="module")
def syllables() -> np.ndarray:
    """2.5 s: low, middle and high tones in turn, over faint noise."""
    rng = np.random.default_rng(0)
    parts = [np.hanning(3200).astype(np.float32) * tone(f, 0.2) for f in (300, 700, 1500, 200, 900, 400, 1200, 300)]
    return np.concatenate([*parts, *parts[::2]]) + 0.001 * rng.standard_normal(12 * 3200).astype(np.float32)


def test_every_band_hears_its_own_tones():
    heard = course(np.concatenate([tone(250), tone(750), tone(1500)]), RATE)

    assert heard.dtype == np.uint8
    assert heard.shape == (60, BANDS)
    assert [int(heard[k : k + 12].mean(0).argmax()) for k in (4, 24, 44)] == [0, 1, 2]


def test_the_level_changes_nothing(syllables):
    loud, soft = course(syllables, RATE).astype(int), course(syllables / 50, RATE)

    assert np.abs(loud - soft).max() <= 1
    assert loud.max() >= UNITS * (FLOOR - 6)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000])
def test_the_sampling_rate_changes_little(syllables, rate):
    here = course(syllables, RATE).astype(float)
    there = course(soxr.resample(syllables, RATE, rate), rate)

    assert abs(len(here) - len(there)) <= 1
    shorter = min(len(here), len(there))
    assert np.corrcoef(here[:shorter].ravel(), there[:shorter].ravel())[0, 1] > 0.98


def test_an_offset_changes_nothing(syllables):
    plain, moved = course(syllables, RATE).astype(int), course(syllables + np.float32(0.2), RATE)

    assert np.abs(plain - moved).max() <= 2


def test_silence_and_almost_nothing_have_courses_too():
    assert not course(np.zeros(RATE, np.float32), RATE).any()
    for samples in (0, 1, 100, 399, 401):
        assert course(np.ones(samples, np.float32), RATE).shape == (int(samples / RATE / STEP), BANDS)
    for rate in (1000, 1_000_000):
        assert course(np.random.default_rng(0).standard_normal(rate).astype(np.float32), rate).shape == (40, BANDS)
