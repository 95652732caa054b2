"""What a clip does over time, coarsely and at next to no cost: its course, by which copies are looked for.

A course is the energy of the clip in three bands (0 to 500, 500 to 1000 and 1000 to 2000 Hz, what survives every
codec), every 25 ms. The signal is averaged down to about 4 kHz and split twice into sums and differences of neighbours
(Haar), all of it in one product. Energies are in dB relative to the loud parts, and `FLOOR` dB below these a third of
the floor is added to each, so that silence and faint noise look alike. One clip of a second has 120 bytes.

They are made while the audio of a corpus is read and are kept in the cache (see `course_shelf`).
"""

from __future__ import annotations

from functools import cache as memoise

import numpy as np
import numpy.typing as npt

Course = npt.NDArray[np.uint8]

VERSION = 2  #     raised whenever `course` gives other values
STEP = 0.025  #    seconds between two values
BANDS = 3
RATE = 4000  #     Hz, to which a clip is averaged down
FLOOR = 20.0  #    dB below the loud parts
UNITS = 4  #       per dB

_QUIETEST = 1e-12  # power of loud parts; full scale is 1


@memoise
def _haar(width: int) -> npt.NDArray[np.float32]:
    """From 4 * width samples to a value of the lowest band, one of the next and two of the highest: (4, 4 * width)."""
    mean = np.full(width, 1 / width)
    split = [(1 / 4, 1 / 4, 1 / 4, 1 / 4), (1 / 2, 1 / 2, -1 / 2, -1 / 2), (0.5**0.5, -(0.5**0.5), 0, 0)]
    return np.kron([*split, split[-1][::-1]], mean).astype(np.float32)


def course(samples: npt.NDArray[np.float32], rate: int) -> Course:
    """The course of a mono signal (n,): shape (steps, BANDS), lowest band first, in quarters of a dB above the floor.

    All zero for silence; no step for less than 25 ms.
    """
    # Rates that are no multiple of 4 kHz are raised to one that nearly is: bands must lie alike in all copies.
    times = next((m for m in (1, 2, 3) if abs(rate * m / RATE / max(1, round(rate * m / RATE)) - 1) < 0.015), 4)
    width = max(1, round(rate * times / RATE))
    if times > 1:
        samples = np.repeat(samples, times)
    steps = int(len(samples) // width * width / (rate * times) / STEP)
    if not steps:
        return np.zeros((0, BANDS), np.uint8)
    split = _haar(width)
    bands = split @ samples[: len(samples) // split.shape[1] * split.shape[1]].reshape(-1, split.shape[1]).T
    bands[0] -= bands[0].mean()
    bands *= bands
    bands[2] += bands[3]
    # Half steps begin at these positions. A value takes in half of the step before, so that a cut between steps
    # changes little.
    edges = (np.arange(2 * steps) * (STEP / 2 * rate * times / split.shape[1])).astype(np.int64)
    edges = np.minimum(edges, bands.shape[1] - 1)
    counts = np.maximum(np.append(edges[1:], bands.shape[1]) - edges, 1)
    halves = np.add.reduceat(bands[:BANDS], edges, axis=1) / counts
    power = halves[:, ::2] + halves[:, 1::2]
    power[:, 1:] += halves[:, 1:-1:2]
    power = power.T
    loudness = power.sum(1)
    loud = max(float(np.partition(loudness, int(0.95 * (steps - 1)))[int(0.95 * (steps - 1))]), _QUIETEST)
    floor = 10 ** (-FLOOR / 10) / BANDS
    above = 10 * np.log10(power / loud / floor + 1)
    beside = np.concatenate((above[:1], above, above[-1:]))
    above = (beside[:-2] + beside[2:]) / 4 + above / 2
    return np.asarray(np.clip(np.rint(UNITS * above), 0, 255), dtype=np.uint8)
