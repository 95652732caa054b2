"""The courses of a corpus, kept in the cache by the hash of the audio, so that nothing is decoded for them alone."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from sertbench import audio, files
from sertbench.courses import BANDS, VERSION, Course, course
from sertbench.machine import cores


class Shelf:
    """Courses by the hash of the audio, kept in a folder of the cache when the context that it is ends.

    Files are never changed, so that runs side by side lose nothing of each other's. One that cannot be read is as good
    as absent. Leaving the context raises StorageError if the folder cannot be written.
    """

    def __init__(self, cache: Path | None) -> None:
        self.folder = None if cache is None else cache / "courses" / f"v{VERSION}"
        self.fresh: dict[str, Course] = {}

    def add(self, sha256: str, samples: npt.NDArray[np.float32], rate: int) -> None:
        """Make the course of a signal (n,) and keep it; threads may call this."""
        self.fresh[sha256] = course(samples, rate)

    def known(self, wanted: Collection[str]) -> dict[str, Course]:
        """Those of the wanted courses that are there."""
        found = {sha: self.fresh[sha] for sha in wanted if sha in self.fresh}
        for file in sorted(self.folder.glob("*.npz")) if self.folder else ():
            with (
                contextlib.suppress(*files.UNREADABLE),
                file.open("rb") as stream,
                np.load(stream) as content,
            ):
                names = [row.tobytes().hex() for row in content["sha256"]]
                missing = set(wanted).intersection(names) - found.keys()
                if missing:
                    parts = np.split(content["values"].reshape(-1, BANDS), np.cumsum(content["lengths"])[:-1])
                    found |= {sha: part for sha, part in zip(names, parts, strict=True) if sha in missing}
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.folder is None or not self.fresh:
            return
        name = hashlib.sha256("".join(sorted(self.fresh)).encode()).hexdigest()[:16]

        def save(draft: Path) -> None:
            with draft.open("wb") as file:
                np.savez(
                    file,
                    allow_pickle=False,
                    sha256=np.frombuffer(bytes.fromhex("".join(self.fresh)), np.uint8).reshape(-1, 32),
                    lengths=np.array([len(c) for c in self.fresh.values()], np.int64),
                    values=np.concatenate(list(self.fresh.values())),
                )

        files.write(self.folder / f"{name}.npz", save, files.CACHE)


def courses_of(
    paths: Sequence[Path],
    audio_sha256: Sequence[str],
    channel: str,
    cache: Path | None,
    on_progress: Callable[[int], None] | None = None,
) -> list[Course]:
    """Courses of many files, in the order of `paths`; those that the cache does not hold are made and kept there.

    `audio_sha256[i]` is the hash of the audio at `paths[i]`. `on_progress` is told the number of files done so far.
    Raises AudioError for a file that cannot be used and StorageError for a cache that cannot be written.
    """
    pool = ThreadPoolExecutor(cores(), thread_name_prefix="courses")
    with Shelf(cache) as shelf:
        known = shelf.known(frozenset(audio_sha256))
        missing = {sha: path for sha, path in zip(audio_sha256, paths, strict=True) if sha not in known}

        def read(sha256: str) -> None:
            samples, rate, _ = audio.decode(missing[sha256], channel)
            shelf.add(sha256, samples, rate)

        try:
            for done, _ in enumerate(pool.map(read, missing), len(paths) - len(missing) + 1):
                if on_progress:
                    on_progress(done)
        finally:  # what was read before an interruption is not read again
            pool.shutdown(cancel_futures=True)
        known |= shelf.fresh
    return [known[sha] for sha in audio_sha256]
