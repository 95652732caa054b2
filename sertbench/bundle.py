"""The result bundle: a folder from which every published figure can be worked out again without the audio.

    <runs>/<dataset>-<model>-<protocol>-<row id>/
        config.toml           the resolved configuration; `sertbench run --config` on it is this run again
        predictions.parquet   per seed and test utterance: class probabilities, target, fold, speaker, kept epoch
        split.parquet         per fold and utterance: role
        audio.parquet         per utterance: hash of its decoded audio (see `audio.probe`), so that it is known again
        activations.parquet   per test utterance: what the last layer was given (networks; see `activations`)
        studies/              one Optuna journal per outer fold (where something was tuned)
        run.json              everything else, with the hashes of the files above; written last, so it says "whole"
        exclusions.txt        what --accept-missing named, if it did; config.toml refers to it
        log.txt, progress.jsonl

Every file is written beside its place and renamed into it, so that a killed run leaves nothing half-written.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertbench import __version__, config, exclusions, files
from sertbench.config import RunConfig
from sertbench.corpus import Manifest
from sertbench.errors import BundleError, NewerBundleError
from sertbench.protocols import ROLES, Split
from sertbench.results import Predictions, fault

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
EXCLUSIONS = "exclusions.txt"
LIBRARIES = ("torch", "torchaudio", "numpy", "scipy", "scikit-learn", "optuna", "pandas", "soundfile", "soxr")


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a Parquet table in one step."""
    files.write(path, lambda draft: frame.to_parquet(draft, index=False))


def split_table(split: Split) -> pd.DataFrame:
    """One row per (fold, utterance): fold, utterance, role."""
    import pandas as pd

    rows = [(fold.name, split.ids[i], role) for fold in split.folds for role in ROLES for i in fold.part(role)]
    return pd.DataFrame(rows, columns=["fold", "utterance", "role"])


def audio_table(manifest: Manifest) -> pd.DataFrame:
    """One row per utterance: utterance, audio_sha256."""
    import pandas as pd

    ids = [u.id for u in manifest.utterances]
    return pd.DataFrame({"utterance": ids, "audio_sha256": list(manifest.audio_sha256)})


def save(
    folder: Path,
    settings: str,
    split: Split,
    predictions: Predictions,
    run: Mapping[str, Any],
    excluded: Collection[str] = (),
    activations: pd.DataFrame | None = None,
    audio: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Write a whole bundle; gives run.json's content with the hashes of the other files."""
    names = ["config.toml", "split.parquet", "predictions.parquet"]
    if excluded:
        files.write_text(folder / EXCLUSIONS, exclusions.write(excluded))
        names.append(EXCLUSIONS)
    files.write_text(folder / "config.toml", settings)
    write_table(folder / "split.parquet", split_table(split))
    write_table(folder / "predictions.parquet", predictions.frame)
    for name, table in {"activations.parquet": activations, "audio.parquet": audio}.items():
        if table is not None:
            write_table(folder / name, table)
            names.append(name)
    hashes = {name: files.sha256(folder / name) for name in names}
    return save_run(folder, {"schema_version": SCHEMA_VERSION, **run, "files": hashes})


def save_run(folder: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Write run.json."""
    files.write_text(folder / "run.json", json.dumps(run, indent=1, ensure_ascii=False, default=str) + "\n")
    return run


def is_whole(folder: Path) -> bool:
    """Whether a run has been finished into this folder."""
    return (folder / "run.json").exists()


def is_file_name(name: str) -> bool:
    """Whether a name can be a file's or folder's without leading out of where it lies."""
    return bool(name) and name not in (".", "..") and not set(name) & set("/\\\0")


def readable(folder: Path) -> dict[str, Any] | None:
    """The content of run.json if this folder holds a bundle that can be read; otherwise None."""
    try:
        return load_run(folder)
    except BundleError:
        return None


def load_run(folder: Path) -> dict[str, Any]:
    """The content of run.json. Raises BundleError when it is missing or not JSON."""
    path = folder / "run.json"
    try:
        run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        schema = int(run["schema_version"])
    except OSError as error:
        raise BundleError(f"{folder} is not a result bundle: {path.name}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is damaged: {error!r}. Run its config.toml again: finished fits are kept") from error
    if schema > SCHEMA_VERSION:
        raise NewerBundleError(
            f"{path} was written by a newer sertbench (schema {schema}; this one reads up to {SCHEMA_VERSION}). "
            "Update with `pip install -U sertbench`"
        )
    return run


def load_config(folder: Path, run: Mapping[str, Any]) -> RunConfig:
    """The options of a bundle's run; BundleError if config.toml is missing or not the one that was written."""
    path = folder / "config.toml"
    if not path.exists() or files.sha256(path) != run["files"][path.name]:
        raise BundleError(f"{path} is missing or was altered: its hash is not the one in run.json")
    return config.load(path, {})


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """While something is worked out from run.json: BundleError for what it lacks or has of the wrong kind."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{folder / 'run.json'} is damaged: {error!r} is missing or of the wrong kind") from error


def load_predictions(folder: Path, run: Mapping[str, Any]) -> Predictions:
    """The predictions of a bundle; BundleError if the file is missing, unreadable or not the one that was written.

    A replayed claim has none that all seeds share: BundleError.
    """
    import pandas as pd

    path = folder / "predictions.parquet"
    if run.get("kind") == "replay":
        raise BundleError(
            f"{folder.name} is a replayed claim, whose seeds test different utterances. Name a run of `sertbench run`"
        )
    if not path.exists():
        raise BundleError(f"{folder}: predictions.parquet is missing")
    if files.sha256(path) != run["files"]["predictions.parquet"]:
        raise BundleError(f"{path} was altered: its hash is not the one in run.json")
    try:
        frame, classes = pd.read_parquet(path), tuple(run["corpus"]["classes"])
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    if said := fault(frame, classes):
        raise BundleError(f"{path} {said}")
    return Predictions(frame, classes)


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
