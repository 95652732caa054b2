from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import librosa
import numpy as np
import pytest
import torch

from sertbench.feature_spec import FeatureSpec, FramedSpec, framed_spectrogram, log_mel, log_spectrogram, mfcc
from sertbench.features import dct, extract, mel_bands

SPECS = [
    mfcc(),
    mfcc(128),
    mfcc(40, n_fft=400, hop_length=160, n_mels=40),
    mfcc(13, top_db=None),
    log_mel(),
    log_mel(128, n_fft=400),  # several of its bands cover no bin at all
    log_mel(80, n_fft=1024, hop_length=256, top_db=60.0),
    log_spectrogram(),
    log_spectrogram(n_fft=800, hop_length=160, n_bins=200),
]

APCNN = framed_spectrogram(frame_length=640, hop_length=160, n_fft=3198, n_bins=400)


def name(spec: FeatureSpec) -> str:
    return f"{spec.kind}-{spec.n_fft}-{spec.rows}"


def speech(seconds: float, seed: int = 0, level: float = 0.3) -> np.ndarray:
    """Pulses of a gliding pitch through two resonances, in syllables, over faint noise: (n,), float32, 16 kHz."""
    rng = np.random.default_rng(seed)
    n = round(seconds * 16_000)
    t = np.arange(n) / 16_000
    phase = np.cumsum(120 + 40 * np.sin(2 * np.pi * 0.7 * t + seed)) / 16_000
    pulses = np.diff(np.floor(phase), prepend=0.0)
    shape = np.arange(400) / 16_000
    voice = sum(
        np.convolve(pulses, np.exp(-shape * 300) * np.sin(2 * np.pi * f * shape))[:n] for f in (600 + 80 * seed, 1700)
    )
    syllables = np.clip(np.sin(2 * np.pi * 3 * t), 0, 1)
    return (level * syllables * voice / 2 + 1e-4 * level * rng.standard_normal(n)).astype(np.float32)


def batch(*waves: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(waves))


def reference(spec: FeatureSpec, wave: np.ndarray) -> np.ndarray:
    power = np.abs(librosa.stft(wave, n_fft=spec.n_fft, hop_length=spec.hop_length)) ** 2
    if spec.kind == "log_spectrogram":
        return librosa.power_to_db(power[: spec.n_bins], top_db=spec.top_db)
    bank = librosa.filters.mel(sr=16_000, n_fft=spec.n_fft, n_mels=spec.n_mels)
    levels = librosa.power_to_db(bank @ power, top_db=spec.top_db)
    return levels if spec.kind == "log_mel" else librosa.feature.mfcc(S=levels, n_mfcc=spec.n_mfcc)


# --- the same values as librosa's


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize("spec", SPECS, ids=name)
@pytest.mark.parametrize("seconds", [1.8, 3.217], ids=str)
def test_values_are_librosas(spec, seconds):
    waves = batch(speech(seconds), speech(seconds, seed=1, level=0.01))

    values = extract(spec, waves).numpy()

    expected = np.stack([reference(spec, wave) for wave in waves.numpy()])
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-3)


def test_the_default_mfcc_is_what_one_call_of_librosa_gives():
    wave = speech(1.8)

    values = extract(mfcc(), batch(wave))[0]

    assert values.shape == (26, 57)
    expected = librosa.feature.mfcc(y=wave, sr=16_000, n_mfcc=26)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-3)


def test_a_long_utterance_is_the_same_across_the_blocks_it_is_cut_into():
    spec, wave = log_mel(), speech(25.0)

    values = extract(spec, batch(wave))[0]

    np.testing.assert_allclose(values, reference(spec, wave), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("n_fft", "n_mels"), [(2048, 128), (512, 64), (400, 40)])
def test_mel_bands_are_librosas(n_fft, n_mels):
    bank = librosa.filters.mel(sr=16_000, n_fft=n_fft, n_mels=n_mels)

    np.testing.assert_allclose(mel_bands(n_fft, n_mels), bank, rtol=1e-4, atol=1e-8)


def test_the_dct_is_orthonormal():
    rows = dct(128, 128)

    np.testing.assert_allclose(rows @ rows.T, np.eye(128), atol=1e-12)


def framed(spec: FramedSpec, wave: np.ndarray) -> np.ndarray:
    """The definition, frame by frame."""
    wave = np.pad(wave.astype(np.float64), (0, spec.frame_length))  # the last frame is filled up
    starts = spec.hop_length * np.arange(spec.frames(len(wave) - spec.frame_length))
    frames = np.stack([wave[start : start + spec.frame_length] for start in starts])
    power = np.abs(np.fft.fft(frames, spec.n_fft)) ** 2
    levels = 10 * np.log10(np.maximum(power, 1e-10))
    return (levels - levels.max())[:, : spec.n_bins].T


# Samples: a window of 2 s, an utterance whose last frame is not full, one sample more than full frames, and too few.
@pytest.mark.parametrize("samples", [32_000, 31_111, 32_001, 300])
def test_framed_spectrograms_are_their_definition(samples):
    waves = batch(*(speech(2.1, seed, level)[:samples] for seed, level in ((0, 0.3), (1, 0.01))))

    values = extract(APCNN, waves).numpy()

    expected = np.stack([framed(APCNN, wave) for wave in waves.numpy()])
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-3)


def test_framed_spectrograms_of_two_seconds_are_400_by_197_and_below_the_loudest_bin():
    t = np.arange(32_000) / 16_000
    low, high = (np.sin(2 * np.pi * f * t).astype(np.float32) for f in (500, 5000))

    within, beyond = extract(APCNN, batch(low, high)).numpy()

    assert within.shape == (400, 197)
    assert within.max() == 0  # at 5 Hz per bin
    assert abs(int(within.max(1).argmax()) - 100) <= 1
    assert beyond.max() < -30  # the maximum is at 5 kHz, above the 2 kHz that are kept


def test_settings_of_framed_spectrograms_change_neither_the_others_nor_their_keys_in_the_cache():
    settings = asdict(log_spectrogram())
    assert set(settings) == {"kind", "n_fft", "hop_length", "n_mels", "n_mfcc", "n_bins", "top_db"}
    assert set(asdict(APCNN)) == set(settings) | {"frame_length"}


def test_a_framed_spectrogram_of_silence_is_finite():
    assert (extract(APCNN, torch.zeros(2, 16_000)) == 0).all()


# --- each row as if it were alone


@pytest.mark.parametrize("spec", [*SPECS, APCNN], ids=name)
def test_a_row_does_not_depend_on_its_batch(spec):
    waves = batch(*(speech(1.8, seed) for seed in range(5)))

    together = extract(spec, waves)

    alone = torch.cat([extract(spec, wave[None]) for wave in waves])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-5)


def test_the_floor_is_below_the_maximum_of_the_window_and_not_of_the_batch():
    loud, faint = speech(1.8, level=0.9), speech(1.8, level=1e-4)

    levels = extract(log_mel(), batch(loud, faint))

    tops, floors = levels.amax((1, 2)), levels.amin((1, 2))
    assert tops[0] - tops[1] > 70
    torch.testing.assert_close(floors[0], tops[0] - 80)
    torch.testing.assert_close(floors[1], torch.clamp(tops[1] - 80, min=-100))


def test_no_floor_leaves_the_least_power_of_100_db():
    clipped = extract(log_mel(), batch(np.pad(speech(1.0), (0, 16_000))))
    whole = extract(log_mel(top_db=None), batch(np.pad(speech(1.0), (0, 16_000))))

    assert whole.min() == -100
    assert clipped.min() == clipped.max() - 80


@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_silence_is_finite_and_constant_in_time(spec):
    values = extract(spec, torch.zeros(2, 16_000))

    assert values.isfinite().all()
    torch.testing.assert_close(values, values[:, :, :1].expand_as(values))
    if spec.kind != "mfcc":
        assert (values == -100).all()


# --- shapes, memory, threads


@pytest.mark.parametrize("samples", [1, 511, 512, 28_799, 28_800])
@pytest.mark.parametrize("spec", [*SPECS, APCNN], ids=name)
def test_rows_and_frames_are_what_the_specification_says(spec, samples):
    assert extract(spec, torch.zeros(3, samples)).shape == (3, spec.rows, spec.frames(samples))


@pytest.mark.parametrize("step", [1, 128, 512, 3199, 3200, 4096, 28_799, 28_800, 40_000])
@pytest.mark.parametrize("spec", [mfcc(), log_mel(80, n_fft=1024, hop_length=256), log_spectrogram(800, 160), APCNN])
def test_windows_that_share_frames_have_the_values_they_have_alone(spec, step):
    few = 5 if step == 1 else 14
    wave = torch.from_numpy(speech(1.8 + (few - 1) * step / 16_000))
    wave[:30_000] *= 1e-3  # so that windows have floors of their own

    overlapping = wave.unfold(0, 28_800, step)

    assert len(overlapping) == few
    alone = torch.cat([extract(spec, window[None]) for window in overlapping])
    torch.testing.assert_close(extract(spec, overlapping), alone, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 1000, 2047, 2048, 2049, 3000])
def test_windows_that_are_shorter_than_a_frame_share_none(samples):
    overlapping = torch.from_numpy(speech(0.5)).unfold(0, samples, 512)

    alone = torch.cat([extract(mfcc(), window[None]) for window in overlapping])

    torch.testing.assert_close(extract(mfcc(), overlapping), alone, rtol=1e-5, atol=2e-3)


@pytest.mark.parametrize(("step", "transformed"), [(3200, 4 * 57 + 6 * 29), (3199, 10 * 57), (512, 57 + 9 * 5)])
def test_a_frame_that_windows_share_is_transformed_once(monkeypatch, step, transformed):
    rows, transform = [], torch.fft.rfft
    monkeypatch.setattr(torch.fft, "rfft", lambda x, n: rows.append(len(x)) or transform(x, n))

    extract(mfcc(), torch.from_numpy(speech(4.0)).unfold(0, 28_800, step)[:10])

    assert sum(rows) == transformed


def test_the_windows_of_a_long_signal_are_the_same_across_the_chunks_they_are_cut_into():
    overlapping = torch.from_numpy(speech(20.0)).unfold(0, 28_800, 3200)

    values = extract(mfcc(), overlapping)

    last = torch.cat([extract(mfcc(), window[None]) for window in overlapping[-40:]])
    torch.testing.assert_close(values[-40:], last, rtol=1e-6, atol=1e-4)


def test_rows_that_are_one_and_the_same_and_rows_that_are_strided_are_computed_too():
    wave = torch.from_numpy(speech(3.6))

    same, strided = wave[:28_800].expand(3, -1), wave.unfold(0, 28_800, 3200)[:, ::2]

    for waves in (same, strided):
        torch.testing.assert_close(extract(mfcc(), waves), extract(mfcc(), waves.contiguous()), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("spec", [*SPECS, APCNN], ids=name)
def test_a_later_call_changes_neither_input_nor_earlier_results(spec):
    waves = batch(speech(1.8))
    untouched = waves.clone()

    values = extract(spec, waves)
    first = values.clone()
    extract(spec, batch(speech(1.8, seed=3)))

    assert torch.equal(waves, untouched)
    assert torch.equal(values, first)


def test_threads_do_not_disturb_each_other():
    waves = [batch(*(speech(1.8, seed + k) for k in range(3))) for seed in range(8)]
    alone = [extract(mfcc(), wave) for wave in waves]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda wave: extract(mfcc(), wave), waves * 4))

    for a, b in zip(alone * 4, together, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("spec", [*SPECS, APCNN], ids=name)
def test_a_gpu_gives_the_same_values(spec):
    waves = batch(speech(1.8), speech(1.8, seed=1))

    on_gpu = extract(spec, waves.cuda())

    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), extract(spec, waves), rtol=1e-4, atol=2e-3)
