"""How fast features are.

`extra_info` of the JSON report has times real time, and the ratio to librosa, one call per window, taken in turn.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from statistics import median

import librosa
import numpy as np
import pytest
import soundfile
import torch

from sertbench.feature_cache import open_store
from sertbench.feature_spec import log_mel, log_spectrogram, mfcc
from sertbench.feature_store import windows
from sertbench.features import extract

SECONDS, TURNS = 2.78, 60  # the mean turn of EMO-DB
WINDOW, HOP = 1.8, 0.2  # GLAM's


@pytest.fixture(autouse=True)
def one_thread():
    """The store gives each core a thread of its own; kernels of several threads collapse where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def turns() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    swell = np.sin(np.linspace(0, 20, round(SECONDS * 16_000))) ** 2
    return [(0.1 * swell * rng.standard_normal(len(swell))).astype(np.float32) for _ in range(TURNS)]


@pytest.fixture(scope="module")
def paths(turns, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("corpus")
    paths = [folder / f"{i:03d}.wav" for i in range(TURNS)]
    for path, turn in zip(paths, turns, strict=True):
        soundfile.write(path, turn, 16_000)
    return paths


def ours(turns: list[np.ndarray], spec=None) -> None:
    for turn in turns:
        extract(spec or mfcc(), torch.from_numpy(turn).unfold(0, round(WINDOW * 16_000), round(HOP * 16_000)))


def librosas(turns: list[np.ndarray]) -> None:
    length = round(WINDOW * 16_000)
    for turn in turns:
        for start in windows(len(turn), WINDOW, HOP):
            librosa.feature.mfcc(y=turn[start : start + length], sr=16_000, n_mfcc=26)


@pytest.mark.benchmark(group="windows of 1.8 s every 0.2 s")
@pytest.mark.parametrize("spec", [mfcc(), log_mel(), log_spectrogram()], ids=lambda spec: spec.kind)
def test_extract(benchmark, turns, spec):
    benchmark(ours, turns, spec)

    benchmark.extra_info["x_real_time"] = SECONDS * TURNS / benchmark.stats["median"]


@pytest.mark.benchmark(group="windows of 1.8 s every 0.2 s")
def test_librosa_window_by_window(benchmark, turns):
    benchmark(librosas, turns[:10])

    benchmark.extra_info["x_real_time"] = SECONDS * 10 / benchmark.stats["median"]


@pytest.mark.benchmark(group="ratio to librosa")
def test_ratio_to_librosa(benchmark, turns):
    ratios, processor = [], []
    librosas(turns[:1])

    def in_turn() -> None:
        clocks = [(time.perf_counter(), time.process_time())]
        for compute in (librosas, ours):
            compute(turns[:10])
            clocks.append((time.perf_counter(), time.process_time()))
        theirs, own = (np.subtract(b, a) for a, b in itertools.pairwise(clocks))
        ratios.append(theirs[0] / own[0])
        processor.append(theirs[1] / own[1])

    benchmark.pedantic(in_turn, rounds=10, warmup_rounds=1)

    benchmark.extra_info.update(ratio=median(ratios), ratio_of_processor_time=median(processor))


@pytest.mark.benchmark(group="store")
def test_build_store_on_all_cores(benchmark, paths, tmp_path):
    caches = (tmp_path / str(i) for i in itertools.count())

    benchmark.pedantic(
        lambda: open_store(paths, [p.name for p in paths], mfcc(), WINDOW, HOP, "mono", next(caches)), rounds=5
    )

    benchmark.extra_info["x_real_time"] = SECONDS * TURNS / benchmark.stats["median"]


@pytest.mark.benchmark(group="store")
def test_reopen_store(benchmark, paths, tmp_path):
    settings = (paths, [p.name for p in paths], mfcc(), WINDOW, HOP, "mono", tmp_path)
    open_store(*settings)

    benchmark(open_store, *settings)


@pytest.mark.benchmark(group="store")
@pytest.mark.parametrize("window", [WINDOW, None], ids=["fixed", "whole"])
def test_batch_of_32(benchmark, paths, tmp_path, window):
    store = open_store(paths, [p.name for p in paths], mfcc(), window, HOP, "mono", tmp_path)
    items = np.random.default_rng(0).permutation(len(store.frames))[:32]

    benchmark(store.batch, items)
