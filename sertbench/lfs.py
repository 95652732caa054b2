"""git-lfs pointers: small text files that stand for large ones, with the SHA-256 and the size of these."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import requests

from sertbench.errors import StorageError
from sertbench.fetch import Progress, Say, fetch_with, quiet

LONGEST = 1024  # bytes of a pointer at most, by the specification of git-lfs
POINTER = re.compile(
    r"version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*"
    r"oid sha256:(?P<sha256>[0-9a-f]{64})\nsize (?P<size>\d+)\n"
)


def pointer(file: Path) -> re.Match[str] | None:
    """The parts of a pointer; None for any other file."""
    if file.stat().st_size > LONGEST:
        return None
    try:
        return POINTER.fullmatch(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return None


def resolve(folder: Path, base: str, store: Path, say: Say = quiet, on_progress: Progress = quiet) -> None:
    """Replace each pointer below `folder` by the file that lies at the same path below the address `base`.

    Files arrive in `store`, in which they are kept until all are there: what has come is not asked for again. Raises
    StorageError as `fetch` does, and if there is no pointer at all.
    """
    found = {path: parts for path in sorted(folder.rglob("*")) if path.is_file() and (parts := pointer(path))}
    if not found:
        raise StorageError(f"{folder} holds no git-lfs pointer: the publisher has changed how the corpus is offered.")
    total, done = sum(int(parts["size"]) for parts in found.values()), 0
    say(f"{len(found)} files are still to be fetched, {total / 1e6:.0f} MB")
    arrived = {}
    with requests.Session() as session:
        for path, parts in found.items():
            inner = path.relative_to(folder)
            arrived[path] = store / inner
            arrived[path].parent.mkdir(parents=True, exist_ok=True)
            url = f"{base}/{quote(inner.as_posix())}"
            fetch_with(session, url, arrived[path], f"sha256:{parts['sha256']}", say)
            done += int(parts["size"])
            on_progress(done, total)
    for path, file in arrived.items():
        file.replace(path)
