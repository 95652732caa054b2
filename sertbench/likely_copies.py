"""Which of many clips may be copies of each other, told from their courses.

Pairs that share a piece (see `pieces`) are compared over all that they have in common, as the piece says how they lie.
Each value is set beside its local mean: syllables count, silence before them does not. First the loudness is compared,
at two whole steps; from a correlation of `ROUGHLY` on all bands are, at four half steps. From `ALIKE` on, a pair is
likely.

Calibration. None of 1,792 copies of EMO-DB and RAVDESS clips (see `pieces`) was lost; at an `ALIKE` of 0.95 two would
be. The mean level of a band differed by 0.46 dB at most, beside those of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from sertbench import pieces
from sertbench.courses import BANDS, STEP, UNITS, Course
from sertbench.machine import cores
from sertbench.pieces import Array, Ints

ROUGHLY = 0.75
ALIKE = 0.94
TILTED = 0.8  #        dB by which the mean level of a band may differ, beside those of the others
LOCAL = 6  #           steps to either side, to the mean of which a value is compared

_BESIDE = range(-1, 3)  # half steps beside a shift that are tried: candidates have theirs in whole steps, rounded down
_TABLE = 1 << 19  #    steps compared together: no table grows with the corpus, and few threads wait for each other


def likely_copies(courses: Sequence[Course], seconds: Sequence[float]) -> list[tuple[int, int, float]]:
    """Pairs i < j, ascending, of clips that may be copies, and the seconds by which j's start lies after i's."""
    with ThreadPoolExecutor(cores(), thread_name_prefix="copies") as pool:
        i, j, shift = pieces.candidates(courses, np.asarray(seconds, dtype=np.float64), pool)
        if not len(i):
            return []
        both = _Courses(courses)
        steps = both.common(i, j, shift)[1]
        order = np.argsort(steps, kind="stable")  # so that those compared together are as long
        tables = np.cumsum(steps[order]) // _TABLE
        blocks = np.split(order, np.flatnonzero(np.diff(tables)) + 1)
        best: dict[tuple[int, int], tuple[float, float]] = {}
        for pairs, alike, where in pool.map(lambda rows: both.compare(i[rows], j[rows], shift[rows]), blocks):
            for pair, one, seconds_later in zip(pairs.tolist(), alike.tolist(), where.tolist(), strict=True):
                best[tuple(pair)] = max(best.get(tuple(pair), (0.0, 0.0)), (one, seconds_later))
    return [(*pair, later) for pair, (_, later) in sorted(best.items())]


class _Courses:
    """Courses in one row, for looking at many pairs together."""

    def __init__(self, courses: Sequence[Course]) -> None:
        self.lengths = np.array([len(c) for c in courses])
        self.firsts = np.cumsum(self.lengths) - self.lengths
        self.bands = np.concatenate(courses)
        loudness = self.bands.sum(1, dtype=np.float32)
        steps, owner = np.arange(len(loudness)), np.repeat(np.arange(len(courses)), self.lengths)
        first, end = self.firsts[owner], (self.firsts + self.lengths)[owner]
        low, high = np.maximum(steps - LOCAL, first), np.minimum(steps + LOCAL + 1, end)
        sums = np.concatenate(([0], np.cumsum(loudness, dtype=np.float64)))
        # A zero before each clip and after the last: what lies beyond a clip adds nothing to a product.
        self.zeros = np.append(self.firsts, len(loudness)) + np.arange(len(courses) + 1)
        self.loudness = np.zeros(len(loudness) + len(self.zeros), np.float32)
        self.loudness[steps + owner + 1] = loudness - (sums[high] - sums[low]) / (high - low)
        self.energy = np.concatenate(([0], np.cumsum(self.loudness.astype(np.float64) ** 2)))  # before each place

    def common(self, i: Ints, j: Ints, shift: Ints) -> tuple[Ints, Ints]:
        """Of each pair the step of i with which their common part begins, and how many steps it has."""
        start = np.maximum(0, shift)
        return start, np.minimum(self.lengths[i], self.lengths[j] + shift) - start

    def compare(self, i: Ints, j: Ints, shift: Ints) -> tuple[Ints, Array, Array]:
        """The likely ones (n, 2) among pairs, how alike they are, and the seconds by which j's start lies after i's."""
        rough = self._rough(i, j, shift) >= ROUGHLY
        i, j, shift = i[rough], j[rough], shift[rough]
        alike, where = self._fine(i, j, shift) if len(i) else (np.zeros(0, np.float32), shift)
        likely = alike >= ALIKE
        return np.stack([i, j], axis=1)[likely], alike[likely], where[likely] * (STEP / 2)

    def _rough(self, i: Ints, j: Ints, shift: Ints) -> npt.NDArray[np.float64]:
        """Correlation of the loudness of the common parts at a shift in steps or at the next, whichever is higher."""
        start = np.maximum(0, shift)
        step = np.arange(int(self.common(i, j, shift)[1].max(initial=0)) + 2)
        first, other = self.zeros[i] + 1 + start, self.zeros[j] + start - shift
        mine = self.loudness[np.minimum(first[:, None] + step[:-1], self.zeros[i + 1, None])]
        theirs = self.loudness[np.minimum(other[:, None] + step, self.zeros[j + 1, None])]
        found = np.zeros(len(i))
        for later in (0, 1):
            product = np.einsum("nt,nt->n", mine, theirs[:, 1 - later : len(step) - later])
            begin, width = self.common(i, j, shift + later)
            one, two = self.zeros[i] + 1 + begin, self.zeros[j] + 1 + begin - shift - later
            width = np.maximum(width, 0)
            energy = (self.energy[one + width] - self.energy[one]) * (self.energy[two + width] - self.energy[two])
            found = np.maximum(found, product / np.sqrt(np.maximum(energy, 1e-6)))
        return found

    def _fine(self, i: Ints, j: Ints, shift: Ints) -> tuple[Array, Ints]:
        """The highest correlation of the common parts near a shift in steps, and where, in half steps."""
        start, width = self.common(i, j, shift)
        step = np.arange(int(width.max()))
        inside = (step < width[:, None])[..., None]
        at = np.minimum(step, width[:, None] - 1)
        mine = self.bands[(self.firsts[i] + start)[:, None] + at].astype(np.float32)
        there = np.clip((start - shift)[:, None] + np.arange(-2, len(step) + 2), 0, self.lengths[j, None] - 1)
        theirs = self.bands[self.firsts[j, None] + there].astype(np.float32)
        late = [theirs[:, k : k + len(step)] for k in range(5)]  # two steps earlier in theirs, one, none...
        at_half = {-1: pieces.between(*late[1:]), 0: late[2], 1: pieces.between(*late[:4]), 2: late[1]}
        tilt = ((mine - late[2]) * inside).sum(1) / width[:, None] / UNITS
        tilted = np.abs(tilt - tilt.mean(1, keepdims=True)).max(1) > TILTED
        mine = _beside_mean(mine, inside)
        best, where = np.zeros(len(i), np.float32), 2 * shift
        for beside in _BESIDE:
            alike = _correlation(mine, _beside_mean(at_half[beside], inside))
            where = np.where(alike > best, 2 * shift + beside, where)
            best = np.maximum(best, alike)
        return np.where(tilted, 0, best).astype(np.float32), where


def _correlation(some: Array, others: Array) -> Array:
    """Of each of some (n, steps, bands) with its other one."""
    energy = np.einsum("ntb,ntb->n", some, some) * np.einsum("ntb,ntb->n", others, others)
    return np.asarray(np.einsum("ntb,ntb->n", some, others) / np.sqrt(np.maximum(energy, 1e-6)), dtype=np.float32)


def _beside_mean(values: Array, inside: npt.NDArray[np.bool_]) -> Array:
    """Values (n, steps, bands) less the mean of those `LOCAL` steps around that are inside; 0 outside."""
    n, steps, _ = values.shape
    sums = np.zeros((n, steps + 1, BANDS + 1), np.float32)
    np.cumsum(np.concatenate([values * inside, inside.astype(np.float32)], axis=2), axis=1, out=sums[:, 1:])
    step = np.arange(steps)
    around = sums[:, np.minimum(step + LOCAL + 1, steps)] - sums[:, np.maximum(step - LOCAL, 0)]
    return np.asarray((values - around[..., :-1] / np.maximum(around[..., -1:], 1)) * inside, dtype=np.float32)
