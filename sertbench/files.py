"""Files that are whole or absent: written beside their place, flushed, renamed. And locks with a time limit.

All of it also holds on a network file system: a draft's name is its writer's alone, a rename is one step there too, and
locks are the system's own, or a lock file where the file system has none.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sertbench.errors import BusyError, StorageError


def draft_of(path: Path) -> Path:
    """A new name beside `path`, hidden, that no other writer on any machine uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.draft")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; a power cut then cannot take them away."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# What reading a damaged .npz raises: damage may look like a compression or an encryption that nobody knows.
UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)
RUNS = "choose another one with --runs and --leaderboards"
CACHE = "name another cache folder in $SERTBENCH_CACHE"


def write(path: Path, save: Callable[[Path], object], otherwise: str = RUNS) -> None:
    """Let `save` write a draft beside `path`, then put it there in one step.

    Raises StorageError for a folder that is full or read-only, with what to do `otherwise` than to free some space.
    """
    draft = draft_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(draft)
        sync(draft)
        draft.replace(path)
        sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}. Free some space, make the folder writable, or {otherwise}"
        ) from error


def write_text(path: Path, text: str, otherwise: str = RUNS) -> None:
    """Write a text file in one step; see `write`. A name of a file that is no UTF-8 is written with escapes."""
    write(path, lambda draft: draft.write_text(text, encoding="utf-8", errors="backslashreplace"), otherwise)


def remove_drafts(folder: Path, name: str = "*") -> None:
    """Remove drafts of files of this name that killed processes left. Only for one who holds the lock on them."""
    for draft in folder.glob(f".{name}.*.draft"):
        with suppress(OSError):
            draft.unlink()


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


def sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def locked(path: Path, seconds: float, held: str) -> Iterator[None]:
    """Hold the lock file `path`; BusyError with the sentence `held` when it is not free within `seconds`.

    The lock of a process that was killed is free at once, on a network file system too, because the system keeps it.
    """
    lock = FileLock(path, timeout=seconds)
    try:
        lock.acquire()
    except Timeout as error:
        raise BusyError(held) from error
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"cannot lock {path}: {reason}. Make its folder writable, or choose another one") from error
    try:
        yield
    finally:
        lock.release()
