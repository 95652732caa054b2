"""`sertbench status`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sertbench.commands import add_runs, console

if TYPE_CHECKING:
    from sertbench.progress import Display
    from sertbench.status import Entry, Progress

HELP = "how far runs are: done, running, failed and why, time left"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs."""
    parser.add_argument(
        "run",
        nargs="*",
        metavar="RUN",
        help="folder, or part of the name, of a run: shows its fits (default: all runs)",
    )
    add_runs(parser)


def execute(options: argparse.Namespace) -> int:
    """Show a table of runs, or the fits of those that are named."""
    from sertbench import status
    from sertbench.errors import ConfigError
    from sertbench.progress import Display

    display = Display(console())
    found = status.entries(options.runs)
    if not found:
        raise ConfigError(f"no run is known in {options.runs}. `sertbench run` begins one; --runs names another folder")
    if not options.run:
        lines = [line(entry, status.progress(options.runs / entry.folder)) for entry in found]
        overview(f"runs in {options.runs}", lines, display)
        return 0
    for name in options.run:
        wanted = Path(name).name
        matching = [e for e in found if wanted in (e.folder or e.name) or wanted in e.name]
        if not matching:
            known = ", ".join(e.folder or e.name for e in found)
            raise ConfigError(f"no run in {options.runs} is called {name!r}. Known: {known}")
        for entry in matching:
            details(entry, status.progress(options.runs / entry.folder), display)
    return 0


COLUMNS = ("run", "folder", "state", "fits", "left", "why")
NONE = "-"
LEAST = 24  # characters that a reason needs to be read in a column


def overview(title: str, lines: Sequence[Sequence[str]], display: Display) -> None:
    """All runs. Columns without content are left out; of a narrow terminal the folders, and reasons stand below."""
    used = [i for i, column in enumerate(zip(*lines, strict=True)) if {*column} - {"", NONE}]
    why = COLUMNS.index("why")

    def room() -> int:
        widths = (max(len(row[i]) for row in [COLUMNS, *lines]) + 3 for i in used if i != why)
        return display.console.width - sum(widths) - 4

    caption, folder = "", COLUMNS.index("folder")
    if folder in used and room() < (LEAST if why in used else -3):
        used.remove(folder)
        caption = "`sertbench status RUN` shows the folder"
    below = why in used and room() < LEAST
    if below:
        used.remove(why)
    display.table(title, [COLUMNS[i] for i in used], [[row[i] for i in used] for row in lines], caption)
    for row in lines:
        if below and row[why]:
            display.say(f"{row[0]}: {row[why]}")


def line(entry: Entry, progress: Progress) -> list[str]:
    """One run in a line."""
    from sertbench.pace import duration

    left = progress.seconds_left
    running = entry.state == "running"
    return [
        entry.name,
        entry.folder or NONE,
        entry.state,
        f"{len(progress.done)}/{progress.total}" if progress.total else NONE,
        duration(left) if running and left is not None else NONE,
        entry.reason,
    ]


def details(entry: Entry, progress: Progress, display: Display) -> None:
    """The fits of one run: those that failed, with their logs, those that run, and how many are done."""
    from sertbench.pace import duration

    display.say(f"{entry.name}: {entry.state}{f': {entry.reason}' if entry.reason else ''}")
    if entry.folder:
        display.say(f"  folder   {entry.folder}")
    if entry.log and entry.state == "failed":
        display.say(f"  log      {entry.log}")
    mean = sum(progress.done.values()) / len(progress.done) if progress.done else 0.0
    display.say(f"  done     {len(progress.done)} of {progress.total} fits, {duration(mean)} each")
    if entry.state == "running":
        for fit, since in progress.running.items():
            display.say(f"  running  {fit}, for {duration(time.time() - since)}")
        if progress.seconds_left is not None:
            display.say(f"  left     about {duration(progress.seconds_left)}")
    for fit, reason in progress.failed.items():
        display.say(f"  failed   {fit}: {reason}")
        if progress.logs.get(fit):
            display.say(f"           {progress.logs[fit]}")
