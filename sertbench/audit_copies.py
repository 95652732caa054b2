"""Copies of clips in a whole corpus, found in little more time than it takes to read it.

What a copy is, `duplicates` says: there, every clip has a fingerprint of its spectrum, which takes longer than decoding
it. Here each clip has a course first, its loudness below 2 kHz over time, which costs next to nothing. Pairs of clips
whose courses agree at some shift are then compared by their fingerprints; no others have any.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from sertbench import audio, duplicates

Course = npt.NDArray[np.float16]

STEP = 0.025  #     seconds between two values of a course
BAND = 4000  #      Hz: about the rate to which a clip is averaged down; what survives every codec is below half of it
FLOOR = 20.0  #     dB below the loud parts, where courses end: noise that was added does not show
LOCAL = 13  #       steps, to the mean of which the course is compared: syllables count, silence before them does not
LIKELY = 0.7  #     correlation of whole courses that no copy stays below, unless much of it was cut off
ALIKE = 0.91  #     correlation of the common part, from which two clips are compared by their fingerprints
_SHIFTS = round(duplicates.MAX_CUT / STEP)  # to either side
_BLOCK = 256  #     clips compared with others at once
_KEPT = 2000  #     fingerprints in memory at once, some 5 kB each


def course(samples: npt.NDArray[np.float32], rate: int) -> Course:
    """Loudness of a mono signal (n,) beside its local mean: (steps,), unit norm; all zero for steady sound."""
    width = max(1, rate // BAND)
    low = samples[: len(samples) // width * width].reshape(-1, width) @ np.full(width, 1 / width, np.float32)
    steps = int(len(low) * width / rate / STEP)
    if steps < LOCAL:
        return np.zeros(steps, np.float16)
    # A value takes in half a step before its own, so that a cut between steps changes little.
    edges = (np.arange(2 * steps) * (STEP / 2 * rate / width)).astype(np.int64)
    halves = np.add.reduceat(low * low, edges)
    power = halves[::2] + halves[1::2]
    power[1:] += halves[1:-1:2]
    decibels = 10 * np.log10(power + 1e-12)
    loud = np.partition(decibels, int(0.95 * (steps - 1)))[int(0.95 * (steps - 1))]
    above = np.maximum(decibels - loud + FLOOR, 0)
    above -= scipy.ndimage.uniform_filter1d(above, LOCAL, mode="nearest")
    above = scipy.ndimage.convolve1d(above, (0.25, 0.5, 0.25), mode="nearest")
    norm = float(np.linalg.norm(above))
    return np.asarray(above / norm if norm > np.sqrt(steps) else 0 * above, dtype=np.float16)


def likely(courses: Sequence[Course], seconds: Sequence[float]) -> list[tuple[int, int]]:
    """Pairs i < j, ascending, of clips whose courses agree at some shift and whose durations let them be copies."""
    order = np.argsort(seconds, kind="stable")
    lengths = np.asarray(seconds)[order]

    def of_block(start: int) -> list[tuple[int, int]]:
        stop = min(start + _BLOCK, len(order))
        end = int(np.searchsorted(lengths, lengths[stop - 1] + 2 * duplicates.MAX_CUT, side="right"))
        found: list[tuple[int, int]] = []
        for others in range(start, end, 4 * _BLOCK):  # so that no table grows with the corpus
            block, beside = order[start:stop], order[others : min(others + 4 * _BLOCK, end)]
            i, j = np.nonzero(_best([courses[k] for k in block], [courses[k] for k in beside]) >= LIKELY)
            near = (start + i < others + j) & (lengths[others + j] - lengths[start + i] <= 2 * duplicates.MAX_CUT)
            a, b = block[i[near]], beside[j[near]]
            for first in range(0, len(a), _BLOCK):
                one, other = a[first : first + _BLOCK], b[first : first + _BLOCK]
                alike = _common([courses[k] for k in one], [courses[k] for k in other]) >= ALIKE
                found += zip(one[alike].tolist(), other[alike].tolist(), strict=True)
        return found

    with ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="copies") as pool:
        blocks = pool.map(of_block, range(0, len(order), _BLOCK))
        return sorted((min(pair), max(pair)) for pairs in blocks for pair in pairs)


def _table(courses: Sequence[Course], before: int, width: int) -> npt.NDArray[np.float32]:
    table = np.zeros((len(courses), width), np.float32)
    for row, values in zip(table, courses, strict=True):
        row[before : before + len(values)] = values
    return table


def _best(block: Sequence[Course], others: Sequence[Course]) -> npt.NDArray[np.float32]:
    """The highest correlation, over every second shift, of every clip of the block with every other one."""
    width = max(map(len, block))
    mine = _table(block, 0, width)
    theirs = np.ascontiguousarray(_table(others, _SHIFTS, max(width, *map(len, others)) + 2 * _SHIFTS).T)
    best = np.zeros((len(block), len(others)), np.float32)
    likeness = np.empty_like(best)
    for shift in range(0, 2 * _SHIFTS + 1, 2):
        np.matmul(mine, theirs[shift : shift + width], out=likeness)
        np.maximum(best, likeness, out=best)
    return best


def _common(some: Sequence[Course], others: Sequence[Course]) -> npt.NDArray[np.float32]:
    """For each pair, the highest correlation over all shifts of the part that the two have in common."""
    best = np.zeros(len(some), np.float32)
    if not len(some):
        return best
    width = max(map(len, some))
    mine = _table(some, 0, width)
    inside = np.arange(width) < np.array([[len(c)] for c in some])
    span = max(width, *map(len, others)) + 2 * _SHIFTS
    theirs = _table(others, _SHIFTS, span)
    there = (np.arange(span) >= _SHIFTS) & (np.arange(span) < _SHIFTS + np.array([[len(c)] for c in others]))
    for shift in range(2 * _SHIFTS + 1):
        a, b = mine * there[:, shift : shift + width], theirs[:, shift : shift + width] * inside
        energy = np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b)
        likeness = np.einsum("ij,ij->i", a, b) / np.sqrt(np.maximum(energy, 1e-6))
        # What is left in common must be most of both, or nothing would be said by its likeness.
        best = np.maximum(best, np.where(energy > 0.1, likeness, 0))
    return best


def near_copies(
    paths: Sequence[Path], courses: Sequence[Course], seconds: Sequence[float], channel: str
) -> list[tuple[int, int]]:
    """Pairs i < j of clips that are nearly the same by `duplicates.near_duplicates`, ascending.

    Clips with equal samples should be handed over once. Raises AudioError for a file that changed since it was read.
    """

    @lru_cache(_KEPT)
    def fingerprint(k: int) -> duplicates.Fingerprint:
        return duplicates.fingerprint(audio.load(paths[k], channel))

    def same(pair: tuple[int, int]) -> bool:
        prints = [fingerprint(k) for k in pair]
        return bool(duplicates.near_duplicates(prints, [seconds[k] for k in pair]))

    pairs = likely(courses, seconds)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="copies") as pool:
        return [pair for pair, copied in zip(pairs, pool.map(same, pairs), strict=True) if copied]
