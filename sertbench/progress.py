"""What a run shows: live bars on a terminal, plain lines elsewhere, and always the same lines in a log file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from sertbench.fits import FitRecord
    from sertbench.training import EpochEnd


def duration(seconds: float) -> str:
    """A time span in words.

    >>> duration(75), duration(7300)
    ('75 s', '2.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class Display:
    """Shows a run. `live` is decided once, from the terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = console.is_terminal
        self._log: Path | None = None
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

    def say(self, text: str, style: str | None = None) -> None:
        """One line, on the screen and in the log."""
        with self._lock:
            self.console.print(text, style=style, highlight=False, markup=False)
            self._write(text)

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
        if not self.live:
            yield
            return
        with self._make_bars() as self._bars:
            self._fits_bar = self._bars.add_task("all fits", total=total, note="")
            yield
        self._bars, self._fit_bars = None, {}

    def epoch(self, tag: str, event: EpochEnd, most: int) -> None:
        """An epoch of a fit has ended."""
        if self._bars is None:
            return
        with self._lock:
            if tag not in self._fit_bars:
                self._fit_bars[tag] = self._bars.add_task(tag, total=most, note="")
            note = f"loss {event.loss:.3f}  val UAR {100 * event.val_uar:.1f}"
            self._bars.update(self._fit_bars[tag], completed=event.epoch, note=note)

    def fitted(self, tag: str, record: FitRecord) -> None:
        """A fit has ended, was pruned, or was there already."""
        self._done += 1
        left = (time.monotonic() - self._started) / self._done * (self._total - self._done)
        state = "was done already" if record.reused else f"in {duration(record.seconds)}"
        kept = f"epoch {record.best_epoch} of {len(record.history)}" if record.history else f"step {record.best_epoch}"
        pruned = f", pruned after epoch {len(record.history)}" if record.pruned else ""
        self.say(
            f"[{self._done}/{self._total}] {tag}: val UAR {100 * record.val_uar:.1f} at {kept}"
            f"{pruned}, {state}; about {duration(left)} left"
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
