"""Disturbances of speech keep to their physics: levels, decays, bands, shares; and they are the same at each call."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import correlate, welch

from sertbench import disturbances as d
from sertbench import stress_kinds, transmission
from sertbench.errors import AudioError
from sertbench.stress_kinds import KINDS

RATE = 16_000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tone(hertz: float, seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)).astype(np.float32)


def speechlike(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    """Low-pass noise that comes in syllables, four per second."""
    n = int(seconds * RATE)
    noise = np.convolve(rng(seed).standard_normal(n), np.ones(8) / 8, "same")
    return (0.1 * noise * (1 + np.sin(8 * np.pi * np.arange(n) / RATE)) / 2).astype(np.float32)


def decibels(ratio: float) -> float:
    return 10 * np.log10(max(ratio, 1e-30))


def disturbed(kind: str, strength: float, wave: np.ndarray, draw: int = 0) -> np.ndarray:
    own = d.generator("hash", kind, draw)
    return d.disturb(
        kind, strength, wave, own, lambda _, n: [speechlike(0.7, k) for k in range(n)], lambda _: speechlike(3, 9)
    )


@pytest.mark.parametrize("kind", ["white", "pink", "babble", "hum", "own"])
@pytest.mark.parametrize("snr", [20, 0, -5])
def test_noise_has_the_signal_to_noise_ratio_that_was_asked_for(kind, snr):
    wave = speechlike()

    noise = disturbed(kind, snr, wave).astype(np.float64) - wave

    assert decibels(d.power(wave) / d.power(noise)) == pytest.approx(snr, abs=0.01)


def test_strengths_share_their_noise():
    wave = speechlike()
    loud, soft = (disturbed("pink", snr, wave).astype(np.float64) - wave for snr in (0, 20))

    assert np.allclose(loud, 10 * soft, atol=1e-5)


def test_silent_speech_has_no_ratio_and_silent_noise_is_refused():
    silence = np.zeros(1000, np.float32)

    assert not disturbed("white", 0, silence).any()
    with pytest.raises(AudioError, match="silent"):
        d.add_noise(speechlike(), silence, 10)


def test_white_noise_is_flat_and_pink_falls_by_3_db_per_octave():
    for make, slope in ((d.white, 0.0), (d.pink, -3.01)):
        hertz, density = welch(make(RATE * 20, rng()), RATE, nperseg=4096)
        band = (hertz > 60) & (hertz < 6000)
        fitted = np.polyfit(np.log2(hertz[band]), 10 * np.log10(density[band]), 1)[0]
        assert fitted == pytest.approx(slope, abs=0.1)


def test_hum_is_50_hz_and_harmonics_of_falling_amplitude():
    spectrum = np.abs(np.fft.rfft(d.hum(RATE, rng()))) / (RATE / 2)

    assert np.allclose(spectrum[50:1001:50], 1 / np.arange(1, 21), atol=1e-6)
    assert np.delete(spectrum, np.arange(50, 1001, 50)).max() < 1e-6


def test_babble_is_of_voices_of_equal_power():
    loud, soft = 10 * speechlike(1, 1), speechlike(1, 2)
    mixed = d.babble(RATE, [loud, soft], rng())

    shares = [np.abs(correlate(mixed, voice / np.sqrt(d.power(voice)))).max() / RATE for voice in (loud, soft)]
    assert shares == pytest.approx([1, 1], abs=0.4)
    assert d.power(mixed) == pytest.approx(2, abs=0.3)


def test_an_excerpt_goes_round_and_avoids_silence():
    recording = np.zeros(1000, np.float32)
    recording[500] = 1

    assert all(d.excerpt(10, recording, rng(seed)).any() for seed in range(20))
    assert d.excerpt(2500, recording, rng()).sum() in (2, 3)


@pytest.mark.parametrize("rt60", [0.3, 1.2])
def test_a_room_decays_by_60_db_in_rt60_and_keeps_the_energy(rt60):
    response = d.impulse_response(rt60, rng())
    # Schroeder's backward integration (JASA 1965) of the tail, fitted from -5 to -35 dB as ISO 3382 says for T30.
    left = 10 * np.log10(np.cumsum(np.square(response[1:])[::-1])[::-1] * 2)
    span = (left < -5) & (left > -35)
    slope = np.polyfit(np.arange(len(left))[span] / RATE, left[span], 1)[0]

    assert -60 / slope == pytest.approx(rt60, rel=0.06)
    assert np.square(response).sum() == pytest.approx(1)
    assert response[0] ** 2 == pytest.approx(0.5)


def test_reverberation_keeps_length_and_about_the_level():
    wave = speechlike(2)
    wet = disturbed("reverb", 0.6, wave)

    assert len(wet) == len(wave)
    assert decibels(d.power(wet) / d.power(wave)) == pytest.approx(0, abs=1.5)


@pytest.mark.parametrize(
    ("hertz", "low", "high"), [(100, -200, -60), (1000, -0.2, 0.2), (3000, -0.5, 0.2), (6000, -400, -80)]
)
def test_the_telephone_passes_300_to_3400_hz(hertz, low, high):
    middle = slice(RATE // 4, -RATE // 4)
    wave = tone(hertz)

    assert low < decibels(d.power(disturbed("telephone", 1, wave)[middle]) / d.power(wave[middle])) < high


@pytest.mark.parametrize("law", ["mulaw", "alaw"])
def test_g711_is_8_bits_at_8_khz(law):
    wave = tone(1000)
    error = disturbed(law, 1, wave).astype(np.float64) - wave
    middle = slice(RATE // 4, -RATE // 4)

    assert decibels(d.power(wave[middle]) / d.power(error[middle])) == pytest.approx(38, abs=3)  # G.711's own figure
    assert decibels(d.power(disturbed(law, 1, tone(6000))[middle]) / 0.005) < -40


@pytest.mark.parametrize("law", ["mulaw", "alaw"])
def test_g711_clips_what_is_beyond_full_scale(law):
    """Speech at full scale overshoots when it is resampled; libsndfile's coders give anything for that."""
    wave = tone(200, level=1.2)
    coded = disturbed(law, 1, wave)
    middle = slice(RATE // 4, -RATE // 4)
    peaks = np.abs(wave[middle]) > 1.1

    assert np.sign(coded[middle])[peaks] == pytest.approx(np.sign(wave[middle])[peaks])
    assert np.abs(coded[middle])[peaks] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("codec", ["mp3", "opus", "vorbis"])
def test_codecs_keep_the_place_in_time_and_lose_more_at_lower_rates(codec):
    if codec in transmission.missing_codecs():
        pytest.skip(f"libsndfile cannot write {codec} here")
    wave = speechlike(1.5)
    ratios = []
    for strength in sorted(KINDS[codec].strengths, reverse=True):
        coded = disturbed(codec, strength, wave)
        assert len(coded) == len(wave)
        lag = int(correlate(coded, wave).argmax()) - (len(wave) - 1)
        assert abs(lag) <= 2
        ratios.append(decibels(d.power(wave) / d.power(coded - wave)))
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > 3


def test_gain_is_in_db_and_clips_nothing():
    wave = tone(200, level=0.5)

    assert decibels(d.power(disturbed("gain", 20, wave)) / d.power(wave)) == pytest.approx(20, abs=1e-3)
    assert np.abs(disturbed("gain", 20, wave)).max() == pytest.approx(5, rel=1e-3)


@pytest.mark.parametrize("percent", [1, 20])
def test_clipping_cuts_the_share_that_was_asked_for(percent):
    wave = speechlike()
    clipped = disturbed("clip", percent, wave)
    most = np.abs(clipped).max()

    assert (np.abs(clipped) == most).mean() == pytest.approx(percent / 100, abs=0.001)
    assert np.array_equal(clipped[np.abs(clipped) < most], wave[np.abs(clipped) < most])


def test_padding_is_silence_on_both_sides():
    wave = speechlike()
    padded = disturbed("pad", 0.5, wave)

    assert len(padded) == len(wave) + RATE
    assert np.array_equal(padded[RATE // 2 : -RATE // 2], wave)
    assert not padded[: RATE // 2].any()
    assert not padded[-RATE // 2 :].any()


def peak(wave: np.ndarray) -> float:
    """The strongest frequency, Hz."""
    return float(np.abs(np.fft.rfft(wave * np.hanning(len(wave)))).argmax() * RATE / len(wave))


def test_pitch_shifts_by_semitones_at_the_same_length():
    shifted = disturbed("pitch", 4, tone(400))

    assert peak(shifted) == pytest.approx(400 * 2 ** (4 / 12), rel=0.01)
    assert len(shifted) == RATE


@pytest.mark.parametrize("percent", [-30, 25])
def test_tempo_changes_the_length_and_not_the_pitch(percent):
    changed = disturbed("tempo", percent, tone(400))

    assert len(changed) == pytest.approx(RATE / (1 + percent / 100), abs=1)
    assert peak(changed) == pytest.approx(400, rel=0.01)


def test_packets_are_lost_whole_and_with_the_probability_that_was_asked_for():
    wave = speechlike(20) + 1  # no sample is 0
    packets = disturbed("loss", 20, wave).reshape(-1, d.PACKET)
    lost = ~packets.any(axis=1)

    assert lost.mean() == pytest.approx(0.2, abs=0.05)
    assert np.array_equal(packets[~lost], wave.reshape(-1, d.PACKET)[~lost])
    assert not (lost & packets.any(axis=1)).any()
    assert (~disturbed("loss", 5, wave).reshape(-1, d.PACKET).any(axis=1) <= lost).all()


def test_a_lost_packet_is_replaced_by_the_last_one_that_came():
    wave = np.repeat(np.arange(1, 51), d.PACKET).astype(np.float32)
    heard = d.lose(wave, 40, rng(), repeat=True).reshape(-1, d.PACKET)[:, 0]
    lost = ~d.lose(wave, 40, rng(), repeat=False).reshape(-1, d.PACKET).any(axis=1)

    last = 0
    for number, (gone, value) in enumerate(zip(lost, heard, strict=True), 1):
        last = last if gone else number
        assert value == last


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in transmission.missing_codecs()])
def test_every_kind_takes_the_shortest_and_silent_waves_and_gives_the_same_again(kind):
    for wave in (np.full(1, 0.5, np.float32), np.zeros(500, np.float32), speechlike(0.31)):
        before = wave.copy()
        for strength in (KINDS[kind].strengths[0], KINDS[kind].strengths[-1]):
            out = disturbed(kind, strength, wave)
            assert out.dtype == np.float32
            assert out.ndim == 1
            assert len(out) >= 1
            assert np.isfinite(out).all()
            assert kind in ("pad", "tempo") or len(out) == len(wave)
            assert np.array_equal(out, disturbed(kind, strength, wave))
        assert np.array_equal(wave, before)
    again = disturbed(kind, strength, wave, draw=1)
    assert not np.array_equal(out, wave)
    assert np.array_equal(again, out) != KINDS[kind].drawn


@pytest.mark.parametrize("kind", [k for k in KINDS.values() if k.neutral is not None])
def test_the_neutral_strength_changes_nothing(kind):
    wave = speechlike(0.3)

    assert np.array_equal(disturbed(kind.name, kind.neutral, wave), wave)
    assert np.array_equal(d.disturb("clean", 0, wave, rng(), None, None), wave)


def test_random_numbers_are_those_of_the_utterance_the_kind_and_the_draw():
    draws = {
        d.generator(*key).random()
        for key in (("a", "white", 0), ("b", "white", 0), ("a", "pink", 0), ("a", "white", 1))
    }

    assert len(draws) == 4
    assert d.generator("a", "white", 0).random() in draws


def test_every_kind_is_a_disturbance_within_its_own_limits():
    for kind in KINDS.values():
        assert all(kind.lowest <= s <= kind.highest for s in kind.strengths)
        assert stress_kinds.parsed(stress_kinds.Cell(kind.name, kind.strengths[0], 3).stem)
