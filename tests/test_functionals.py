"""Our own functionals against signals whose pitch, level and rhythm are known."""

from __future__ import annotations

import numpy as np
import pytest

from sertbench import functionals
from sertbench.feature_spec import COLUMNS, SAMPLE_RATE

NAMES = functionals.names()


def tone(hertz: float, seconds: float = 1.0, level: float = 0.3) -> np.ndarray:
    """A tone with five harmonics."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * sum(np.sin(2 * np.pi * k * hertz * t) / k for k in range(1, 6))).astype(np.float32)


def noise(seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    samples = np.random.default_rng(0).standard_normal(int(seconds * SAMPLE_RATE))
    return (level * samples).astype(np.float32)


def described(wave: np.ndarray) -> dict[str, float]:
    return dict(zip(NAMES, functionals.compute(wave).tolist(), strict=True))


def test_each_value_has_a_name_of_its_own():
    assert len(NAMES) == len(set(NAMES)) == COLUMNS["functionals"]
    assert functionals.compute(tone(200)).dtype == np.float32


@pytest.mark.parametrize("hertz", [80.0, 110.0, 220.0, 400.0])
def test_pitch_is_in_semitones_above_27_5_hz(hertz):
    found = described(tone(hertz))

    expected = 12 * np.log2(hertz / 27.5)
    assert found["f0_p50"] == pytest.approx(expected, abs=0.15)
    assert found["voiced_share"] > 0.9
    assert found["hnr_p50"] > 10


def test_a_rising_pitch_has_its_slope():
    t = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    hertz = 110 * 2 ** (t / 2)  # an octave in two seconds: 6 semitones per second
    found = described((0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE)).astype(np.float32))

    assert found["f0_slope"] == pytest.approx(6.0, abs=0.5)


def test_noise_is_not_voiced():
    found = described(noise())

    assert found["voiced_share"] < 0.1


def test_twice_the_amplitude_is_six_decibels_and_changes_nothing_else():
    quiet, loud = described(noise(level=0.1)), described(noise(level=0.2))

    for name in NAMES:
        louder = 6.02 if name.startswith("level") and name.split("_")[1] in ("mean", "p20", "p50", "p80") else 0.0
        assert loud[name] - quiet[name] == pytest.approx(louder, abs=0.02 + 1e-3 * abs(quiet[name])), name


def test_rhythm_counts_voiced_segments():
    silence = np.zeros(SAMPLE_RATE // 4, np.float32)
    found = described(np.concatenate([tone(150, 0.25), silence] * 4))

    assert found["voiced_segments_per_second"] == pytest.approx(2.0, rel=0.05)
    assert found["voiced_seconds_mean"] == pytest.approx(0.25, abs=0.06)


def test_pauses_do_not_change_what_speech_sounds_like():
    wave = noise()
    long = np.concatenate([wave, np.zeros(3 * SAMPLE_RATE, np.float32)])
    alone, paused = described(wave), described(long)

    for name in ("centroid_mean", "level_mean", "mfcc_1_mean", "flatness_p50"):
        assert paused[name] == pytest.approx(alone[name], rel=0.05), name


@pytest.mark.parametrize("samples", [1, 100, 1599, 1600, 5000])
def test_short_and_silent_audio_gives_numbers(samples):
    for wave in (np.zeros(samples, np.float32), noise()[:samples], np.ones(samples, np.float32)):
        assert np.isfinite(functionals.compute(wave)).all()


def test_silence_has_no_voice():
    found = described(np.zeros(8000, np.float32))

    assert found["voiced_share"] == found["f0_mean"] == 0.0
    assert found["level_mean"] == pytest.approx(-100.0)


def test_equal_to_librosa_pyin_on_a_glide():
    librosa = pytest.importorskip("librosa")
    t = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    wave = (0.3 * np.sin(2 * np.pi * np.cumsum(150 + 100 * t) / SAMPLE_RATE)).astype(np.float32)
    f0, voiced, _ = librosa.pyin(wave, fmin=60, fmax=500, sr=SAMPLE_RATE, frame_length=1024, hop_length=320)

    expected = np.median(librosa.hz_to_midi(f0[voiced]) - 21)
    assert described(wave)["f0_p50"] == pytest.approx(expected, abs=0.3)
