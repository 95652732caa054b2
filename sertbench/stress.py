"""How a finished run fares when its test speech is disturbed: the flow, readable from top to bottom.

open the run again -> the undisturbed test must give the published predictions -> per cell (disturbance, strength, draw)
and fold: disturb, features, the fold's own frozen fits -> a file per cell -> figures -> stress.csv, stress.json, curves

All is frozen and published before any of this starts: nothing here can reach a fit, a choice or a ranked score.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sertbench import audio, bundle, corpus_files, disturbances, files, stress_kinds, stress_record, stress_run
from sertbench import config as configs
from sertbench.errors import ConfigError, few
from sertbench.executors import Runner, ended_with, open_runner
from sertbench.feature_store import FEATURES_VERSION
from sertbench.pace import duration
from sertbench.progress import Display
from sertbench.results import Predictions
from sertbench.stress_cell import StressTask, run_cell
from sertbench.stress_kinds import CLEAN, Cell
from sertbench.stress_record import Row
from sertbench.stress_run import OpenRun
from sertbench.stress_scores import row
from sertbench.transmission import missing_codecs, refuse_missing

LOCK_SECONDS = 1.0


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    data: str | None = None
    kinds: str | None = None
    noise: Path | None = None
    strengths: tuple[str, ...] = ()
    draws: int = 1
    workers: int | None = None


@dataclass(frozen=True)
class Noise:
    """The user's recordings, and a short hash of them."""

    files: tuple[Path, ...] = ()
    source: str = ""


def stress(folder: Path, asked: Asked, display: Display, *, dry: bool = False) -> tuple[Row, ...]:
    """Do what is asked as far as it is not done, and write the figures of all that is there; gives what was asked.

    A dry run shows the plan and gives nothing.
    """
    if asked.draws < 1:
        raise ConfigError(f"--seeds {asked.draws}: expected a whole number of at least 1")
    kinds = stress_kinds.chosen(asked.kinds, own=asked.noise is not None)
    noise = recordings(asked.noise) if asked.noise else Noise()
    stress_kinds.strengths(kinds, asked.strengths)  # a mistake in them is told before anything is read
    opened = stress_run.reopen(folder, asked.data, display)
    kinds = possible(kinds, opened, display, named=asked.kinds is not None)
    wanted = stress_kinds.cells(stress_kinds.strengths(kinds, asked.strengths), asked.draws, noise.source)
    place = folder / stress_record.FOLDER
    kept = place / "cells" / key(opened)
    todo = [cell for cell in (CLEAN, *wanted) if not (kept / f"{cell.stem}.parquet").exists()]
    describe(opened, kinds, len(wanted), len(todo), display)
    if dry:
        return ()
    files.ensure_writable(place)
    with files.locked(place / ".lock", LOCK_SECONDS, f"{place} is being written by another sertbench: wait for it"):
        with scratch(place) as folder_for_features, workers_of(opened, asked.workers) as runner:
            tasks = [opened.task(fold, folder_for_features) for fold in opened.plan.split.folds]
            work_through(opened, todo, tasks, noise, kept, runner, display)
        return publish(opened, kept, wanted)


def possible(kinds: list[str], opened: OpenRun, display: Display, *, named: bool) -> list[str]:
    """The kinds that can be done here; ConfigError for one that was named and cannot, else a line that says so."""
    lacking = {name: f"libsndfile cannot write {name} here" for name in missing_codecs()}
    if len({u.speaker for u in opened.plan.manifest.utterances}) < 2:
        lacking["babble"] = "babble is of other speakers, and the corpus has one"
    for kind in [k for k in kinds if k in lacking]:
        if named:
            refuse_missing([kind])
            raise ConfigError(f"--kinds {kind}: {lacking[kind]}. Leave it out")
        display.say(f"left out: {lacking[kind]}")
    return [k for k in kinds if k not in lacking]


def recordings(folder: Path) -> Noise:
    """The audio files below the user's folder of noise. ConfigError for none, AudioError for broken ones.

    CorpusError for a folder in it that may not be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"--noise {folder}: not a folder. Name one with recordings ({', '.join(corpus_files.AUDIO)})")
    found = corpus_files.audio_files(folder)
    if not found:
        raise ConfigError(f"--noise {folder}: holds no recordings ({', '.join(corpus_files.AUDIO)})")
    infos = audio.probe_all(found, "mean", configs.cache_folder() / "audio-index" / "noise.json")
    silent = [path for path in found if not audio.load(path, "mean").any()]
    if silent:
        raise ConfigError(f"--noise {folder}: silent recordings: {few(silent)}. Take them out")
    digest = hashlib.sha256("".join(sorted(info.sha256 for info in infos)).encode()).hexdigest()
    order = sorted(range(len(found)), key=lambda i: infos[i].sha256)  # whatever the files are called
    return Noise(tuple(found[i].absolute() for i in order), digest[:8])


def key(opened: OpenRun) -> str:
    """Hash of all that a cell's predictions depend on but for the cell."""
    parts = {
        "fits": [frozen["fits"] for frozen in opened.run["frozen"]],
        "predictions": opened.run["files"]["predictions.parquet"],
        "versions": [disturbances.VERSION, FEATURES_VERSION],
        "libraries": {**made_with(), "torch": metadata.version("torch")},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def made_with() -> dict[str, str]:
    """The libraries that disturb."""
    import soundfile

    names = ("soxr", "librosa", "numpy", "scipy")
    return {"libsndfile": soundfile.__libsndfile_version__, **{name: metadata.version(name) for name in names}}


def describe(opened: OpenRun, kinds: Sequence[str], n_cells: int, n_todo: int, display: Display) -> None:
    """The plan on the screen."""
    seeds = len(opened.published.seeds)
    done = n_cells + 1 - n_todo
    again = f", of which {done} are done already" if done else ""
    n = len(opened.plan.split.tested) * seeds
    display.pairs(
        "stress",
        [
            ("run", opened.folder.name),
            ("fits", f"{seeds * len(opened.plan.split.folds)} frozen ones, {seeds} per fold; {opened.training}"),
            ("disturbances", ", ".join(kinds)),
            ("cells", f"{n_cells} and the undisturbed test{again}; {n} predictions each"),
            ("result", str(opened.folder / stress_record.FOLDER)),
        ],
    )


@contextmanager
def scratch(place: Path) -> Iterator[Path]:
    """A folder for features, which are not kept; what a killed process left in it goes first."""
    folder = place.absolute() / ".scratch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def workers_of(opened: OpenRun, workers: int | None) -> Iterator[Runner]:
    """Where the cells are worked out: the processes of this machine."""
    plan = opened.plan
    with open_runner(plan.config, workers or plan.workers, plan.compute.device) as runner:
        yield runner


def work_through(
    opened: OpenRun,
    todo: Sequence[Cell],
    tasks: Sequence[StressTask],
    noise: Noise,
    kept: Path,
    runner: Runner,
    display: Display,
) -> None:
    """Predict what is not there yet, the undisturbed test first, and keep each cell as soon as all its folds are."""
    voices = voices_of(opened)
    started, total, done = time.monotonic(), len(todo), 0

    def predict(cell: Cell, task: StressTask) -> dict[int, np.ndarray]:
        sounds = replace(task, voices=voices if cell.kind == "babble" else {}, recordings=noise.files)
        return runner.run(run_cell, replace(sounds, cell=cell), cell.shown)

    with ThreadPoolExecutor(runner.slots) as threads, ended_with(runner):
        # Nothing else before the undisturbed test is known to be right.
        for part in ([c for c in todo if c == CLEAN], [c for c in todo if c != CLEAN]):
            futures = {cell: [threads.submit(predict, cell, task) for task in tasks] for cell in part}
            try:
                for cell, folds in futures.items():
                    predictions = joined(opened, [future.result() for future in folds])
                    if cell == CLEAN:
                        stress_run.refuse_changed(opened, predictions)
                    bundle.write_table(kept / f"{cell.stem}.parquet", predictions.frame)
                    done += 1
                    left = duration((time.monotonic() - started) / done * (total - done))
                    display.say(f"[{done}/{total}] {told(opened, cell, predictions)}; about {left} left")
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise


def told(opened: OpenRun, cell: Cell, predictions: Predictions) -> str:
    """What a cell has come to, in words."""
    if cell == CLEAN:
        return "undisturbed: the published predictions, number by number"
    found = row(cell, [predictions], opened.published)
    return f"{cell.shown}: UAR {found.uar:.1f} ({found.change:+.1f}), {found.changed:.1f} % of answers changed"


def voices_of(opened: OpenRun) -> dict[str, tuple[Path, ...]]:
    """The utterances of each speaker of the corpus."""
    voices: dict[str, list[Path]] = {}
    for utterance in opened.plan.manifest.utterances:
        voices.setdefault(utterance.speaker, []).append(utterance.path)
    return {speaker: tuple(paths) for speaker, paths in voices.items()}


def joined(opened: OpenRun, folds: Sequence[dict[int, np.ndarray]]) -> Predictions:
    """The predictions of all folds, in the rows of the published ones."""
    published, split = opened.published, opened.plan.split
    columns = [f"p_{name}" for name in published.classes]
    parts = []
    for fold, found in zip(split.folds, folds, strict=True):
        for seed, probabilities in found.items():
            part = pd.DataFrame(probabilities, columns=columns)
            parts.append(part.assign(fold=fold.name, seed=seed, utterance=[split.ids[i] for i in fold.test]))
    same = published.frame.drop(columns=columns)
    frame = same.merge(pd.concat(parts), on=["fold", "seed", "utterance"], how="left", validate="one_to_one")
    return Predictions(frame[published.frame.columns], published.classes)


def publish(opened: OpenRun, kept: Path, wanted: Sequence[Cell]) -> tuple[Row, ...]:
    """Write the figures of all cells that are there; gives those of the undisturbed test and of `wanted`."""
    there: dict[tuple[str, str, float], list[Cell]] = {}
    for cell in sorted(filter(None, (stress_kinds.parsed(p.stem) for p in kept.glob("*.parquet"))), key=order):
        there.setdefault((cell.kind, cell.source, cell.strength), []).append(cell)
    found = [row(CLEAN, [opened.published], opened.published)]
    for draws in there.values():
        read = [Predictions(pd.read_parquet(kept / f"{c.stem}.parquet"), opened.published.classes) for c in draws]
        found.append(row(draws[0], read, opened.published))
    about: dict[str, Any] = {
        "row_id": opened.run["row_id"],
        "model": opened.run["model"]["name"],
        "corpus": opened.run["corpus"]["name"],
        "classes": list(opened.published.classes),
        "disturbances_version": disturbances.VERSION,
        "made_with": made_with(),
    }
    stress_record.write(opened.folder, found, about)
    asked = {(cell.kind, cell.source, cell.strength) for cell in (CLEAN, *wanted)}
    return tuple(r for r in found if (r.kind, r.source, r.strength) in asked)


def order(cell: Cell) -> tuple[int, str, float, int]:
    """The place of a cell in tables: as the kinds are listed, from mild to hard."""
    sign = -1 if stress_kinds.KINDS[cell.kind].group in stress_kinds.FALLING else 1
    return list(stress_kinds.KINDS).index(cell.kind), cell.source, sign * cell.strength, cell.draw
