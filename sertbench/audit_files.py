"""What `sertbench audit` learns of each audio file, in the one pass in which it is read.

Of each file only a few figures and a short course are kept: memory hardly grows with the corpus. Many files are shared
among processes. Threads would not do: what is worked out of a short clip are many small steps, for each of which they
wait for each other, and two of them take longer than one.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sertbench import audio
from sertbench.courses import Course, course
from sertbench.errors import AudioError
from sertbench.machine import cores

# Peak (full scale is 1) of a silent file: -60 dB. The quietest published clip, of RAVDESS, has 4.5e-3.
SILENT = 1e-3
FULL_SCALE = 0.9995  #  from here on a sample is at full scale: the last 16 of the 32,768 steps of 16 bit
# Samples at full scale in a row, of one sign: a peak that was cut off, not one that just reaches it.
FLAT = 3
CLIPPED = 0.001  #      share of a file's samples in such rows from which it counts as clipped, and is audibly distorted
SOUND = 0.15  #         seconds of sound that an utterance has at least: a short syllable
QUIET = 40.0  #         dB below its loudest 10 ms: there, a file is taken to be without sound
FRAME = 0.01  #         seconds
MANY = 2000  #          files for which it pays to start processes
_CHUNK = 64  #          files that a process takes at a time


@dataclass(frozen=True, slots=True)
class Heard:
    """What one file holds, or why it cannot be used."""

    size: int  #              bytes
    fault: str = ""  #        of AudioError; empty for a file that can be used
    message: str = ""
    sha256: str = ""  #       as in audio.AudioInfo
    seconds: float = 0.0
    samples: int = 0
    rate: int = 0  #          Hz
    channels: int = 0
    peak: float = 0.0  #      half the distance between the highest and the lowest sample: an offset does not count
    loudness: float = 0.0  #  dB of full scale, root mean square, without the offset
    clipped: float = 0.0  #   share of the samples that lie in flat rows at full scale
    sound: float = 0.0  #     seconds that are not quiet
    course: Course | None = None

    @property
    def usable(self) -> bool:
        """Whether a run could use the file."""
        return not self.fault


def listen(path: Path, channel: str) -> Heard:
    """Read one file. It never raises for what is wrong with a file: that is said in the result."""
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    try:
        samples, rate, channels = audio.decode(path, channel)
    except AudioError as error:
        return Heard(size, error.fault, str(error))
    offset = float(samples.mean())
    power = max(float(np.vdot(samples, samples)) / len(samples) - offset**2, 1e-20)
    high, low = float(samples.max()), float(samples.min())
    return Heard(
        size=size,
        sha256=audio.sha256_of(samples, rate),
        seconds=len(samples) / rate,
        samples=len(samples),
        rate=rate,
        channels=channels,
        peak=(high - low) / 2,
        loudness=10 * float(np.log10(power)),
        clipped=clipped_share(samples) if max(high, -low) >= FULL_SCALE else 0.0,
        sound=seconds_of_sound(samples - np.float32(offset), rate),
        course=course(samples, rate),
    )


def clipped_share(samples: npt.NDArray[np.float32]) -> float:
    """Share of the samples (n,) that lie in rows of FLAT or more at full scale."""
    total = 0
    for side in (samples >= FULL_SCALE, samples <= -FULL_SCALE):
        edges = np.flatnonzero(np.diff(np.concatenate(([False], side, [False])).astype(np.int8)))
        lengths = edges[1::2] - edges[::2]
        total += int(lengths[lengths >= FLAT].sum())
    return total / len(samples)


def seconds_of_sound(samples: npt.NDArray[np.float32], rate: int) -> float:
    """How long a signal (n,) is louder than QUIET below its loudest frame, and than a silent file's peak."""
    width = max(1, round(rate * FRAME))
    rows = samples[: len(samples) // width * width].reshape(-1, width)
    if not len(rows):
        return len(samples) / rate
    power = np.einsum("ij,ij->i", rows, rows) / width
    least = max(float(power.max()) * 10 ** (-QUIET / 10), SILENT**2 / 2)
    return float(np.count_nonzero(power >= least)) * width / rate


def listen_all(
    paths: Sequence[Path], channel: str, on_progress: Callable[[int], None] | None = None
) -> Iterator[Heard]:
    """`listen` to many files, in order; from `MANY` on with one process per core."""
    one = partial(listen, channel=channel)
    for done, heard in enumerate(_shared(one, paths) if len(paths) >= MANY else map(one, paths), 1):
        yield heard
        if on_progress:
            on_progress(done)


def _shared(one: Callable[[Path], Heard], paths: Sequence[Path]) -> Iterator[Heard]:
    """`one` of each path, in order, in processes; what a process that died leaves undone is done here."""
    done = 0
    pool = ProcessPoolExecutor(
        cores(),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),  # Ctrl-C is for the process that asked
    )
    try:
        for heard in pool.map(one, paths, chunksize=_CHUNK):
            yield heard
            done += 1
    except BrokenProcessPool:
        yield from map(one, paths[done:])
    finally:
        pool.shutdown(cancel_futures=True)
