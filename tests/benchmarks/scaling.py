"""Whether time and memory per utterance stay what they are as a corpus grows: 500, 5,000 and 50,000 utterances.

    python -P tests/benchmarks/scaling.py [--sizes 500 5000 50000] [--place FOLDER]

Clips of 0.6 to 1 s are made in a temporary folder (27 kB each, so 1.4 GB for 50,000) and deleted. Each size is a
process of its own. One table line per step: processor time per utterance, wall time, the peak of resident memory above
what was resident before the step, and that per utterance. Steps are those of a run, but for training:

    manifest      the table is read, all audio decoded and hashed, and the course of each clip made
    copies        likely copies are looked for among the courses, and confirmed
    gate          what the roles of all folds share
    features      26 MFCC of windows of 1.8 s, written to the cache
    reopened      manifest and features again, from the cache, and every value read in batches of 32
    predictions   probabilities of five seeds joined, written as a bundle, read back, and all figures
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

RATE, SEEDS = 16_000, 5
LABELS = ("angry", "happy", "neutral", "sad")


def make_corpus(folder: Path, n: int) -> Path:
    """A table of `n` clips, 100 per speaker: syllables of noise through one resonance each, no two clips alike."""
    import soundfile
    from scipy.signal import lfilter

    rng = np.random.default_rng(0)
    noise, sounds = rng.standard_normal(4 * RATE) / 30, []
    for hertz in (300, 500, 800, 1200, 1700, 2300, 2800, 3300):
        turn = 2 * np.pi * hertz / RATE
        sounds.append(0.1 * noise + lfilter([0.3], [1, -1.94 * np.cos(turn), 0.94], noise))
    table = np.stack(sounds)
    rows = ["path,label,speaker"]
    for k in range(n):
        lengths = rng.integers(500, 1600, 16)
        level = np.repeat(rng.choice([0.01, 0.3, 1], 16) * rng.uniform(0.3, 1, 16), lengths)
        sound, start = np.repeat(rng.integers(0, len(table), 16), lengths), rng.integers(0, RATE)
        wave = (level * table[sound, start + np.arange(len(level))])[: rng.integers(round(0.6 * RATE), RATE)]
        soundfile.write(folder / f"{k:05d}.wav", wave, RATE)
        rows.append(f"{k:05d}.wav,{LABELS[k % 4]},s{k // 100:04d}")
    (folder / "table.csv").write_text("\n".join(rows))
    return folder / "table.csv"


def resident(name: str) -> float:
    """MB of this process: VmRSS now, or VmHWM, the most since `measured` began."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


@contextmanager
def measured(step: str, n: int) -> Iterator[None]:
    """Print what the step took, as a line of JSON."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before, wall, cpu = resident("VmRSS"), time.monotonic(), time.process_time()
    yield
    taken = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu, "mb": resident("VmHWM") - before}
    print(json.dumps({"step": step, "n": n, **taken}), flush=True)


def measure(table: Path, place: Path) -> None:
    """All steps for one corpus, in this process."""
    from sertbench.datasets.csv import Csv

    from sertbench import (
        bundle,
        corpus,
        course_shelf,
        crossval,
        duplicates,
        feature_cache,
        feature_store,
        gate,
        results,
    )
    from sertbench.feature_spec import mfcc

    csv = Csv().at(table)
    n = len(table.read_text().splitlines()) - 1
    label_set, protocol = csv.label_set(None), csv.protocols[0]

    def manifested() -> corpus.Manifest:
        return corpus.build_manifest("scaling", csv, table, label_set, cache=place)

    with measured("manifest", n):
        manifest = manifested()
    paths = [u.path for u in manifest.utterances]
    with measured("copies", n):
        courses = course_shelf.courses_of(paths, manifest.audio_sha256, csv.channel, place)
        near = duplicates.near_copies(paths, manifest.audio_sha256, courses, manifest.seconds, csv.channel)
    assert not near, f"clips are taken for copies: {near[:3]}"
    del courses
    with measured("gate", n):
        split = protocol.split(manifest.utterances)
        gate.enforce(gate.overlaps(manifest, split, protocol.promises), allow=False)
        gate.flags(manifest, split)

    def opened() -> feature_store.FeatureStore:
        return feature_cache.open_store(paths, manifest.audio_sha256, mfcc(), 1.8, 0.2, csv.channel, place)

    with measured("features", n):
        opened()
    with measured("reopened", n):
        manifested()
        store = opened()
        for first in range(0, n, 32):
            store.batch(np.arange(first, min(first + 32, n)))
    rng = np.random.default_rng(0)
    outcomes: list[Any] = []
    for fold in split.folds:
        drawn = {seed: rng.dirichlet(np.ones(4), len(fold.test)) for seed in range(SEEDS)}
        record = SimpleNamespace(best_epoch=1)
        outcomes.append(SimpleNamespace(probabilities=drawn, records=dict.fromkeys(drawn, record), failures={}))
    plan: Any = SimpleNamespace(manifest=manifest, split=split, config=SimpleNamespace(seeds=SEEDS), folder=place)
    with measured("predictions", n):
        joined = crossval.collect(plan, outcomes)
        run = bundle.save(place / "bundle", "", split, joined, {"corpus": {"classes": list(manifest.classes)}})
        results.figures(bundle.load_predictions(place / "bundle", run))


def main() -> None:
    """Make each corpus, measure it in a process of its own, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 5000, 50_000], help="(default: 500 5000 50000)")
    parser.add_argument("--place", type=Path, help="where the corpora are made for a while (default: the system's)")
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)  # what it starts itself with
    options = parser.parse_args()
    if min(options.sizes) < 300:
        parser.error("--sizes: expected 300 or more: three speakers of 100 clips")
    if options.measure:
        measure(*options.measure)
        return
    print("step          utterances   ms of CPU each    wall s   peak MB   KB each")
    for n in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.place) as name:
            table = make_corpus(Path(name), n)
            command = [sys.executable, "-P", __file__, "--measure", str(table), str(Path(name) / "cache")]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
                assert process.stdout is not None
                for row in map(json.loads, process.stdout):
                    each = f"{1000 * row['cpu'] / n:14.3f} {row['wall']:9.1f}"
                    print(f"{row['step']:12} {n:11} {each} {row['mb']:9.1f} {1024 * row['mb'] / n:9.2f}", flush=True)
            if process.returncode:
                sys.exit(f"the measurement of {n} utterances failed with status {process.returncode}")


if __name__ == "__main__":
    main()
