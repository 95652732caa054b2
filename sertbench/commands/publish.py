"""`sertbench publish`."""

from __future__ import annotations

import argparse

from sertbench.commands import add_leaderboards, add_runs, console
from sertbench.errors import ConfigError

HELP = "put runs beside the leaderboards, ready to be committed: compact, and without paths of this machine"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs."""
    parser.add_argument("run", nargs="*", metavar="RUN", help="a bundle's folder or name, its row id, or a model")
    parser.add_argument("--all", action="store_true", help="every finished run on a real corpus that lies in --runs")
    add_runs(parser)
    add_leaderboards(parser)


def execute(options: argparse.Namespace) -> int:
    """Copy the bundles, write the tables anew from them, and say what to commit."""
    if bool(options.run) == options.all:
        raise ConfigError("name the runs to publish, or type --all. `sertbench status` shows what there is")
    from sertbench import board_rows, bundle, comparison, cross_board, leaderboard, publishing
    from sertbench.bundles import CROSSED, Bundles

    bundles = Bundles.of(options.runs, options.leaderboards)
    if options.all:
        there = sorted(p.parent for glob in ("*/run.json", f"{CROSSED}/*/run.json") for p in options.runs.glob(glob))
        chosen = [folder for folder in there if not bundle.load_run(folder)["corpus"]["synthetic"]]
    else:
        chosen = [comparison.find_bundle(name, bundles, bundles.crossed) for name in options.run]
    if not chosen:
        raise ConfigError(f"there is no finished run on a real corpus in {options.runs}")
    screen, tables = console(), set()
    # Of several runs of one row the newest is put into the table last, and stays there.
    for folder in sorted(chosen, key=lambda folder: str(bundle.load_run(folder).get("date_utc"))):
        public = publishing.publish(folder, bundles)
        size = sum(file.stat().st_size for file in public.iterdir()) / 1000
        screen.print(f"published: {public} ({size:.0f} kB)", highlight=False, markup=False)
        run = bundle.load_run(public)
        if "cross" in run:
            tables.add(cross_board.add(options.leaderboards, cross_board.rows_of(run, public)))
        else:
            tables.add(leaderboard.add(options.leaderboards, board_rows.row_from(public), options.runs)[0])
    for table in sorted(tables):
        screen.print(f"written: {table}", highlight=False, markup=False)
    screen.print(f"commit {options.leaderboards}; `sertbench leaderboard --check` verifies it", highlight=False)
    return 0
