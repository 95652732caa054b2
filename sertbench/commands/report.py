"""`sertbench report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sertbench.commands import add_leaderboards, add_runs, console

HELP = "write the leaderboards as a folder of web pages that works offline"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to show, and where to write."""
    parser.add_argument("corpora", nargs="*", metavar="CORPUS", help="only these leaderboards (default: all)")
    add_runs(parser)
    add_leaderboards(parser)
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder to write (default: report)")


def execute(options: argparse.Namespace) -> int:
    """Verify, draw, and say where the first page is."""
    from sertbench import report, report_gather

    view = report_gather.gather(options.leaderboards, options.runs, options.corpora)
    index = report.write(view, options.out)
    screen = console()
    rows = len(view.entries)
    screen.print(f"{index}: {rows} rows of {len(view.corpora)} corpora, {rows - view.missing} verified", markup=False)
    if view.missing:
        screen.print(f"{view.missing} rows have no page: their bundles are not in {options.runs}", markup=False)
    return 0
