"""`sertbench leaderboard`."""

from __future__ import annotations

import argparse
import sys

from sertbench.commands import add_leaderboards, add_runs, console, file_name
from sertbench.errors import ConfigError

HELP = "rebuild every leaderboard from its bundles, check it, or export it for a paper"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to do with which leaderboards."""
    parser.add_argument(
        "corpora",
        nargs="*",
        metavar="CORPUS",
        help="write this one also where nothing was run; with --format: only these",
    )
    add_runs(parser)
    add_leaderboards(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="write nothing; exit 1 where a CSV is not what bundles give")
    what.add_argument("--format", choices=("markdown", "latex"), help="write nothing; print the tables for a paper")
    parser.add_argument("--out", type=file_name, metavar="FILE", help="with --format: write there instead of printing")


def execute(options: argparse.Namespace) -> int:
    """Give 0 if all is well, 1 if a table is not what the bundles give or a bundle could not be used."""
    from sertbench import rebuild
    from sertbench.bundles import Bundles

    if options.out and not options.format:
        raise ConfigError("--out goes with --format markdown or --format latex")
    if options.corpora and options.check:
        raise ConfigError("--check checks all tables: leave CORPUS out")
    if options.format:
        return export(options)
    screen, bundles = console(), Bundles.of(options.runs, options.leaderboards)
    if options.check:
        found = rebuild.check(options.leaderboards, options.runs)
        for line in found:
            screen.print(f"WRONG {line}", highlight=False, markup=False)
        if not found:
            screen.print(f"{options.leaderboards}: every table is what the bundles in {bundles} give", markup=False)
        return 1 if found else 0
    paths, notes = rebuild.rebuild(options.leaderboards, options.runs, options.corpora)
    if not paths and not notes:
        raise ConfigError(f"there is no bundle in {bundles}. `sertbench run` makes one; --runs says where they lie")
    for path in paths:
        screen.print(f"written: {path}", highlight=False, markup=False)
    for note in notes:
        screen.print(f"left out: {note}", highlight=False, markup=False)
    return 1 if notes else 0


def export(options: argparse.Namespace) -> int:
    """Print or write the published tables in another format."""
    from sertbench import board_files, files
    from sertbench import export as formats
    from sertbench.errors import unknown

    paths = board_files.tables(options.leaderboards)
    if not paths:
        raise ConfigError(f"there is no leaderboard in {options.leaderboards}. `sertbench leaderboard` makes them")
    for name in options.corpora:
        if name not in paths:
            raise ConfigError(unknown("leaderboard", name, paths))
    rows = [row for name in options.corpora or paths for row in board_files.whole(paths[name])]
    text = {"markdown": formats.markdown, "latex": formats.latex}[options.format](rows)
    if options.out:
        files.write_text(options.out, text)
    else:
        sys.stdout.write(text)
    return 0
