"""`sertbench verify`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sertbench.commands import add_runs, console
from sertbench.errors import ConfigError

HELP = "work every published figure out again from the predictions"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to verify."""
    parser.add_argument("path", type=Path, help="a bundle (a folder in runs/) or a leaderboard CSV")
    add_runs(parser)


def execute(options: argparse.Namespace) -> int:
    """Give 0 if every figure follows from the predictions, 1 if not."""
    from sertbench import verify

    missing: list[str] = []
    if options.path.suffix == ".csv" and not options.path.exists():
        raise ConfigError(f"{options.path} does not exist: expected a bundle's folder or a leaderboard CSV")
    if options.path.suffix == ".csv":
        findings, missing = verify.verify_table(options.path, options.runs)
        verified = verify.in_words(options.path)
    else:
        findings = verify.verify_bundle(options.path)
        verified = "every figure follows from the predictions"
    screen = console()
    for finding in findings:
        screen.print(f"WRONG {finding}", highlight=False, markup=False)
    for row in missing:
        screen.print(f"not verified, no bundle at hand: {row}", highlight=False, markup=False)
    if not findings and not missing:
        screen.print(f"{options.path}: {verified}", highlight=False, markup=False)
    return 1 if findings or missing else 0
