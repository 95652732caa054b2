"""`sertbench report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sertbench.commands import add_leaderboards, add_runs, console
from sertbench.errors import counted

HELP = "write the leaderboards as a folder of web pages that works offline"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to show, and where to write."""
    parser.add_argument(
        "corpora",
        nargs="*",
        metavar="CORPUS",
        help="only these leaderboards, cross for the cross-corpus one (default: all)",
    )
    add_runs(parser)
    add_leaderboards(parser)
    parser.add_argument(
        "--audits",
        type=Path,
        metavar="FOLDER",
        help="of the files that `sertbench audit NAME --json FILE` wrote, for the corpora's pages "
        "(default: audits in the leaderboards' folder, if it is there)",
    )
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder to write (default: report)")


def execute(options: argparse.Namespace) -> int:
    """Verify, draw, and say where the first page is."""
    from sertbench import report, report_audit, report_gather

    audits = report_audit.read_all(options.audits, options.leaderboards)
    view = report_gather.gather(options.leaderboards, options.runs, options.corpora, audits.values())
    index = report.write(view, options.out)
    screen = console()
    rows, ran = len(view.entries), sum(bool(corpus.tables) for corpus in view.corpora)
    corpora = "1 corpus" if ran == 1 else f"{ran} corpora"
    screen.print(f"{index}: {counted(rows, 'row')} of {corpora}, {rows - view.missing} verified", markup=False)
    if view.cross:
        n, missing = len(view.cross.rows), view.cross.missing
        screen.print(
            f"{options.out / 'cross.html'}: {counted(n, 'cross-corpus row')}, {n - missing} verified", markup=False
        )
    if view.missing:
        screen.print(f"{counted(view.missing, 'row')} without a page: no bundle in {options.runs}", markup=False)
    shown = [audit for corpus in view.corpora for audit in corpus.audits]
    for path, audit in audits.items():
        if audit not in shown and not options.corpora:
            screen.print(f"{path} is not shown: there is no board of {audit.corpus}", markup=False, highlight=False)
    return 0
