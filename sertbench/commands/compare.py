"""`sertbench compare`."""

from __future__ import annotations

import argparse

from sertbench.commands import add_leaderboards, add_runs, console

HELP = "say what can and cannot be said about which of two runs is better"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which two runs."""
    for name in ("a", "b"):
        parser.add_argument(name, metavar=name.upper(), help="a bundle's folder or name, its row id, or a model")
    add_runs(parser)
    add_leaderboards(parser)


def execute(options: argparse.Namespace) -> int:
    """Print the comparison."""
    from sertbench import comparison
    from sertbench.bundles import Bundles

    bundles = Bundles.of(options.runs, options.leaderboards)
    a, b = (comparison.find_bundle(name, bundles) for name in (options.a, options.b))
    console().print(comparison.compare(a, b), highlight=False, markup=False)
    return 0
