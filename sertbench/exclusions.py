"""Utterances and files that a user leaves out by name (`--accept-missing FILE`), and how adapters come to know of it.

A reading of a corpus happens inside `reading(root, names, hidden)`. There, `excused` tells an adapter that an utterance
may be missing, and `visible` (behind `corpus_files.audio_files`) hides files from it: those that it refused when it was
asked before. Outside, nothing is hidden and nothing excused. The file has one utterance id, or path from the corpus's
folder, per line; lines that begin with # are comments.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path, PurePosixPath

from sertbench.errors import ConfigError, few


def name_from(path: Path, folder: Path) -> str:
    """The name of a file in reports and lists: its path from the corpus's folder, with slashes."""
    here = None if path.is_absolute() and folder.is_absolute() else Path.cwd()
    between = _between(path.parent, folder, here)
    return path.name if between == "." else f"{between}/{path.name}"


@lru_cache(1024)
def _between(below: Path, folder: Path, _here: Path | None) -> str:
    """The way from one folder to another: thousands of files lie in few. Names may be told from `_here`."""
    return Path(os.path.relpath(below, folder)).as_posix()


class Reading:
    """What one reading of a corpus leaves out, and which names it met."""

    def __init__(self, root: Path, names: Collection[str], hidden: Collection[Path]) -> None:
        self.names = frozenset(names)
        stems = {PurePosixPath(name).stem for name in names if "/" in name or PurePosixPath(name).suffix}
        self.excusable = self.names | stems
        self.root = root
        self.hidden = frozenset(hidden)
        self.met: set[str] = set()  #            names that an adapter asked about
        self.current: Path | None = None  #      the file that an adapter is at; None before and after its files

    def names_refused(self) -> Path | None:
        """The file that an adapter is at, if it is one that the user leaves out by its path."""
        path = self.current
        return path if path and path.relative_to(self.root).as_posix() in self.names else None


_now: ContextVar[Reading | None] = ContextVar("reading", default=None)


@contextmanager
def reading(root: Path, names: Collection[str] = (), hidden: Collection[Path] = ()) -> Iterator[Reading]:
    """Read a corpus at `root`: what `names` (ids, paths from `root`) may be missing; `hidden` files are not shown."""
    made = Reading(root, names, hidden)
    token = _now.set(made)
    try:
        yield made
    finally:
        _now.reset(token)


class _Watched(list[Path]):
    """Files that note how far an adapter has come with them: what it refuses is the one that it is at."""

    def __iter__(self) -> Iterator[Path]:
        made = _now.get()
        for path in super().__iter__():
            if made:
                made.current = path
            yield path
        if made:
            made.current = None


def visible(paths: Iterable[Path]) -> list[Path]:
    """The paths, in their order, without the hidden ones of this reading."""
    made = _now.get()
    if made is None:
        return list(paths)
    return _Watched(path for path in paths if path not in made.hidden)


def excused(name: str) -> bool:
    """Whether the utterance of the id `name` may be missing from this reading."""
    made = _now.get()
    if made is None or name not in made.excusable:
        return False
    made.met.add(name)
    return True


def read(path: Path) -> tuple[str, ...]:
    """The names in a file of exclusions, sorted. Raises ConfigError for a file that cannot be read or names nothing."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--accept-missing {path} cannot be read: {reason}. Expected: a text file, {FORM}") from None
    names = {PurePosixPath(line.strip()).as_posix() for line in lines if line.strip() and not line.startswith("#")}
    if not names:
        raise ConfigError(f"--accept-missing {path} names nothing. Expected: {FORM}")
    return tuple(sorted(names))


FORM = "one utterance id, or file path from the corpus's folder, per line; # begins a comment"


def write(names: Collection[str]) -> str:
    """The content of a file that `read` gives the same names of."""
    return "# Left out of this run by --accept-missing.\n" + "".join(f"{name}\n" for name in sorted(names))


def sha256(names: Collection[str]) -> str:
    """Hash of a list of exclusions; empty without any."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest() if names else ""


def refuse_strangers(
    root: Path, made: Reading, found: Collection[str], expected: Collection[str], said: str = "--accept-missing"
) -> None:
    """ConfigError for a name that leaves nothing out: no utterance of the corpus and no file below `root`.

    `found` and `expected` are the ids of the utterances that are there and that were published. The path of a file that
    is missing is known by its stem; where the utterance of that id is there, the path is a wrong one.
    """
    ids = {*found, *expected}
    known = made.met | ids
    missing = known - set(found)
    strange = [
        name
        for name in sorted(made.names)
        if name not in known and PurePosixPath(name).stem not in missing and not _is_file(root, name)
    ]
    if strange:
        raise ConfigError(
            f"{said} names {few(strange)}, which the corpus at {root} does not know. Accepted are ids of its "
            f"utterances, such as {few(sorted(ids), 2)}, and paths of files in it; `sertbench audit` names both."
        )


def _is_file(root: Path, name: str) -> bool:
    """Whether a path from the corpus's folder is a file; one that is told from elsewhere names nothing in it."""
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        return False
    try:
        return (root / name).is_file()
    except (OSError, ValueError):
        return False
