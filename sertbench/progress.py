"""What a run shows: live bars on a terminal, plain lines elsewhere, and the same lines in its log (see `run_log`)."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from sertbench.errors import counted
from sertbench.pace import UnderWay, duration
from sertbench.run_log import RunLog
from sertbench.screen import Screen, Timed, bars_on

if TYPE_CHECKING:
    from sertbench.fits import FitRecord
    from sertbench.stopwatch import Stopwatch


def outcome(record: FitRecord) -> str:
    """What came of a fit, in words.

    A network that is trained on the validation part too has no score there. Of an estimator's own candidates (values of
    C, rounds, epochs) the first is not named: it may be the only one.
    """
    if math.isnan(record.val_uar):
        return f"trained for {record.best_epoch} epochs"
    score = f"val UAR {100 * record.val_uar:.1f}"
    if record.history:
        return f"{score} at epoch {record.best_epoch} of {len(record.history)}"
    return f"{score} with its own candidate {record.best_epoch}" if record.best_epoch > 1 else score


class Display:
    """Shows one run. Several runs of a grid have a display each, with a name, on the same screen.

    Quiet: only what is urgent; the log has all.
    """

    def __init__(
        self,
        console: Console,
        name: str = "",
        screen: Screen | None = None,
        *,
        quiet: bool = False,
        profile: bool = False,
        tensorboard: bool = False,
    ) -> None:
        self.console = console
        self.tensorboard = tensorboard
        self.quiet = quiet
        self.live = console.is_terminal and not quiet  # decided once
        self.name = name
        self._screen = screen or Screen(console, profile)
        self._log = RunLog()
        self._done = self._total = 0  # of this run's own fits; the screen counts those of all runs

    def child(self, name: str) -> Display:
        """A display for one run of several on the same screen: its lines begin with its name."""
        return Display(self.console, name, self._screen, quiet=self.quiet, tensorboard=self.tensorboard)

    def aside(self) -> Display:
        """A display with the same log for fits that are not the run's own (see optimism): `status` leaves them out."""
        same = self.child(self.name)
        same._log = RunLog(self._log.folder, journals=False)
        return same

    @property
    def profile(self) -> bool:
        """Whether the user asked where the time goes."""
        return self._screen.profile

    @property
    def timed(self) -> list[Timed]:
        """What all fits and predictions of this command took."""
        return self._screen.timed

    def spent(self, tag: str, slots: int, watch: Stopwatch) -> None:
        """A fit or prediction has come back from where it ran."""
        if self._log.folder is not None:
            self._screen.timed.append(Timed(self._log.folder, tag, slots, watch))

    def log_to(self, folder: Path) -> None:
        """Also append every line and every event to the files of the run in this folder from now on."""
        self._log = RunLog(folder, tensorboard=self.tensorboard)

    def expect(self, sizes: Mapping[str, int]) -> None:
        """How many utterances an epoch of each fold has, by the first part of its fits' tags; for the speed."""
        self._log.expect(sizes)

    def say(self, text: str, style: str | None = None, *, urgent: bool = False) -> None:
        """One line, on the screen and in the log; a quiet screen shows only urgent ones."""
        with self._screen.lock:
            shown = f"{self.name}: {text}" if self.name else text
            if urgent or not self.quiet:
                self.console.print(shown, style=style, highlight=False, markup=False)
            self._log.line(text)

    def ended(self) -> None:
        """The run is over."""
        self._log.emit("end")

    @contextmanager
    def stage(self, what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        """A step through files; the yielded function takes how many are done so far, and of how many if that is new."""
        started, last = time.monotonic(), 0
        live = self.live and self._screen.bars is None
        with bars_on(self.console) if live else nullcontext() as bars:
            bar = bars.add_task(what, total=total, note="") if bars else None

            def advance(done: int, of: int | None = total) -> None:
                nonlocal last
                last = max(last, done)
                if bars and bar is not None:
                    bars.update(bar, completed=last, total=of)

            yield advance
        seconds, files = time.monotonic() - started, last if total is None else total
        self._log.emit("stage", what=what, total=files)
        if seconds > 1:
            self.say(f"{what}: {counted(files, 'file')} in {duration(seconds)}")

    @contextmanager
    def counting(self, total: int) -> Iterator[None]:
        """All fits of all runs; inside, `begun`, `epoch`, `fitted` and `failed` may be called, from any thread."""
        screen = self._screen
        if screen.counting:  # by the grid that this run belongs to
            yield
            return
        screen.counting, screen.total, screen.started = True, total, time.monotonic()
        screen.done = screen.fitted = 0
        screen.running.clear()
        try:
            if not self.live:
                yield
                return
            with bars_on(self.console) as screen.bars:
                screen.fits_bar = screen.bars.add_task("all fits", total=total, note="", left="")
                yield
        finally:
            screen.counting, screen.bars, screen.fit_bars = False, None, {}

    @contextmanager
    def fits(self, total: int) -> Iterator[None]:
        """All fits of this run."""
        self._done, self._total = 0, total
        self._log.note("plan", fits=total, pid=os.getpid(), host=socket.gethostname())
        self._log.emit("start", fits=total)
        with self.counting(total):
            yield

    def begun(self, tag: str) -> None:
        """A fit has found a place to run."""
        self._log.note("begun", tag)

    def epoch(self, tag: str, event: Any, most: int) -> None:
        """An epoch of a fit has ended."""
        rate = self._log.epoch(tag, event, most)
        screen, key = self._screen, (self.name, tag)
        with screen.lock:
            before = screen.running.get(key)
            screen.running[key] = UnderWay(before.first if before else event.epoch - 1, event.epoch, most)
            if screen.bars is None:
                return
            screen.bars.update(screen.fits_bar, left=screen.left)
            if key not in screen.fit_bars:
                shown = f"{self.name}, {tag}" if self.name else tag
                screen.fit_bars[key] = screen.bars.add_task(shown, total=most, note="")
            speed = f"  {rate:.0f} utt/s" if rate else ""
            note = f"loss {event.loss:.3f}  val UAR {100 * event.val_uar:.1f}{speed}"
            screen.bars.update(screen.fit_bars[key], completed=event.epoch, note=note)

    def fitted(self, tag: str, record: FitRecord) -> None:
        """A fit has ended, was pruned, or was there already."""
        self._log.fitted(tag, record)
        state = "was done already" if record.reused else f"in {duration(record.seconds)}"
        pruned = f", pruned after epoch {len(record.history)}" if record.pruned else ""
        note = f" ({record.note})" if record.note else ""
        done, fits = self._count(tag, f"{outcome(record)}{pruned}, {state}{note}", made=not record.reused)
        self._log.emit(
            "fit", tag=tag, done=done, fits=fits, val_uar=None if math.isnan(record.val_uar) else record.val_uar,
            seconds=round(record.seconds, 2), pruned=record.pruned, reused=record.reused,
        )  # fmt: skip

    def failed(self, tag: str, error: Exception) -> None:
        """A fit has failed: its reason in a sentence, and the traceback in a file of its own."""
        where = self._log.failed(tag, error)
        done, fits = self._count(tag, f"failed: {error}{f' (log: {where})' if where else ''}", made=True)
        self._log.emit("failed", tag=tag, done=done, fits=fits, reason=str(error))

    def _count(self, tag: str, text: str, *, made: bool) -> tuple[int, int]:
        """One fit less to come: says so, and gives how many of this run's are over, of how many."""
        screen, key = self._screen, (self.name, tag)
        with screen.lock:
            self._done += 1
            screen.done += 1
            screen.fitted += made
            screen.running.pop(key, None)
            left = screen.left
            self.say(f"[{screen.done}/{screen.total}] {tag}: {text}{left and f'; {left}'}")
            if screen.bars is not None:
                bar = screen.fit_bars.pop(key, None)
                if bar is not None:
                    screen.bars.remove_task(bar)
                screen.bars.update(screen.fits_bar, completed=screen.done, left=left)
            return self._done, self._total

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
        with self._screen.lock:
            self.console.print(table)
