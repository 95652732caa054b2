"""Near-identical audio: copies of a clip that were resampled, re-encoded, cut at an end or changed in level.

Method. The fingerprint of a clip is its energy in `BANDS` mel-spaced bands between 200 and 3400 Hz (what survives
telephone rates and usual codecs), in dB relative to the clip's loud frames and clamped `FLOOR` dB below them, in 40 ms
frames every 10 ms. Pairs are then found in two steps.

1. Candidates: pairs whose courses, a coarser picture made while the audio is read (`courses`), are alike; see
   `likely_copies`. Only their clips have fingerprints.
2. Confirmation: at the best shift to 10 ms, over the frames in which either clip is above its floor,

       agreement = 1 - sum((A - B - mean(A - B))^2) / (sum((A - mean_t A)^2) + sum((B - mean_t B)^2))

   with A, B the overlapping parts in dB: the share of the variance over time that the two have in common, lowered by
   any difference of their mean spectra. It is 1 for a copy at any level and about 0 for unrelated signals. A pair
   counts from `AGREEMENT` on, if the common part is `MIN_OVERLAP` of the longer clip or more.

Calibration. The least agreement of copies of 100 EMO-DB clips was 0.983 after mp3, ogg, opus, mu-law, 8 kHz, 20 dB less
or noise 30 dB down, and 0.953 after cuts at both ends that fall between frames. The most between different recordings
was 0.912 on RAVDESS (same actor, sentence and emotion) and below 0.8 on EMO-DB, 0.937 among pieces of 0.6 to 1 s.

Two clips that merely share a part are not copies here, and neither are steady signals (tones, hum, silence) or less
than half a second of sound. Copies that were time-stretched, pitch-shifted, filtered, mixed, clipped hard or encoded at
8 kbit/s are beyond this method, and so are cuts of a third of a clip or of most of its loud part.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache as memoise
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy  # loads its parts when they are first used

from sertbench import audio
from sertbench.courses import Course
from sertbench.feature_spec import SAMPLE_RATE
from sertbench.likely_copies import likely_copies
from sertbench.machine import cores
from sertbench.pieces import MIN_OVERLAP

Array = npt.NDArray[np.float32]
Fingerprint = npt.NDArray[np.uint8]

VERSION = 2  #         raised whenever the search gives other pairs
WINDOW = 640  #        samples per frame: 40 ms
HOP = 160  #           samples between frames: 10 ms
BANDS = 16
LOWEST, HIGHEST = 200.0, 3400.0  # Hz
FLOOR = 40.0  #        dB below the loud frames
STEPS = 4  #           fingerprint units per dB
MIN_ACTIVE = 50  #     frames above the floor in the common part: half a second
MIN_SPREAD = 2.0  #    dB: a signal whose bands vary less over time (standard deviation) is steady
AGREEMENT = 0.95
PROMISING = 0.6  #     agreement of a copy that is laid 15 ms beside its place, with room to spare

_NEAR = 5  #           frames beside the shift that courses tell, in which the best one is looked for
_KEPT = 8000  #        fingerprints in memory at once, some 5 kB each


@memoise
def _analysis() -> tuple[Array, npt.NDArray[np.int64]]:
    """The window (WINDOW,) and the first spectral bin of each band, with the one after the last: (BANDS + 1,)."""
    mel = np.linspace(2595 * np.log10(1 + LOWEST / 700), 2595 * np.log10(1 + HIGHEST / 700), BANDS + 1)
    edges = 700 * (10 ** (mel / 2595) - 1)
    return np.hanning(WINDOW).astype(np.float32), np.ceil(edges * WINDOW / SAMPLE_RATE).astype(np.int64)


def fingerprint(wave: npt.NDArray[np.float32]) -> Fingerprint:
    """Band energies over time of a mono 16 kHz signal (samples,): shape (frames, BANDS), uint8, in quarters of a dB.

    0 is FLOOR dB below the 95th percentile over frames of the loudest band. A signal shorter than a frame is padded
    with zeros.
    """
    window, edges = _analysis()
    wave = np.pad(wave, (0, max(0, WINDOW - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP] * window
    spectrum = scipy.fft.rfft(frames, axis=1)[:, : edges[-1]]
    power = np.add.reduceat(spectrum.real**2 + spectrum.imag**2, edges[:-1], axis=1) / np.diff(edges).astype(np.float32)
    decibels = 10 * np.log10(power + 1e-14)
    loud = np.percentile(decibels.max(1), 95)
    frames_above: Fingerprint = np.clip(np.rint((decibels - loud + FLOOR) * STEPS), 0, 255).astype(np.uint8)
    return frames_above


def near_duplicates(
    courses: Sequence[Course], seconds: Sequence[float], wave_of: Callable[[int], Array]
) -> list[tuple[int, int, float]]:
    """Pairs (i, j, agreement), i < j, of clips that are copies of each other, ascending; exact copies are among them.

    `seconds` are the durations of the clips, and `wave_of` gives the samples of one at 16 kHz; threads call it.
    """

    @lru_cache(_KEPT)
    def print_of(k: int) -> Fingerprint:
        return fingerprint(wave_of(k))

    def confirmed(pair: tuple[int, int, float]) -> tuple[int, int, float]:
        i, j, later = pair
        return i, j, _best_agreement(print_of(i), print_of(j), round(later * SAMPLE_RATE / HOP))

    pairs = likely_copies(courses, seconds)
    with ThreadPoolExecutor(cores(), thread_name_prefix="fingerprints") as pool:
        return [pair for pair in pool.map(confirmed, pairs) if pair[2] >= AGREEMENT]


def near_copies(
    paths: Sequence[Path],
    audio_sha256: Sequence[str],
    courses: Sequence[Course],
    seconds: Sequence[float],
    channel: str,
) -> list[tuple[int, int]]:
    """Pairs of positions i < j, ascending, of files whose audio is nearly the same, or the same and not silent.

    Raises AudioError for a file that cannot be read any more.
    """
    groups: dict[str, list[int]] = {}
    for k, sha in enumerate(audio_sha256):
        groups.setdefault(sha, []).append(k)
    same = list(groups.values())
    first = [group[0] for group in same]
    found = near_duplicates(
        [courses[k] for k in first], [seconds[k] for k in first], lambda n: audio.load(paths[first[n]], channel)
    )
    pairs = {(min(p), max(p)) for a, b, _ in found for p in itertools.product(same[a], same[b])}
    sounding = [group for group in same if courses[group[0]].any()]
    return sorted(pairs.union(*(itertools.combinations(group, 2) for group in sounding)))


def _best_agreement(a: Fingerprint, b: Fingerprint, shift: int) -> float:
    """Agreement at the best shift near `shift`: every third one, then the neighbours of the best of these."""
    near = {s: agreement(a, b, s) for s in range(shift - _NEAR, shift + _NEAR + 1, 3)}
    best = max(near, key=near.__getitem__)
    if near[best] < PROMISING:
        return near[best]
    return max(near[best], agreement(a, b, best - 1), agreement(a, b, best + 1))


def agreement(a: Fingerprint, b: Fingerprint, shift: int) -> float:
    """Agreement (formula above) of two fingerprints where frame t of `b` is laid on frame t + shift of `a`.

    0 where the common part is too short, too quiet or too steady.
    """
    start, end = max(0, shift), min(len(a), len(b) + shift)
    if end - start < MIN_OVERLAP * max(len(a), len(b)):
        return 0.0
    a, b = a[start:end], b[start - shift : end - shift]
    active = np.maximum(a, b).max(1) > 0
    if active.sum() < MIN_ACTIVE:
        return 0.0
    return _agreement(a[active].astype(np.float32), b[active].astype(np.float32))


def _agreement(a: Array, b: Array) -> float:
    """Agreement of two (frames, BANDS) arrays of the same shape."""
    # A cut or a clipped peak moves what 0 means; the clip with the higher floor sets it for both.
    both = (a > 0) & (b > 0)
    offset = float((a - b).mean(where=both)) if both.any() else 0.0
    a, b = np.maximum(a, offset), np.maximum(b + offset, 0)
    spread = _deviation(a, 0) + _deviation(b, 0)
    if spread < 2 * a.size * (STEPS * MIN_SPREAD) ** 2:
        return 0.0
    return 1 - _deviation(a - b, None) / spread


def _deviation(x: Array, axis: int | None) -> float:
    """Sum of squared deviations from the mean over `axis`."""
    mean = x.mean(axis)
    return float(np.vdot(x, x) - np.vdot(mean, mean) * (x.size / mean.size))
