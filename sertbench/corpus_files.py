"""Which audio files lie below a corpus's folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from sertbench import exclusions
from sertbench.errors import CorpusError

AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".opus")  # endings of files that can be decoded


def wav_files(root: Path) -> list[Path]:
    """All wav files below `root`, sorted, without the `._` twins that macOS archives add."""
    return audio_files(root, (".wav",))


def audio_files(root: Path, endings: Collection[str] = AUDIO) -> list[Path]:
    """As `wav_files`, for each kind of audio that can be decoded, or for other endings (lower case, with the dot).

    Raises CorpusError for a folder that may not be read: its files would be missing without a word.
    """
    return exclusions.visible(_files(root, tuple(endings)) if root.is_dir() else ())


def expanded(path: str | Path, source: str) -> Path:
    """A path with ~ as the home folder; `source` is where it comes from.

    Raises CorpusError for the home folder of a user whom this machine does not know.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise CorpusError(
            f"{source}: {str(path)!r} begins with a user that this machine does not know. Write the whole path, or "
            "./~... for a name that begins so."
        ) from None


def _files(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """In the order of sorted paths, which corpora of 100,000 files are not sorted for. Links to folders stay closed."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise CorpusError(
            f"{folder} cannot be read: {error.strerror}. Make it readable, or move it elsewhere"
        ) from None
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder / entry.name, endings)
        elif entry.name.lower().endswith(endings) and not entry.name.startswith("."):
            yield folder / entry.name
