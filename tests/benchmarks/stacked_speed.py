"""Many fits on one GPU: GLAM, 10 folds x 5 seeds of EMO-DB, by the number of fits that take turns.

    python -P tests/benchmarks/stacked_speed.py --data EMODB
    pip install g-mlp-pytorch==0.1.5
    python -P tests/benchmarks/stacked_speed.py --data EMODB --reference GLAM

Prints the epochs per second of all fits together (training and evaluation), the ratio to one fit at a time, the GPU
memory and, with `--reference` (a checkout of github.com/lixiangucas01/GLAM), the ratio to that code's own loop.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import runpy
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sertbench import config, plugins
from sertbench import corpus as corpora
from sertbench.compute import Compute
from sertbench.executors import InProcess, Runner
from sertbench.feature_cache import open_store
from sertbench.feature_store import FeatureStore
from sertbench.fits import FitRecord, run_fit
from sertbench.tasks import FitTask

FOLDS, SEEDS, STACKS = 10, 5, (1, 2, 4, 8, 16, 24)


def tasks_of(store: FeatureStore, targets: np.ndarray, epochs: int, fits: int, compute: Compute) -> list[FitTask]:
    """So many of the fits, seed by seed: in fold k every tenth utterance from k on validates."""
    tasks = []
    for seed, fold in [(seed, fold) for seed in range(SEEDS) for fold in range(FOLDS)][:fits]:
        val = np.arange(len(targets)) % FOLDS == fold
        train, val = np.flatnonzero(~val), np.flatnonzero(val)
        choice = {"epochs": epochs, "patience": epochs}
        tasks.append(
            FitTask(
                "glam",
                choice,
                seed,
                "speed",
                "speed",
                str(fold),
                int(targets.max()) + 1,
                train,
                targets[train],
                val,
                targets[val],
                (),
                np.zeros(0),
                store,
                compute,
                Path(),
            )
        )
    return tasks


def read(dataset: str, data: Path) -> tuple[FeatureStore, np.ndarray]:
    """GLAM's features of a corpus and its classes."""
    recipe, loaded = plugins.load_model("glam").cls.recipe, plugins.load_corpus(dataset)
    corpus = loaded.corpus.at(data)
    manifest = corpora.build_manifest(loaded.name, corpus, data, corpus.label_set(None), "all", config.cache_folder())
    assert recipe.features is not None
    store = open_store(
        [u.path for u in manifest.utterances], manifest.audio_sha256, recipe.features, recipe.window, recipe.hop,
        corpus.channel, config.cache_folder(),
    )  # fmt: skip
    return store, np.asarray(manifest.targets)


def rate(tasks: Sequence[FitTask], stack: int, device: str) -> tuple[float, str]:
    """Epochs per second of all fits together, and what they noted."""

    with (
        tempfile.TemporaryDirectory() as folder,
        Runner(InProcess(stack, device)) as runner,
        ThreadPoolExecutor(len(tasks)) as threads,
    ):
        placed = [replace(task, folder=Path(folder)) for task in tasks]
        started = time.perf_counter()
        records: list[FitRecord] = list(threads.map(lambda task: runner.run(run_fit, task, "fit"), placed))
        seconds = time.perf_counter() - started
    notes = "; ".join(sorted({record.note for record in records if record.note}))
    return sum(len(record.history) for record in records) / seconds, notes


def reference_rate(reference: Path, dataset: str, data: Path) -> float:
    """Epochs per second of the reference's own loop, on as many windows; the first epoch warms up."""
    beside = runpy.run_path(str(Path(__file__).with_name("reference_training.py")))
    epoch = beside["reference_epoch"](reference, beside["read"](dataset, data, 0))
    seconds = [passed["train"] + passed["evaluation"] for passed in (epoch() for _ in range(4))]
    return 1 / min(seconds[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--dataset", default="emodb", help="corpus (default: emodb)")
    parser.add_argument("--reference", type=Path, help="checkout of the authors' code")
    parser.add_argument("--epochs", type=int, default=10, help="epochs per fit (default: 10)")
    parser.add_argument("--fits", type=int, default=FOLDS * SEEDS, help="fits (default: 50)")
    parser.add_argument("--cpu", action="store_true", help="on one CPU thread: what taking turns costs, nothing more")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.cpu:
        print("needs a CUDA device; --cpu shows what taking turns costs on a CPU")
        return
    compute = Compute.resolve("cpu" if options.cpu else "cuda", "auto")
    tasks = tasks_of(*read(options.dataset, options.data), options.epochs, options.fits, compute)
    theirs = reference_rate(options.reference, options.dataset, options.data) if options.reference else None
    if theirs:
        print(f"reference: {theirs:.2f} epochs/s")
    alone = None
    for stack in STACKS[:3] if options.cpu else STACKS:
        if not options.cpu:
            torch.cuda.reset_peak_memory_stats()
        found, notes = rate(tasks, stack, compute.device)
        alone = alone or found
        said = [f"{stack:2} at a time: {found:.2f} epochs/s", f"{found / alone:.2f} x one at a time"]
        if theirs:
            said.append(f"{found / theirs:.2f} x the reference")
        if not options.cpu:
            said.append(f"{torch.cuda.max_memory_reserved() / 1e9:.1f} GB")
        print(", ".join([*said, *([notes] if notes else [])]), flush=True)


if __name__ == "__main__":
    main()
