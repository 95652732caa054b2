"""A free set of functionals on librosa: statistics over an utterance of pitch, energy, spectrum and MFCC; 214 values.

Frames start every 10 ms. Descriptors, with librosa 0.11's definitions where it has them:

    f0            semitones above 27.5 Hz, YIN (de Cheveigné & Kawahara 2002), 60 to 500 Hz, 64 ms frames; voiced frames
    hnr           dB, harmonics to noise: 10 log10(r / (1 - r)), r the correlation at a lag of one period; voiced frames
    level         dB of the root mean square (as it is recorded: 0 dB is full scale)
    zero_crossing_rate, centroid, bandwidth, rolloff (85 %; Hz), flatness (dB), flux (mean rise of the log-mel bands)
    mfcc_1-13     32 ms frames, 40 bands; coefficient 0 is the level and is left out
    delta_1-13    their slopes over 90 ms

Statistics: mean, standard deviation, percentiles 20, 50 and 80, and slope (least squares, per second). They are taken
over the active frames, no more than 40 dB below the loudest one: what pauses sound like tells the recording, not the
speaker. A frame is voiced if it is active and r is at least 0.5. Last come the voiced share of the active frames, the
voiced segments per second, and mean and deviation of their lengths in seconds.
"""

from __future__ import annotations

import librosa
import numpy as np

from sertbench.feature_spec import SAMPLE_RATE

HOP, N_FFT, PITCH_FRAME = 160, 512, 1024
LOWEST, HIGHEST = 60.0, 500.0  # Hz
ACTIVE, VOICED = 40.0, 0.5  # dB below the loudest frame; correlation
QUIETEST = 1e-5  # -100 dB
STATISTICS = ("mean", "sd", "p20", "p50", "p80", "slope")
SPECTRAL = ("level", "zero_crossing_rate", "centroid", "bandwidth", "rolloff", "flatness", "flux")
CEPSTRAL = tuple(f"{name}_{i}" for name in ("mfcc", "delta") for i in range(1, 14))
RHYTHM = ("voiced_share", "voiced_segments_per_second", "voiced_seconds_mean", "voiced_seconds_sd")


def names() -> tuple[str, ...]:
    """The columns, in order."""
    described = ("f0", "hnr", *SPECTRAL, *CEPSTRAL)
    return (*(f"{name}_{statistic}" for name in described for statistic in STATISTICS), *RHYTHM)


def compute(wave: np.ndarray) -> np.ndarray:
    """The values of one utterance, (214,) float32, in the order of `names`; `wave` is (n,), 16 kHz.

    Less than 0.1 s is padded with zeros. Where there is nothing to describe (silence, no voiced frame) values are 0.
    """
    wave = np.pad(wave, (0, max(0, SAMPLE_RATE // 10 - len(wave))))
    described = descriptors(wave)
    level = described[0]
    active = level >= level.max() - ACTIVE
    seconds = np.arange(len(level)) * HOP / SAMPLE_RATE
    f0, r = pitch(wave)
    voiced = active & (r >= VOICED) & (level > 20 * np.log10(QUIETEST))
    hnr = 10 * np.log10(r.clip(1e-3, 1 - 1e-3) / (1 - r.clip(1e-3, 1 - 1e-3)))
    parts = [statistics(np.stack([f0, hnr])[:, voiced], seconds[voiced])]
    parts += [statistics(described[:, active], seconds[active]), rhythm(voiced, active)]
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


def descriptors(wave: np.ndarray) -> np.ndarray:
    """Level, spectral descriptors, MFCC and their slopes: (33, T)."""
    spectrum = np.abs(librosa.stft(wave, n_fft=N_FFT, hop_length=HOP))
    mel = librosa.power_to_db(librosa.feature.melspectrogram(S=spectrum**2, sr=SAMPLE_RATE, n_mels=40), top_db=80.0)
    cepstrum = librosa.feature.mfcc(S=mel, n_mfcc=14)[1:]
    flux = np.maximum(0.0, np.diff(mel, axis=1, prepend=mel[:, :1])).mean(0)
    about = {"S": spectrum, "sr": SAMPLE_RATE}
    rows = [
        20 * np.log10(np.maximum(librosa.feature.rms(y=wave, frame_length=N_FFT, hop_length=HOP)[0], QUIETEST)),
        librosa.feature.zero_crossing_rate(wave, frame_length=N_FFT, hop_length=HOP)[0],
        librosa.feature.spectral_centroid(**about)[0],
        librosa.feature.spectral_bandwidth(**about)[0],
        librosa.feature.spectral_rolloff(**about)[0],
        10 * np.log10(librosa.feature.spectral_flatness(S=spectrum)[0]),
        flux,
    ]
    return np.stack([*rows, *cepstrum, *librosa.feature.delta(cepstrum, mode="nearest")])


def pitch(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Semitones above 27.5 Hz, and the correlation of each frame with itself one period later: (T,) each."""
    f0 = librosa.yin(
        wave, fmin=LOWEST, fmax=HIGHEST, sr=SAMPLE_RATE, frame_length=PITCH_FRAME, hop_length=HOP
    )  # fmt: skip
    padded = np.pad(wave.astype(np.float64), PITCH_FRAME // 2)
    frames = librosa.util.frame(padded, frame_length=PITCH_FRAME, hop_length=HOP).T
    lag = np.rint(SAMPLE_RATE / f0).astype(int)
    row = np.arange(len(frames))
    products = np.fft.irfft(np.abs(np.fft.rfft(frames, 2 * PITCH_FRAME)) ** 2)[row, lag]
    energy = np.pad(np.cumsum(frames**2, axis=1), ((0, 0), (1, 0)))
    first, second = energy[row, PITCH_FRAME - lag], energy[:, -1] - energy[row, lag]
    return librosa.hz_to_midi(f0) - 21, products / np.sqrt(np.maximum(first * second, 1e-20))


def statistics(rows: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """(D, T) and the times of the frames -> (D, 6); zeros if there are no frames."""
    if not len(seconds):
        return np.zeros((len(rows), len(STATISTICS)))
    time = seconds - seconds.mean()
    slope = rows @ time / max(float(time @ time), 1e-6)
    return np.stack([rows.mean(1), rows.std(1), *np.percentile(rows, (20, 50, 80), axis=1), slope], axis=1)


def rhythm(voiced: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Voiced share, voiced segments per second, mean and deviation of their seconds: (4,)."""
    ends = np.flatnonzero(np.diff(voiced, prepend=False, append=False))
    lengths = (ends[1::2] - ends[::2]) * HOP / SAMPLE_RATE
    if not len(lengths):
        return np.zeros(len(RHYTHM))
    per_second = len(lengths) / (len(voiced) * HOP / SAMPLE_RATE)
    return np.array([voiced.sum() / active.sum(), per_second, lengths.mean(), lengths.std()])
