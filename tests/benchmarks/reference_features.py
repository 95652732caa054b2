"""Features of whole corpora beside the reference implementation's: how much faster, and whether they are the same.

    python -P tests/benchmarks/reference_features.py --reference GLAM --data emodb=DIR --data ravdess=DIR

GLAM is a clone of https://github.com/lixiangucas01/GLAM. Its `process.py` is imported from there and does its own
decoding, cutting and MFCC (`segment` and `FeatureExtractor.get_features`). Two things that have changed since it was
written are brought back for it: librosa takes the signal by name now, and python_speech_features, of which MFCC need
nothing, need not be installed. Its overlap is 1.6 s less a nanosecond: 1.8 - 1.6 is rounded down on the way, and its
windows would start every 3199 samples instead of 3200.

Both read the same files, from the page cache, in turn: one, then the other, every few files. A run is a pass over all
files, its ratio that of the sums. Decoding is included. On 2 cores we compute two files at a time, and the reference
has what its libraries make of them, which is BLAS with two threads. As these wait for each other where cores are
shared, it is measured with one as well. Utterances shorter than a window are left out, as the reference drops them.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

WINDOW, OVERLAP, RATE = 1.8, 1.6, 16_000
LENGTH, STEP = 28_800, 3200  # samples
TURN = 100  #                  files that one computes before the other does


def reference(folder: Path) -> ModuleType:
    """The reference's module `process`, as its authors wrote it."""
    import librosa

    unused: Any = SimpleNamespace(logfbank=None, fbank=None, sigproc=None)
    sys.modules.setdefault("python_speech_features", unused)
    sys.path.insert(0, str(folder))  # it imports its own `path`
    spec = importlib.util.spec_from_file_location("process", folder / "process.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    by_name = SimpleNamespace(mfcc=lambda y, **settings: librosa.feature.mfcc(y=y, **settings))
    module.librosa = SimpleNamespace(load=librosa.load, feature=by_name)
    return module


def timed(work: Callable[[], Any]) -> tuple[Any, np.ndarray]:
    """What `work` gives, and its seconds: wall time, and processor time of all threads."""
    before = np.array([time.perf_counter(), time.process_time()])
    result = work()
    return result, np.array([time.perf_counter(), time.process_time()]) - before


def measure(options: argparse.Namespace) -> None:
    """Do all runs in this process, on the first `--measure` cores; print each as a line of JSON."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.measure])
    import soundfile

    from sertbench.corpus import wav_files
    from sertbench.extraction import extract_all
    from sertbench.feature_spec import mfcc

    theirs = reference(options.reference)
    extractor = theirs.FeatureExtractor(RATE, 26)

    def by_reference(files: list[Path]) -> list[np.ndarray]:
        cut = (theirs.segment(str(file), RATE, WINDOW, OVERLAP - 1e-9) for file in files)
        return [extractor.get_features("mfcc", windows) for windows in cut]

    def by_us(files: list[Path]) -> list[np.ndarray]:
        return [part.values for part in extract_all(files, "mean", mfcc(), LENGTH, STEP)]

    corpora = {}
    for name, folder in options.data.items():
        corpora[name] = [file for file in wav_files(folder) if soundfile.info(file).duration >= WINDOW]
        by_reference(corpora[name][:3])  # imports and compiles at its first call
        by_us(corpora[name])  # and now all files are in the page cache
    for _ in range(options.runs):
        spent = {name: np.zeros((2, 2)) for name in corpora}  # (reference, ours) by (wall, processor)
        windows, unequal, worst = 0, 0, 0.0
        for name, files in corpora.items():
            for turn in (files[i : i + TURN] for i in range(0, len(files), TURN)):
                expected, their_time = timed(lambda turn=turn: by_reference(turn))  # type: ignore[misc]
                values, our_time = timed(lambda turn=turn: by_us(turn))  # type: ignore[misc]
                spent[name] += [their_time, our_time]
                for a, b in zip(expected, values, strict=True):
                    assert a.shape == b.shape, (a.shape, b.shape)
                    windows += len(a)
                    unequal += int((~np.isclose(b, a, rtol=1e-4, atol=1e-3)).any((1, 2)).sum())
                    worst = max(worst, float(np.abs(a - b).max()))
        seconds = {name: both.tolist() for name, both in spent.items()}
        print(json.dumps({"seconds": seconds, "windows": windows, "unequal": unequal, "worst": worst}), flush=True)


def runs(options: argparse.Namespace, cores: int, blas: int) -> list[dict[str, Any]]:
    """What `measure` prints, from a process that has so many cores and threads of BLAS."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(blas))
    data = [part for name, folder in options.data.items() for part in ("--data", f"{name}={folder}")]
    own = ["--measure", str(cores), "--runs", str(options.runs), "--reference", str(options.reference)]
    done = subprocess.run(
        [sys.executable, "-P", __file__, *own, *data], env=os.environ | limits, stdout=subprocess.PIPE, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def show(what: str, found: list[dict[str, Any]]) -> None:
    """Print the ratios of each corpus and of all: median, and range over the runs."""
    spent = {name: np.array([run["seconds"][name] for run in found]) for name in found[0]["seconds"]}
    spent["all"] = np.sum(list(spent.values()), axis=0)  # (runs, 2, 2)
    for name, seconds in spent.items():
        ratios = seconds[:, 0] / seconds[:, 1]
        texts = [f"{median(r):5.1f} ({min(r):.1f} to {max(r):.1f})" for r in ratios.T]
        walls = np.median(seconds[..., 0], axis=0)
        print(
            f"{what}  {name:10} reference {walls[0]:6.1f} s, ours {walls[1]:5.1f} s; "
            f"ratio of wall time {texts[0]}, of processor time {texts[1]}"
        )


def reuse(folders: dict[str, Path]) -> None:
    """Print how long it takes to compute and write all features, to open them again, and to read every value."""
    from sertbench.audio import probe_all
    from sertbench.corpus import wav_files
    from sertbench.feature_cache import open_store
    from sertbench.feature_spec import mfcc
    from sertbench.feature_store import FeatureStore

    files = [file for folder in folders.values() for file in wav_files(folder)]
    hashes = [info.sha256 for info in probe_all(files, "mean")]
    with tempfile.TemporaryDirectory() as place:

        def opened() -> FeatureStore:
            return open_store(files, hashes, mfcc(), WINDOW, WINDOW - OVERLAP, "mean", Path(place))

        store, build = timed(opened)
        items = np.arange(len(store.frames))
        batches = np.array_split(items, len(items) // 32)
        plain = np.median([timed((store.folder / "values.f32").read_bytes)[1] for _ in range(5)], axis=0)
        again = np.median([timed(opened)[1] for _ in range(5)], axis=0)
        read = np.median([timed(lambda: [store.batch(b) for b in batches])[1] for _ in range(5)], axis=0)
        megabytes = (store.folder / "values.f32").stat().st_size / 1e6
    print(
        f"cache: {len(items)} windows, {megabytes:.0f} MB: computed and written in {build[0]:.1f} s, opened again in "
        f"{1000 * again[0]:.1f} ms, read in batches of 32 in {1000 * read[0]:.0f} ms "
        f"(the bare file: {1000 * plain[0]:.0f} ms)"
    )


def named_folder(text: str) -> tuple[str, Path]:
    """`emodb=DIR` as its two parts."""
    name, _, folder = text.partition("=")
    if not Path(folder).is_dir() or not folder:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=FOLDER, such as emodb=~/corpora/emodb")
    return name, Path(folder)


def main() -> int:
    """Measure and print; 1 if any value differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference, with its process.py")
    parser.add_argument("--data", type=named_folder, action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--runs", type=int, default=5, help="passes over all files, per setting (default: 5)")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="(default: 1 2)")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)  # what it starts itself with
    options = parser.parse_args()
    options.data = dict(options.data)
    if not (options.reference / "process.py").is_file():
        parser.error(f"--reference {options.reference}: no process.py there. Expected: a clone of GLAM")
    if options.measure:
        measure(options)
        return 0
    unequal = 0
    for cores, blas in [(n, blas) for n in options.cores for blas in sorted({1, n})]:
        found = runs(options, cores, blas)
        show(f"cores: {cores}, BLAS threads: {blas}", found)
        unequal += found[0]["unequal"]
        print(
            f"    {found[0]['windows']} windows, {found[0]['unequal']} of which differ (rtol 1e-4, atol 1e-3); "
            f"largest difference {found[0]['worst']:.1e}"
        )
    reuse(options.data)
    return int(unequal > 0)


if __name__ == "__main__":
    sys.exit(main())
