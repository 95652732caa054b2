"""The files of a run that grow while it runs: its log, its journals, the tracebacks of its failures, its curves.

`log.txt` has all lines that people see. `fits.jsonl` gets a line whenever a fit begins, ends or fails: `sertbench
status` reads it. And `progress.jsonl`, for programs and for `sertbench watch`, has one JSON object per line with `time`
(seconds since 1970) and `event`: "start" (fits), "epoch" (tag, epoch, most, loss, val_uar, rate), "fit" (tag, done,
fits, val_uar, seconds, pruned, reused), "failed" (tag, done, fits, reason), "stage" (what, total) or "end". `rate` is
training utterances per second; `val_uar` is null for a network that is trained on the validation part too.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertbench import scalars

if TYPE_CHECKING:
    from sertbench.fits import FitRecord

LOG = "log.txt"
JOURNAL = "fits.jsonl"
EVENTS = "progress.jsonl"
SILENT = 120.0  # seconds without an event after which one doubts that a run is alive


def file_name(tag: str) -> str:
    """A fit's tag as the name of a file.

    >>> file_name("fold 1, seed 0"), file_name("fold a/b, trial 3")
    ('fold-1-seed-0', 'fold-a_b-trial-3')
    """
    return tag.replace(", ", "-").replace(" ", "-").replace("/", "_")


class RunLog:
    """Appends to the files of one run, from any thread; a run without a folder has none.

    A disk that is too full for a line will be said by what matters more.
    """

    def __init__(self, folder: Path | None = None, *, journals: bool = True, tensorboard: bool = False) -> None:
        self.folder = folder
        self._journals = journals
        self._sizes: Mapping[str, int] = {}
        self._lock = threading.Lock()
        self._scalars = scalars.ScalarLog(folder) if folder is not None and tensorboard else None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for path in (folder / LOG, folder / JOURNAL, folder / EVENTS):
                if path.exists() and not path.read_bytes().endswith(b"\n"):  # a killed process tore its last line
                    self._append(path.name, "")

    def expect(self, sizes: Mapping[str, int]) -> None:
        """How many utterances an epoch of each fold has, by the first part of its fits' tags; for the speed."""
        self._sizes = sizes

    def line(self, text: str) -> None:
        """What people see."""
        self._append(LOG, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")

    def note(self, state: str, fit: str = "", **more: Any) -> None:
        """A line of the fits' journal."""
        if self._journals:
            line = {"state": state, "at": round(time.time(), 1), "fit": fit, **more}
            self._append(JOURNAL, json.dumps(line))

    def emit(self, event: str, **values: object) -> None:
        """A line for programs."""
        if event == "end" and self._scalars is not None:
            self._scalars.close()
        if self._journals:
            line = {"time": round(time.time(), 2), "event": event, **values}
            self._append(EVENTS, json.dumps(line))

    def epoch(self, tag: str, event: Any, most: int) -> float | None:
        """An epoch of a fit has ended; gives training utterances per second, if that is known."""
        size = self._size(tag)
        rate = round(size / event.seconds, 1) if size and event.seconds > 0 else None
        if self._scalars is not None:
            self._scalars.epoch(file_name(tag), event, rate)
        self.emit("epoch", tag=tag, epoch=event.epoch, most=most, loss=event.loss, val_uar=event.val_uar, rate=rate)
        return rate

    def fitted(self, tag: str, record: FitRecord) -> None:
        """A fit has ended, was pruned, or was there already."""
        if self._scalars is not None:
            self._scalars.fitted(file_name(tag), record, self._size(tag))
        self.note("done", tag, seconds=round(record.seconds, 1), reused=record.reused, pruned=record.pruned)

    def failed(self, tag: str, error: Exception) -> str:
        """A fit has failed: its traceback in a file of its own, whose path is given, empty if there is none."""
        where = ""
        if self.folder is not None:
            log = self.folder / "failures" / f"{file_name(tag)}.log"
            with suppress(OSError):
                log.parent.mkdir(exist_ok=True)
                told = "".join(traceback.format_exception(error))
                log.write_text(told, encoding="utf-8", errors="backslashreplace")
                where = str(log)
        self.note("failed", tag, reason=str(error), log=where)
        return where

    def _size(self, tag: str) -> int | None:
        return self._sizes.get(tag.split(",")[0])

    def _append(self, name: str, line: str) -> None:
        if self.folder is not None:
            place = self.folder / name
            with self._lock, suppress(OSError), place.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(line + "\n")
