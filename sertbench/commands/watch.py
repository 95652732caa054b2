"""`sertbench watch`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sertbench.commands import add_runs, console

if TYPE_CHECKING:
    from rich.console import Console

HELP = "show live what a running or finished run is doing, also one on another machine"
EVERY = 1.0  # seconds between two looks


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which run."""
    parser.add_argument(
        "run",
        nargs="?",
        help="a run's folder (a mounted one too) or its name in --runs; - reads progress.jsonl from a pipe, as of "
        "`ssh HOST tail -n +1 -f RUN/progress.jsonl` (default: the run that moved last)",
    )
    add_runs(parser)
    parser.add_argument("--once", action="store_true", help="say how it stands and stop")


def execute(options: argparse.Namespace) -> int:
    """Follow the run to its end."""
    from rich.live import Live

    from sertbench import status, watch

    screen = console()
    if options.run == "-":
        state = watch.State()
        for line in sys.stdin:
            state = watch.read([line], state)
            screen.print("; ".join(watch.lines_of(state, state.last)), highlight=False, markup=False)
        return 0
    path = watch.find(options.run, options.runs)
    if options.once or not screen.is_terminal:
        follow_plainly(path, screen, once=options.once)
        return 0
    with path.open(encoding="utf-8") as file, Live(console=screen, auto_refresh=False) as live:
        state, rest = watch.State(), ""
        while not state.over:
            entry = status.of(path.parent)
            *whole, rest = (rest + file.read()).split("\n")
            state = watch.halted(watch.read(whole, state), entry, path.parent.parent)
            live.update(watch.picture(state, path.parent.name, time.time()), refresh=True)
            if not state.over:
                time.sleep(EVERY)
    return 0


def follow_plainly(path: Path, screen: Console, *, once: bool) -> None:
    """Without a terminal: lines whenever something has changed; once: how it stands now."""
    from sertbench import status, watch

    state, rest, said = watch.State(), "", set[str]()
    with path.open(encoding="utf-8") as file:
        while True:
            entry = status.of(path.parent)
            *whole, rest = (rest + file.read()).split("\n")
            state = watch.halted(watch.read(whole, state), entry, path.parent.parent)
            lines = watch.lines_of(state, time.time() if once else state.last)
            for line in lines:
                if line not in said:
                    screen.print(line, highlight=False, markup=False)
            said = set(lines)
            if once or state.over:
                return
            time.sleep(EVERY)
