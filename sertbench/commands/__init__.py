"""The commands of the command line, one module each.

A module has `HELP` (one line), `arguments(parser)` and `execute(options)`, which gives the exit status. `--help`
imports all of them, so whatever is heavy is imported inside `execute`. `sertbench.cli` names them and their order.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """Where commands print, what they are given. Not a terminal: wide enough for any table, and without colours."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 - rich, which calls this where it has caught it, would end the program

        def print(self, *what: Any, **how: Any) -> None:
            """Print; where no terminal is, a sentence is one line, to be searched for and counted."""
            if not self.is_terminal and all(isinstance(part, str) for part in what):
                how.setdefault("soft_wrap", True)
            super().print(*what, **how)

    # Names of files and plug-ins may look like markup or emoji.
    screen = Screen(markup=False, emoji=False)
    return screen if screen.is_terminal else Screen(width=160, color_system=None, markup=False, emoji=False)


def add_runs(parser: argparse.ArgumentParser) -> None:
    """The flag that says where bundles lie."""
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the bundles (default: runs)")


def add_leaderboards(parser: argparse.ArgumentParser) -> None:
    """The flag that says where the published tables lie."""
    parser.add_argument(
        "--leaderboards", type=Path, default=Path("leaderboards"), help="folder of the CSVs (default: leaderboards)"
    )


def file_name(text: str) -> Path:
    """The path of a file to be written, or argparse's error for one that cannot be a file's: nothing, a folder's."""
    path = Path(text)
    if path.name in ("", "..") or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a file to write")
    return path


def whole_number(text: str) -> int:
    """An int, or argparse's error with the accepted form."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
