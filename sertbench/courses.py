"""What a clip does over time, coarsely and at next to no cost: its course, by which copies are looked for.

A course is the energy of the clip in three bands (0 to 500, 500 to 1000 and 1000 to 2000 Hz, what survives every
codec), every 25 ms. The signal is averaged down to about 4 kHz and split twice into sums and differences of neighbours
(Haar). Energies are in dB relative to the loud parts, and `FLOOR` dB below these a third of the floor is added
to each, so that silence and faint noise look alike. One clip of a second has 120 bytes.

They are made while the audio of a corpus is read and are kept in the cache (see `course_shelf`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy  # loads its parts when they are first used

Course = npt.NDArray[np.uint8]

VERSION = 1  #     raised whenever `course` gives other values
STEP = 0.025  #    seconds between two values
BANDS = 3
RATE = 4000  #     Hz, to which a clip is averaged down
FLOOR = 20.0  #    dB below the loud parts
UNITS = 4  #       per dB

_QUIETEST = 1e-12  # power of loud parts; full scale is 1


def course(samples: npt.NDArray[np.float32], rate: int) -> Course:
    """The course of a mono signal (n,): shape (steps, BANDS), lowest band first, in quarters of a dB above the floor.

    All zero for silence; no step for less than 25 ms.
    """
    # Rates that are no multiple of 4 kHz are raised to one that nearly is: bands must lie alike in all copies.
    times = next((m for m in (1, 2, 3) if abs(rate * m / RATE / max(1, round(rate * m / RATE)) - 1) < 0.015), 4)
    width = max(1, round(rate * times / RATE))
    if times > 1:
        samples = np.repeat(samples, times)
    low = samples[: len(samples) // width * width].reshape(-1, width) @ np.full(width, 1 / width, np.float32)
    steps = int(len(low) * width / (rate * times) / STEP)
    if not steps:
        return np.zeros((0, BANDS), np.uint8)
    low -= low.mean()
    half, high = (low[: len(low) // 2 * 2 : 2] + low[1::2]) / 2, low[: len(low) // 2 * 2 : 2] - low[1::2]
    lowest, middle = (half[: len(half) // 2 * 2 : 2] + half[1::2]) / 2, half[: len(half) // 2 * 2 : 2] - half[1::2]
    # Half steps begin at these positions of `lowest`. A value takes in half of the step before, so that a cut between
    # steps changes little.
    edges = np.minimum((np.arange(2 * steps) * (STEP / 2 * rate * times / width / 4)).astype(np.int64), len(lowest) - 1)
    share = 1 / np.maximum(np.append(edges[1:], len(lowest)) - edges, 1)
    power = np.empty((steps, BANDS), np.float32)
    for band, (part, fine) in enumerate(((lowest, 1), (middle, 1), (high, 2))):
        halves = np.add.reduceat(part * part, edges * fine) * (share / fine)
        power[:, band] = halves[::2] + halves[1::2]
        power[1:, band] += halves[1:-1:2]
    loudness = power.sum(1)
    loud = max(float(np.partition(loudness, int(0.95 * (steps - 1)))[int(0.95 * (steps - 1))]), _QUIETEST)
    floor = 10 ** (-FLOOR / 10) / BANDS
    above = 10 * np.log10(power / loud / floor + 1)
    above = scipy.ndimage.convolve1d(above, (0.25, 0.5, 0.25), axis=0, mode="nearest")
    return np.asarray(np.clip(np.rint(UNITS * above), 0, 255), dtype=np.uint8)
