"""A small made-up corpus: a source-filter voice that speaks nonsense sentences in four emotions.

It is there to try the program at once, without asking anybody for a corpus; scores on it say nothing about people.
A voice is a train of Rosenberg glottal pulses (A. E. Rosenberg, JASA 49, 1971) with jitter, shimmer and breath, through
four formant resonators per vowel (D. H. Klatt, JASA 67, 1980, eq. 1-3); consonants are bursts of filtered noise.
Emotions move pitch level, range and slope, tempo, loudness and spectral tilt in the directions of the literature, with
the strength of each utterance and the style of each speaker drawn at random, so that the classes overlap.

Every utterance has its own random generator, seeded by its name: one file can be made alone, in any order.
"""

from __future__ import annotations

import os
import wave
import zlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import scipy  # loads its parts when they are first used

from sertbench.errors import StorageError
from sertbench.feature_spec import SAMPLE_RATE

SPEAKERS = ("f1", "f2", "f3", "f4", "m1", "m2", "m3", "m4")
TEXTS = tuple(f"s{n:02d}" for n in range(1, 13))
VERSION = 1  # raised whenever a sample changes

VOWELS = {  # Hz, average male formants (G. E. Peterson, H. L. Barney, JASA 24, 1952); the fourth is a constant
    "a": (730, 1090, 2440, 3500),
    "e": (530, 1840, 2480, 3500),
    "i": (270, 2290, 3010, 3500),
    "o": (570, 840, 2410, 3500),
    "u": (300, 870, 2240, 3500),
}
BANDWIDTHS = (80, 100, 140, 220)  # Hz
CONSONANTS = {"s": (5500, 0.09), "x": (2800, 0.08), "t": (4200, 0.03), "k": (1900, 0.03), "": (0, 0.0)}  # Hz, seconds


@dataclass(frozen=True)
class Manner:
    """How something is said; the fields add up."""

    level: float = 0.0  #  semitones above the speaker's usual pitch
    spread: float = 0.0  # semitones of an accent
    slope: float = 0.0  #  semitones from the first to the last sample
    tempo: float = 0.0  #  natural logarithm of the syllable rate
    gain: float = 0.0  #   dB
    tilt: float = 0.0  #   spectral tilt: larger is brighter

    def plus(self, other: Manner, weights: np.ndarray) -> Manner:
        """Add the weighted fields of another manner; weights have shape (6,)."""
        mine, theirs = np.array(list(vars(self).values())), np.array(list(vars(other).values()))
        return Manner(*(mine + weights * theirs).tolist())


NEUTRAL = Manner(level=0.0, spread=2.5, slope=-2.0)
EMOTIONS = {  # added to NEUTRAL
    "neutral": Manner(),
    "happy": Manner(level=4.5, spread=3.0, slope=2.5, tempo=0.08, gain=3.0, tilt=0.08),
    "sad": Manner(level=-1.5, spread=-1.3, slope=-1.0, tempo=-0.18, gain=-4.0, tilt=-0.16),
    "angry": Manner(level=2.0, spread=2.0, slope=-2.0, tempo=0.14, gain=5.0, tilt=0.24),
}
SCATTER = Manner(level=0.8, spread=0.5, slope=0.9, tempo=0.05, gain=1.1, tilt=0.04)  # standard deviations


def ensure(folder: Path) -> Path:
    """Make the corpus in `folder`, as far as it is not there yet: 384 files such as f1-s01-angry.wav, 16 kHz, 16 bit.

    Each file appears whole or not at all, so that an interrupted or doubled call does no harm. Raises StorageError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir()}
        for speaker, text, emotion in product(SPEAKERS, TEXTS, EMOTIONS):
            name = f"{speaker}-{text}-{emotion}.wav"
            if name not in there:
                _write(folder / name, speak(speaker, text, emotion))
    except OSError as fault:
        raise StorageError(
            f"{folder}: cannot be written ({fault.strerror}). Choose another folder for the cache."
        ) from None
    return folder


def speak(speaker: str, text: str, emotion: str) -> np.ndarray:
    """One utterance: (n,) int16 at 16 kHz, 0.6 to 2.0 s."""
    voice = _random("voice", speaker)
    woman = speaker.startswith("f")
    pitch = (205.0 if woman else 118.0) * 2 ** (voice.uniform(-3, 3) / 12)
    formants = (1.15 if woman else 1.0) * voice.uniform(0.94, 1.06)
    breath, jitter = voice.uniform(0.01, 0.06), voice.uniform(0.004, 0.012)
    style = voice.uniform(0.7, 1.3, 6)  # which means of expression the speaker favours
    habit = Manner(*(voice.uniform(-1, 1, 6) * (0, 0.5, 0.8, 0.05, 1.2, 0.04)).tolist())

    draw = _random(speaker, text, emotion)
    scatter = _normal(draw, 6)
    manner = NEUTRAL.plus(habit, np.ones(6))
    manner = manner.plus(EMOTIONS[emotion], style * draw.uniform(0.6, 1.3)).plus(SCATTER, scatter)

    syllables = _sentence(text)
    durations = 0.17 * np.exp(-manner.tempo) * draw.uniform(0.85, 1.15, len(syllables))
    durations[-1] *= 1.3  # phrase-final lengthening
    onsets = 0.06 + np.concatenate([[0.0], np.cumsum(durations)])
    time = np.arange(int((onsets[-1] + 0.08) * SAMPLE_RATE)) / SAMPLE_RATE

    accents = draw.uniform(0.2, 1.0, len(syllables))
    centres = onsets[:-1] + durations / 2
    bumps = np.exp(-0.5 * ((time[:, None] - centres) / 0.09) ** 2) @ accents
    semitones = manner.level + max(manner.spread, 0.3) * bumps + manner.slope * (time / time[-1] - 0.5)
    source = _glottis(pitch * 2 ** (semitones / 12), jitter, breath, manner.tilt, draw)

    signal = np.zeros_like(time)
    for (consonant, vowel), onset, duration in zip(syllables, onsets, durations, strict=False):
        centre, length = CONSONANTS[consonant]
        begin = onset + min(length, 0.4 * duration)
        first, last = int(onset * SAMPLE_RATE), int((onset + duration + 0.05) * SAMPLE_RATE)
        here = slice(first, min(last, time.size))
        rise = np.clip((time[here] - begin) / 0.02, 0, 1)
        fall = np.clip((onset + duration + 0.03 - time[here]) / 0.06, 0, 1)
        shape = np.sin(np.pi / 2 * rise) ** 2 * np.sin(np.pi / 2 * fall) ** 2
        voiced = source[here] * shape
        for frequency, bandwidth in zip(VOWELS[vowel], BANDWIDTHS, strict=True):
            voiced = _resonate(voiced, frequency * formants, bandwidth)
        signal[here] += voiced
        if consonant:
            hiss = _resonate(draw.uniform(-1, 1, time[here].size), min(centre * formants, 7000), 900)
            burst = np.clip((time[here] - onset) / 0.008, 0, 1) * np.clip((begin + 0.01 - time[here]) / 0.01, 0, 1)
            signal[here] += 0.25 * hiss * burst
    return _finish(signal, manner.gain, draw)


def _glottis(f0: np.ndarray, jitter: float, breath: float, tilt: float, draw: np.random.Generator) -> np.ndarray:
    """The derivative of the glottal flow for a pitch contour `f0` (n,) in Hz: (n,)."""
    cycles = int(f0.sum() / SAMPLE_RATE) + 2
    cycle = np.floor(np.cumsum(f0) / SAMPLE_RATE).astype(int)
    phase = np.cumsum(f0 * (1 + jitter * _normal(draw, cycles))[cycle]) / SAMPLE_RATE
    cycle, phase = np.minimum(np.floor(phase).astype(int), cycles - 1), phase % 1.0
    opening, closing = 0.45 - 0.3 * tilt, 0.2 - 0.25 * tilt  # shares of a cycle; brighter voices close faster
    closing = max(closing, 0.06)
    rising = 0.5 * (1 - np.cos(np.pi * phase / opening))
    falling = np.cos(0.5 * np.pi * (phase - opening) / closing)
    flow = np.where(phase < opening, rising, np.where(phase < opening + closing, falling, 0.0))
    flow *= 1 + 4 * jitter * _normal(draw, cycles)[cycle]  # shimmer
    flow += breath * flow * draw.uniform(-1, 1, f0.size)
    pole = min(max(0.55 - 1.2 * tilt, 0.05), 0.93)
    smoothed: np.ndarray = scipy.signal.lfilter([1 - pole], [1, -pole], np.diff(flow, prepend=0.0))
    return smoothed


def _resonate(signal: np.ndarray, frequency: float, bandwidth: float) -> np.ndarray:
    """Klatt's two-pole resonator with unit gain at 0 Hz; frequencies in Hz."""
    c = -np.exp(-2 * np.pi * bandwidth / SAMPLE_RATE)
    b = 2 * np.exp(-np.pi * bandwidth / SAMPLE_RATE) * np.cos(2 * np.pi * frequency / SAMPLE_RATE)
    filtered: np.ndarray = scipy.signal.lfilter([1 - b - c], [1, -b, -c], signal)
    return filtered


def _finish(signal: np.ndarray, gain: float, draw: np.random.Generator) -> np.ndarray:
    """Set the level (about -26 dB for no gain), add the room's noise at -62 dB, go to 16 bit."""
    signal = signal * (10 ** ((gain - 26) / 20) / np.sqrt(np.mean(signal**2)))
    signal += 10 ** (-62 / 20) * _normal(draw, signal.size)
    integers: np.ndarray = np.round(np.tanh(signal) * 32767).astype("<i2")
    return integers


def _sentence(text: str) -> list[tuple[str, str]]:
    """The syllables (consonant, vowel) of a sentence: four to seven."""
    draw = _random("sentence", text)
    consonants, vowels = list(CONSONANTS), list(VOWELS)
    return [(consonants[draw.integers(5)], vowels[draw.integers(5)]) for _ in range(draw.integers(4, 8))]


def _random(*name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32("/".join(name).encode())))


def _normal(draw: np.random.Generator, size: int) -> np.ndarray:
    """Nearly normal numbers: sums of uniform ones, whose stream NumPy keeps between versions."""
    total: np.ndarray = draw.random((size, 12)).sum(axis=1) - 6
    return total


def _write(path: Path, samples: np.ndarray) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with wave.open(str(part), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(samples.tobytes())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
