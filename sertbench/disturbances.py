"""Disturbances of speech, as pure functions from waveform to waveform.

Waveforms are float32, (n,), 16 kHz mono, full scale 1; nothing is clipped unless that is the disturbance. All keep the
length but for `pad` and `tempo`. The kinds of `stress_kinds` by name: `disturb`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

from sertbench.errors import AudioError
from sertbench.feature_spec import SAMPLE_RATE
from sertbench.stress_kinds import KINDS
from sertbench.transmission import Wave, fitted, g711, telephone, transcode

VERSION = 2  #           raised whenever the same waveform and strength give something else
VOICES = 6  #            of babble; from six on, words of single voices are hardly understood
PACKET = 320  #          samples, 20 ms, as in RTP's default for speech (RFC 3551)

Speech = Callable[[np.random.Generator, int], Sequence[Wave]]  # so many utterances of others than the speaker
Recording = Callable[[np.random.Generator], Wave]  #              one of the user's noise recordings


def generator(audio_sha256: str, kind: str, draw: int) -> np.random.Generator:
    """The random numbers of one utterance: the same in any order, on any machine, and for each strength.

    That strengths share their draw makes a curve one of strength alone.
    """
    digest = hashlib.sha256(f"{audio_sha256} {kind} {draw}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))


def disturb(
    kind: str, strength: float, wave: Wave, rng: np.random.Generator, speech: Speech, recording: Recording
) -> Wave:
    """The waveform as a kind of `stress_kinds` leaves it; itself at the strength that changes nothing."""
    if kind == "clean" or strength == KINDS[kind].neutral:
        return wave
    n = len(wave)
    found: dict[str, Callable[[], Wave]] = {
        "white": lambda: add_noise(wave, white(n, rng), strength),
        "pink": lambda: add_noise(wave, pink(n, rng), strength),
        "babble": lambda: add_noise(wave, babble(n, speech(rng, VOICES), rng), strength),
        "hum": lambda: add_noise(wave, hum(n, rng), strength),
        "own": lambda: add_noise(wave, excerpt(n, recording(rng), rng), strength),
        "reverb": lambda: reverberate(wave, impulse_response(strength, rng)),
        "telephone": lambda: telephone(wave),
        "mulaw": lambda: g711(wave, "ULAW"),
        "alaw": lambda: g711(wave, "ALAW"),
        "mp3": lambda: transcode(wave, "mp3", strength),
        "opus": lambda: transcode(wave, "opus", strength),
        "vorbis": lambda: transcode(wave, "vorbis", strength),
        "gain": lambda: gain(wave, strength),
        "clip": lambda: clip(wave, strength),
        "pad": lambda: pad(wave, strength),
        "pitch": lambda: pitch(wave, strength),
        "tempo": lambda: tempo(wave, strength),
        "loss": lambda: lose(wave, strength, rng, repeat=False),
        "repeat": lambda: lose(wave, strength, rng, repeat=True),
    }
    disturbed: Wave = np.ascontiguousarray(found[kind](), dtype=np.float32)
    return disturbed


def power(wave: npt.NDArray[np.floating]) -> float:
    """Mean square."""
    return float(np.mean(np.square(wave, dtype=np.float64)))


def add_noise(wave: Wave, noise: npt.NDArray[np.floating], snr: float) -> Wave:
    """Add noise at a signal-to-noise ratio in dB: mean powers over the whole utterance, pauses included.

    Silent speech has no such ratio and stays as it is. AudioError for silent noise.
    """
    level = power(noise)
    if level == 0:
        raise AudioError("noise that is silent cannot be brought to a signal-to-noise ratio. Take it out of the folder")
    scale = np.sqrt(power(wave) / level * 10 ** (-snr / 10))
    noisy: Wave = (wave + scale * noise).astype(np.float32)
    return noisy


def white(n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Gaussian noise of the same power in every Hz."""
    return rng.standard_normal(n)


def pink(n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Gaussian noise whose power density falls with 1/f, 3 dB per octave, from 20 Hz; below it is flat."""
    size = max(n, SAMPLE_RATE)  # a short piece of long noise, so that it has its lowest frequencies too
    spectrum = np.fft.rfft(rng.standard_normal(size))
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    spectrum[0] = 0
    shaped: npt.NDArray[np.float64] = np.fft.irfft(spectrum / np.sqrt(np.maximum(hertz, 20.0)), size)[:n]
    return shaped


def hum(n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """50 Hz and its harmonics up to 1 kHz, amplitudes 1/k, random phases."""
    harmonics = np.arange(1, 21)
    phases = rng.uniform(0, 2 * np.pi, (20, 1))
    angles = 2 * np.pi * 50 * harmonics[:, None] * np.arange(n) / SAMPLE_RATE + phases
    mixed: npt.NDArray[np.float64] = (np.sin(angles) / harmonics[:, None]).sum(0)
    return mixed


def babble(n: int, voices: Sequence[Wave], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Several voices of equal power at once; each is repeated as long as it takes and begins anywhere."""
    total = np.zeros(n)
    for voice in voices:
        level = power(voice)
        piece = excerpt(n, voice, rng)
        total += piece / np.sqrt(level) if level > 0 else 0.0
    return total


def excerpt(n: int, recording: Wave, rng: np.random.Generator) -> Wave:
    """A piece of a recording that begins anywhere; the recording goes round. A silent piece: the loudest instead."""
    start = int(rng.integers(len(recording)))
    piece: Wave = np.resize(np.roll(recording, -start), n)
    if not piece.any():
        piece = np.resize(np.roll(recording, -int(np.abs(recording).argmax())), n)
    return piece


def impulse_response(rt60: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A room's impulse response of unit energy: the direct sound, then exponentially decaying noise of equal energy.

    The level of the noise falls by 60 dB in `rt60` seconds (Polack, La transmission de l'énergie sonore dans les
    salles, 1988). As much direct as reverberant energy is what is heard at the critical distance.
    """
    seconds = np.arange(1, max(2, round(rt60 * SAMPLE_RATE))) / SAMPLE_RATE
    tail = rng.standard_normal(len(seconds)) * 10 ** (-3 * seconds / rt60)
    tail /= np.sqrt(np.square(tail).sum())
    response: npt.NDArray[np.float64] = np.concatenate([[1.0], tail]) / np.sqrt(2)
    return response


def reverberate(wave: Wave, response: npt.NDArray[np.floating]) -> Wave:
    """The waveform in a room; what sounds on after its end is cut off."""
    return np.asarray(fftconvolve(wave, response)[: len(wave)], dtype=np.float32)


def gain(wave: Wave, decibels: float) -> Wave:
    """Louder or softer by so many dB."""
    return (wave * 10 ** (decibels / 20)).astype(np.float32)


def clip(wave: Wave, percent: float) -> Wave:
    """Hard clipping at the level that `percent` of the samples exceed."""
    most = np.quantile(np.abs(wave), 1 - percent / 100)
    return wave.clip(-most, most)


def pad(wave: Wave, seconds: float) -> Wave:
    """Digital silence of so many seconds before, and as much after."""
    return np.pad(wave, round(seconds * SAMPLE_RATE))


def pitch(wave: Wave, semitones: float) -> Wave:
    """Higher or lower, at the same tempo: librosa's phase vocoder and resampling. Formants move along."""
    return _stretched(wave, lambda padded, effects: effects.pitch_shift(padded, sr=SAMPLE_RATE, n_steps=semitones), 1.0)


def tempo(wave: Wave, percent: float) -> Wave:
    """So many percent faster (or slower, below 0) at the same pitch: librosa's phase vocoder."""
    rate = 1 + percent / 100
    return _stretched(wave, lambda padded, effects: effects.time_stretch(padded, rate=rate), rate)


def _stretched(wave: Wave, change: Callable[..., Wave], rate: float) -> Wave:
    """What librosa makes of a waveform, which it wants no shorter than a frame."""
    import librosa

    shortest = int(np.ceil(2048 * max(1.0, rate))) * 2
    changed = change(np.pad(wave, (0, max(0, shortest - len(wave)))), librosa.effects)
    return fitted(changed, max(1, round(len(wave) / rate)))


def lose(wave: Wave, percent: float, rng: np.random.Generator, *, repeat: bool) -> Wave:
    """Lose 20 ms packets at random, each with the same probability; instead comes silence or the last one received.

    A strength's lost packets are among those of a greater one. Packets before the first that arrives are silence.
    """
    count = -(-len(wave) // PACKET)
    packets = np.pad(wave, (0, count * PACKET - len(wave))).reshape(count, PACKET)
    lost = rng.random(count) < percent / 100
    if repeat:
        last = np.maximum.accumulate(np.where(lost, -1, np.arange(count)))
        kept = np.where((last >= 0)[:, None], packets[last], 0)
    else:
        kept = np.where(lost[:, None], 0, packets)
    return np.asarray(kept.reshape(-1)[: len(wave)], dtype=np.float32)
