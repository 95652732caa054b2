"""The result bundle: a folder from which every published figure can be worked out again without the audio.

    <runs>/<dataset>-<model>-<protocol>-<row id>/
        config.toml           the resolved configuration; `sertbench run --config` on it is this run again
        predictions.parquet   per seed and test utterance: class probabilities, target, fold, speaker, kept epoch
        split.parquet         per fold and utterance: role
        activations.parquet   per test utterance: what the last layer was given (networks; see `activations`)
        studies/              one Optuna journal per outer fold (where something was tuned)
        run.json              everything else, with the hashes of the files above; written last, so it says "whole"
        exclusions.txt        what --accept-missing named, if it did; config.toml refers to it
        log.txt, progress.jsonl

Every file is written beside its place and renamed into it, so that a killed run leaves nothing half-written.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from sertbench import __version__, exclusions
from sertbench.errors import BundleError, StorageError
from sertbench.protocols import ROLES, Split
from sertbench.results import Predictions

SCHEMA_VERSION = 1
EXCLUSIONS = "exclusions.txt"
LIBRARIES = ("torch", "torchaudio", "numpy", "scipy", "scikit-learn", "optuna", "pandas", "soundfile", "soxr")


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Let `save` write a draft beside `path`, then put it there in one step.

    Raises StorageError for a folder that is full or read-only.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(draft)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}. Free some space, make the folder writable, "
            "or choose another one with --runs and --leaderboards"
        ) from error


def ensure_writable(folder: Path) -> None:
    """Make a folder, and StorageError if nothing can be written there: better now than after a night of training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"sertbench")
    except OSError as error:
        raise StorageError(
            f"cannot write to {folder}: {error.strerror or error}. "
            "Make it writable, or choose another folder with --runs and --leaderboards"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    write(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a Parquet table in one step."""
    write(path, lambda draft: frame.to_parquet(draft, index=False))


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def split_table(split: Split) -> pd.DataFrame:
    """One row per (fold, utterance): fold, utterance, role."""
    rows = [(fold.name, split.ids[i], role) for fold in split.folds for role in ROLES for i in fold.part(role)]
    return pd.DataFrame(rows, columns=["fold", "utterance", "role"])


def save(
    folder: Path,
    config: str,
    split: Split,
    predictions: Predictions,
    run: Mapping[str, Any],
    excluded: Collection[str] = (),
    activations: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Write a whole bundle; gives run.json's content with the hashes of the other files."""
    names = ["config.toml", "split.parquet", "predictions.parquet"]
    if excluded:
        write_text(folder / EXCLUSIONS, exclusions.write(excluded))
        names.append(EXCLUSIONS)
    write_text(folder / "config.toml", config)
    write_table(folder / "split.parquet", split_table(split))
    write_table(folder / "predictions.parquet", predictions.frame)
    if activations is not None:
        write_table(folder / "activations.parquet", activations)
        names.append("activations.parquet")
    files = {name: file_sha256(folder / name) for name in names}
    return save_run(folder, {"schema_version": SCHEMA_VERSION, **run, "files": files})


def save_run(folder: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Write run.json."""
    write_text(folder / "run.json", json.dumps(run, indent=1, ensure_ascii=False, default=str) + "\n")
    return run


def is_whole(folder: Path) -> bool:
    """Whether a run has been finished into this folder."""
    return (folder / "run.json").exists()


def is_file_name(name: str) -> bool:
    """Whether a name can be a file's or folder's without leading out of where it lies."""
    return bool(name) and name not in (".", "..") and not set(name) & set("/\\\0")


def at_hand(runs: Path, name: str) -> Path | None:
    """The bundle of that name in a folder, if it is there and whole; a name that leads out of the folder is none."""
    return runs / name if is_file_name(name) and is_whole(runs / name) else None


def load_run(folder: Path) -> dict[str, Any]:
    """The content of run.json. Raises BundleError when it is missing or not JSON."""
    path = folder / "run.json"
    try:
        run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{folder} is not a result bundle: {path.name}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise BundleError(f"{path} is damaged: {error}") from error
    return run


def load_predictions(folder: Path, run: Mapping[str, Any]) -> Predictions:
    """The predictions of a bundle; BundleError if the file is missing, unreadable or not the one that was written."""
    path = folder / "predictions.parquet"
    if not path.exists():
        raise BundleError(f"{folder}: predictions.parquet is missing")
    if file_sha256(path) != run["files"]["predictions.parquet"]:
        raise BundleError(f"{path} was altered: its hash is not the one in run.json")
    return Predictions(pd.read_parquet(path), tuple(run["corpus"]["classes"]))


def environment() -> dict[str, Any]:
    """Versions and machine, as far as they can change a number or explain a time."""
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return {
        "sertbench": __version__,
        **git_state(),
        "python": platform.python_version(),
        **versions,
        "os": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu_cores": os.cpu_count(),
        "command": " ".join(["sertbench", *sys.argv[1:]]),
    }


def git_state() -> dict[str, Any]:
    """Commit of the sertbench checkout and whether it has uncommitted changes; empty for an installed package."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return {"git_sha": "", "git_dirty": False}

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return {
        "git_sha": git("rev-parse", "HEAD"),
        "git_dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
    }
