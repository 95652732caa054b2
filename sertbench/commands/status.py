"""`sertbench status`."""

from __future__ import annotations

import argparse
import time
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
    lines = [line(entry, status.progress(options.runs / entry.folder)) for entry in found]
    if not options.run:
        display.table(f"runs in {options.runs}", COLUMNS, lines)
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


def line(entry: Entry, progress: Progress) -> list[str]:
    """One run in a line."""
    from sertbench.progress import duration

    left = progress.seconds_left
    running = entry.state == "running"
    return [
        entry.name,
        entry.folder or "-",
        entry.state,
        f"{len(progress.done)}/{progress.total}" if progress.total else "-",
        duration(left) if running and left is not None else "-",
        entry.reason,
    ]


def details(entry: Entry, progress: Progress, display: Display) -> None:
    """The fits of one run: those that failed, with their logs, those that run, and how many are done."""
    from sertbench.progress import duration

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
