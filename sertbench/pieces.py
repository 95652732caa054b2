"""Clips that share a piece of their courses, found by keys. Only pieces with the same key of 1,024 meet.

A piece is 17 steps of a course (425 ms), at whole and half steps. Its picture is 16 numbers, each divided by its usual
spread: the lowest cosine terms over time, but for the mean, of the loudness (10) and of the tilt (6), which are the two
most telling sums of the bands. The signs of the 10 widest are the piece's key. A clip is represented by 10 pieces and 4
more per second: those whose key is farthest from a change of sign, among the pieces that have sound in 3/5 of their
steps, since the rise out of silence is alike in all clips. Pieces with the same key are compared; a cosine of `SIMILAR`
between their pictures makes a candidate, at the shift that lays one on the other.

The keys are in the manner of Haitsma & Kalker (ISMIR 2002), with terms in place of differences.

Calibration. Of 1,792 copies of 100 EMO-DB and RAVDESS clips (mp3, ogg, opus, mu-law, 8 to 48 kHz, 20 dB less, noise
30 dB down, cuts of up to 0.5 s between frames, silence around) none was lost; at a `SIMILAR` of 0.9 one would be, and
four at 0.93. Of 355 parts of 0.6 to 1.1 s, cut by up to a third once more, 20 were lost: such clips have few pieces.
Settings were chosen on these same copies. Of 3,586 copies of 200 other clips, made afterwards, 2 were lost, both
brought to 8 kHz, cut, halved in level and coded as MP3.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import cache as memoise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from sertbench.courses import BANDS, STEP, UNITS, Course

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

MAX_CUT = 0.5  #       seconds that may be missing at either end
MIN_OVERLAP = 2 / 3  # of the longer clip
WIDTH = 17  #          steps of a piece
PIECES, PER_SECOND = 10, 4  # of a clip
SOUND = 0.6  #         share of a piece's steps that are more than QUIET above the floor in some band
QUIET = 3.0  #         dB
LEAST = 2.0  #         dB, root mean square, by which a piece varies over time
SIMILAR = 0.88
SHORT = 1.2  #         seconds: shorter clips have few pieces, and those beside one another are taken too
VOTES = 2  #           similar pieces at one shift, to a step, that copies share
# Of EMO-DB and RAVDESS: the first two principal components of the bands, and the root mean square in dB of each term.
LOUDNESS, TILT = (0.464, 0.665, 0.586), (-0.810, 0.050, 0.584)
SPREAD = (
    (21.5, 19.5, 15.8, 12.6, 9.7, 7.2, 5.0, 3.5, 2.4, 1.6),
    (6.2, 5.4, 4.1, 3.1, 2.3, 1.7),
)
KEY_BITS = 10

_SPREADS = np.array(sum(SPREAD, ()), np.float32)
_KEY = np.argsort(-_SPREADS, kind="stable")[:KEY_BITS]
_TOGETHER = 64  #     clips, or keys, looked at together, so that no table grows with the corpus
_ROWS, _COLUMNS = 256, 8192  # pieces of one key that are compared with others of it
_REACH = round(2 * (MAX_CUT + STEP) / STEP)  # half steps by which pieces of copies begin apart at most


class _Pieces(NamedTuple):
    """Pieces of many clips: key (n,), clip (n,), first half step (n,), and picture (n, terms) of unit norm."""

    key: npt.NDArray[np.int16]
    clip: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    picture: npt.NDArray[np.float16]


def candidates(
    courses: Sequence[Course], durations: npt.NDArray[np.float64], pool: Executor
) -> tuple[Ints, Ints, Ints]:
    """Pairs i < j of clips with a similar piece, and the whole steps by which j's start lies after i's, rounded down.

    A pair may come with several shifts. `durations` are in seconds.
    """
    parts = list(
        pool.map(lambda first: _pieces(courses[first : first + _TOGETHER], first), range(0, len(courses), _TOGETHER))
    )
    if not parts:
        return _split(np.zeros(0, np.int64), 1)
    pieces = _Pieces(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    order = np.lexsort((pieces.start, pieces.key))
    pieces = _Pieces(pieces.key[order], pieces.clip[order], pieces.start[order], pieces.picture[order])
    edges = np.flatnonzero(np.diff(pieces.key, prepend=-1, append=-1))
    found = pool.map(
        lambda first: _similar(pieces, edges[first : first + _TOGETHER + 1], durations),
        range(0, len(edges) - 1, _TOGETHER) if len(order) else (),
    )
    places, votes = np.unique(np.concatenate([np.zeros(0, np.int64), *found]), return_counts=True)
    i, j, shift = _split(places, len(courses))
    neighbours = np.flatnonzero(np.diff(places) == 1)  # the next place is the same pair, a step later
    beside = np.zeros_like(votes)
    beside[neighbours] = votes[neighbours + 1]
    beside[neighbours + 1] = np.maximum(beside[neighbours + 1], votes[neighbours])
    told = votes + beside >= VOTES
    return i[told], j[told], shift[told]


@memoise
def _basis() -> Array:
    """From a piece (BANDS * WIDTH,) to its terms."""
    over_time = scipy.fft.dct(np.eye(WIDTH), norm="ortho", axis=1)
    terms = [
        np.outer(w, over_time[:, k + 1]) for w, n in zip((LOUDNESS, TILT), SPREAD, strict=True) for k in range(len(n))
    ]
    return np.stack([term.ravel() for term in terms], axis=1).astype(np.float32)


def _pieces(courses: Sequence[Course], number: int) -> _Pieces:
    """The pieces that represent each of some clips, the first of which has this number."""
    lengths = np.array([len(c) for c in courses])
    whole = np.concatenate(courses).astype(np.float32)
    owner, starts = np.repeat(np.arange(len(courses)), lengths), len(whole) - WIDTH + 1
    # Two columns: pieces that begin with a step, and half a step later. How far the key is from a change of sign:
    reliable = np.zeros((max(starts, 0), 2), np.float32)
    terms = np.zeros((*reliable.shape, len(_SPREADS)), np.float32)
    sounding = np.concatenate(([0], np.cumsum(whole.max(1, initial=0) > UNITS * QUIET)))
    enough = sounding[WIDTH:] - sounding[:-WIDTH] >= SOUND * WIDTH
    for half, values, before, after in (
        (0, whole, 0, 0),
        (1, between(*(whole[k : len(whole) - 3 + k] for k in range(4))), 1, 2),
    ):
        first = np.arange(before, starts - after)
        first = first[enough[before : starts - after] & (owner[first - before] == owner[first + WIDTH - 1 + after])]
        if not len(first):
            continue
        windows = np.lib.stride_tricks.sliding_window_view(values, WIDTH, axis=0)
        here = windows[first - before].reshape(len(first), -1) @ _basis()
        varied = np.einsum("nt,nt->n", here, here) >= BANDS * WIDTH * (UNITS * LEAST) ** 2
        terms[first, half] = here = here / (UNITS * _SPREADS)
        reliable[first, half] = np.abs(here[:, _KEY]).min(1) * varied
    far = reliable.ravel()
    short = np.repeat(lengths[owner[: max(starts, 0)]] < SHORT / STEP, 2)
    peaks = np.flatnonzero((far > 0) & (short | (far >= scipy.ndimage.maximum_filter1d(far, 5))))
    peaks = peaks[np.lexsort((-far[peaks], owner[peaks // 2]))]
    clip = owner[peaks // 2]
    rank = np.arange(len(peaks)) - np.searchsorted(clip, clip)
    kept = rank < (PIECES + PER_SECOND * STEP * lengths[clip]).astype(np.int64)
    peaks, clip = peaks[kept], clip[kept]
    terms = terms.reshape(-1, len(_SPREADS))[peaks]
    key = (terms[:, _KEY] > 0) @ (1 << np.arange(len(_KEY)))
    picture = terms / np.linalg.norm(terms, axis=1, keepdims=True)
    first = (np.cumsum(lengths) - lengths)[clip]
    return _Pieces(
        key.astype(np.int16), (number + clip).astype(np.int32), (peaks - 2 * first).astype(np.int32),
        picture.astype(np.float16),
    )  # fmt: skip


def between(before: Array, here: Array, after: Array, beyond: Array) -> Array:
    """Values half a step after `here`: the cubic through four."""
    return np.asarray((9 * (here + after) - before - beyond) / 16, dtype=np.float32)


def _similar(pieces: _Pieces, edges: Ints, durations: npt.NDArray[np.float64]) -> Ints:
    """Pairs of clips with similar pieces of the same key, each key's pieces between two `edges`; see `_joined`."""
    found = [np.zeros(0, np.int64)]
    for first, stop in itertools.pairwise(edges.tolist()):
        starts, pictures = pieces.start[first:stop], pieces.picture[first:stop].astype(np.float32)
        for top in range(0, stop - first, _ROWS):
            rows = starts[top : top + _ROWS]
            reach = int(np.searchsorted(starts, rows[-1] + _REACH, "right"))
            for left in range(top, reach, _COLUMNS):
                alike = pictures[top : top + _ROWS] @ pictures[left : min(left + _COLUMNS, reach)].T >= SIMILAR
                one, other = np.nonzero(np.triu(alike, 1) if top == left else alike)
                found.append(_near(pieces, one + (first + top), other + (first + left), durations))
    return np.concatenate(found)


def _near(pieces: _Pieces, one: Ints, other: Ints, durations: npt.NDArray[np.float64]) -> Ints:
    """Of pairs of pieces, the pairs of clips that lie so that one can be a copy of the other; see `_joined`."""
    swapped = pieces.clip[one] > pieces.clip[other]
    one, other = np.where(swapped, other, one), np.where(swapped, one, other)
    i, j = pieces.clip[one], pieces.clip[other]
    shift = pieces.start[one] - pieces.start[other]
    a, b, later = durations[i], durations[j], shift * (STEP / 2)
    common = np.minimum(a, b + later) - np.maximum(0, later)
    near = (i < j) & (np.abs(later) <= MAX_CUT + STEP) & (np.abs(a - b) <= 2 * MAX_CUT)
    near &= common >= MIN_OVERLAP * np.maximum(a, b) - 2 * STEP
    return _joined(
        i[near].astype(np.int64), j[near].astype(np.int64), shift[near].astype(np.int64) >> 1, len(durations)
    )


def _joined(i: Ints, j: Ints, shift: Ints, n: int) -> Ints:
    """Pairs of `n` clips and the shift between them in whole steps, as one number each, for sorting."""
    return (i * n + j) * 256 + shift + 128


def _split(joined: Ints, n: int) -> tuple[Ints, Ints, Ints]:
    """The pairs and shifts of what `_joined` made."""
    pair, shift = np.divmod(joined, 256)
    return pair // n, pair % n, shift - 128
