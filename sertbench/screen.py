"""What all displays of one command share: the terminal, its bars, and how far the fits of all its runs are."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from sertbench.pace import UnderWay, duration, seconds_left

if TYPE_CHECKING:
    from sertbench.stopwatch import Stopwatch


@dataclass(frozen=True)
class Timed:
    """What one fit or prediction took."""

    folder: Path  # of its run
    tag: str
    slots: int  #    how many ran side by side
    watch: Stopwatch


@dataclass
class Screen:
    """What all displays of one command share."""

    console: Console
    profile: bool = False  # the user asked where the time goes
    timed: list[Timed] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    bars: Progress | None = None
    fit_bars: dict[tuple[str, str], Any] = field(default_factory=dict)
    fits_bar: Any = None
    counting: bool = False
    total: int = 0
    done: int = 0
    fitted: int = 0  # of these, by this command
    running: dict[tuple[str, str], UnderWay] = field(default_factory=dict)
    started: float = 0.0

    @property
    def left(self) -> str:
        """How long it still takes, in words; empty where that is not known."""
        elapsed = time.monotonic() - self.started
        seconds = seconds_left(elapsed, self.fitted, self.running.values(), self.total - self.done)
        return "" if seconds is None else f"about {duration(seconds)} left"


class LeftColumn(TimeRemainingColumn):
    """The time that is left: of all fits as it is said elsewhere, too."""

    def render(self, task: Task) -> Text:
        """Show one bar's."""
        left = task.fields.get("left")
        return super().render(task) if left is None else Text(left, style="progress.remaining")


def bars_on(console: Console) -> Progress:
    """Bars with a note each, how long they took and how long they still take."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        LeftColumn(),
        console=console,
        transient=True,
    )
