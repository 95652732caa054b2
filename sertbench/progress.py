"""What a run shows: live bars on a terminal, plain lines elsewhere, and always the same lines in a log file.

Beside the log lies `progress.jsonl`, one JSON object per line, for programs and for `sertbench watch`. Each has `time`
(seconds since 1970) and `event`: "start" (fits), "epoch" (tag, epoch, most, loss, val_uar, rate), "fit" (tag, done,
fits, val_uar, seconds, pruned, reused), "stage" (what, total) or "end". `rate` is training utterances per second.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from sertbench.fits import FitRecord
    from sertbench.training import EpochEnd


EVENTS = "progress.jsonl"


def duration(seconds: float) -> str:
    """A time span in words.

    >>> duration(75), duration(7300)
    ('75 s', '2.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class Display:
    """Shows a run. `live` is decided once, from the terminal. Quiet: only what is urgent; the log has all."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self.console = console
        self.quiet = quiet
        self.live = console.is_terminal and not quiet
        self._log: Path | None = None
        self._sizes: Mapping[str, int] = {}
        self._lock = threading.Lock()
        self._bars: Progress | None = None
        self._fit_bars: dict[str, Any] = {}
        self._fits_bar: Any = None
        self._total = self._done = 0
        self._started = time.monotonic()

    def log_to(self, path: Path) -> None:
        """Also append every line to this file from now on."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._log = path

    def expect(self, sizes: Mapping[str, int]) -> None:
        """How many utterances an epoch of each fold has, by the first part of its fits' tags; for the speed."""
        self._sizes = sizes

    def say(self, text: str, style: str | None = None, *, urgent: bool = False) -> None:
        """One line, on the screen and in the log; a quiet screen shows only urgent ones."""
        with self._lock:
            if urgent or not self.quiet:
                self.console.print(text, style=style, highlight=False, markup=False)
            self._write(text)

    def emit(self, event: str, **values: object) -> None:
        """One line of progress.jsonl, if there is a log."""
        if self._log is not None:
            line = json.dumps({"time": round(time.time(), 2), "event": event, **values})
            with self._lock, self._log.with_name(EVENTS).open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def _write(self, text: str) -> None:
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    @contextmanager
    def stage(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A step whose length is known; the yielded function takes how many are done so far."""
        started, last = time.monotonic(), 0
        if not self.live:
            yield lambda _: None
        else:
            with self._make_bars() as bars:
                bar = bars.add_task(what, total=total, note="")

                def advance(done: int) -> None:
                    nonlocal last
                    last = max(last, done)
                    bars.update(bar, completed=last)

                yield advance
        seconds = time.monotonic() - started
        self.emit("stage", what=what, total=total)
        if seconds > 1:
            self.say(f"{what}: {total} in {duration(seconds)}")

    def _make_bars(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )

    @contextmanager
    def fits(self, total: int) -> Iterator[None]:
        """All fits of a run: while inside, `epoch` and `fitted` may be called, from any thread."""
        self._total, self._done, self._started = total, 0, time.monotonic()
        self.emit("start", fits=total)
        if not self.live:
            yield
        else:
            with self._make_bars() as self._bars:
                self._fits_bar = self._bars.add_task("all fits", total=total, note="")
                yield
            self._bars, self._fit_bars = None, {}

    def epoch(self, tag: str, event: EpochEnd, most: int) -> None:
        """An epoch of a fit has ended."""
        size = self._sizes.get(tag.split(",")[0])
        rate = round(size / event.seconds, 1) if size and event.seconds > 0 else None
        self.emit("epoch", tag=tag, epoch=event.epoch, most=most, loss=event.loss, val_uar=event.val_uar, rate=rate)
        if self._bars is None:
            return
        with self._lock:
            if tag not in self._fit_bars:
                self._fit_bars[tag] = self._bars.add_task(tag, total=most, note="")
            speed = f"  {rate:.0f} utt/s" if rate else ""
            note = f"loss {event.loss:.3f}  val UAR {100 * event.val_uar:.1f}{speed}"
            self._bars.update(self._fit_bars[tag], completed=event.epoch, note=note)

    def fitted(self, tag: str, record: FitRecord) -> None:
        """A fit has ended, was pruned, or was there already."""
        self._done += 1
        left = (time.monotonic() - self._started) / self._done * (self._total - self._done)
        self.emit(
            "fit", tag=tag, done=self._done, fits=self._total, val_uar=record.val_uar, seconds=round(record.seconds, 2),
            pruned=record.pruned, reused=record.reused,
        )  # fmt: skip
        state = "was done already" if record.reused else f"in {duration(record.seconds)}"
        pruned = f", pruned after epoch {len(record.history)}" if record.pruned else ""
        self.say(
            f"[{self._done}/{self._total}] {tag}: val UAR {100 * record.val_uar:.1f} at epoch {record.best_epoch} "
            f"of {max(1, len(record.history))}{pruned}, {state}; about {duration(left)} left"
        )
        if self._bars is not None:
            with self._lock:
                bar = self._fit_bars.pop(tag, None)
                if bar is not None:
                    self._bars.remove_task(bar)
                self._bars.update(self._fits_bar, completed=self._done)

    def pairs(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """A short list of names and values."""
        self.say(title, style="bold")
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self.say(f"  {name:<{width}}  {value}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> None:
        """A table; the first column is left-aligned, numbers right."""
        table = Table(title=title, caption=caption or None, title_justify="left", caption_justify="left")
        for i, column in enumerate(columns):
            table.add_column(column, justify="left" if i < 2 else "right", overflow="fold")
        for row in rows:
            table.add_row(*row)
        with self._lock:
            self.console.print(table)
