"""From audio files to the features of their windows, on all cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from sertbench import audio
from sertbench.feature_spec import FeatureSpec, WaveformSpec
from sertbench.features import extract
from sertbench.machine import cores
from sertbench.torch_settings import restore_defaults

T = TypeVar("T")


class Extracted(NamedTuple):
    """One utterance, cut into items: windows, or itself as a whole."""

    values: np.ndarray  # (items, F, T), float32
    sums: np.ndarray  #   (items, 2, F), float64: sum and sum of squares over the valid frames; empty for pooled values
    frames: np.ndarray  # (items,), int64: valid frames


def extract_file(
    path: Path, channel: str, spec: FeatureSpec | WaveformSpec, length: int | None, step: int
) -> Extracted:
    """As `extract_wave`, of an audio file."""
    return extract_wave(audio.load(path, channel), spec, length, step)


def extract_wave(wave: np.ndarray, spec: FeatureSpec | WaveformSpec, length: int | None, step: int) -> Extracted:
    """Features of the windows of `length` samples every `step` samples; of the whole utterance if `length` is None."""
    size = len(wave) if length is None else length
    padded = np.pad(wave, (0, max(0, size - len(wave))))
    values = extract(spec, torch.from_numpy(padded).unfold(0, size, step))
    valid = spec.frames(min(len(wave), size))
    kept = values[:, :, :valid].double()
    sums = torch.stack([kept.sum(dim=2), kept.square().sum(dim=2)], dim=1)
    return Extracted(values.numpy(), sums.numpy(), np.full(len(values), valid))


def extract_all(
    paths: Sequence[Path], channel: str, spec: FeatureSpec | WaveformSpec, length: int | None, step: int
) -> Generator[Extracted]:
    """Features of each file, in order. Close the generator to stop early."""
    return in_order(lambda path: extract_file(path, channel, spec, length, step), paths)


def in_order(compute: Callable[[T], Extracted], of: Sequence[T]) -> Generator[Extracted]:
    """What `compute` gives for each of `of`, in order, computed a few ahead on all cores.

    One thread per core with one-threaded kernels: kernels of several threads collapse where cores are shared, and so an
    utterance's values do not depend on the number of cores: a sum depends on how many threads share it, torch's as well
    as NumPy's. Both numbers of threads are restored at the end.
    """
    workers, threads = cores(), torch.get_num_threads()
    ahead: deque[Future[Extracted]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="features")
    torch.set_num_threads(1)
    restore_defaults()
    one_blas_thread = threadpool_limits(1)
    try:
        for one in of:
            ahead.append(pool.submit(compute, one))
            if len(ahead) > 4 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        one_blas_thread.restore_original_limits()
        torch.set_num_threads(threads)
