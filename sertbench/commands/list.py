"""`sertbench list`."""

from __future__ import annotations

import argparse

from sertbench.commands import console

HELP = "show the models, datasets, features, protocols or published claims there are"
LISTS = ("models", "datasets", "features", "protocols", "claims")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to list."""
    parser.add_argument("what", nargs="?", choices=LISTS, help="one of them (default: all)")


def execute(options: argparse.Namespace) -> int:
    """Print the tables."""
    from sertbench import listing

    listing.show(console(), (options.what,) if options.what else LISTS)
    return 0
