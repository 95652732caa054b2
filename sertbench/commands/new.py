"""`sertbench new`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sertbench.commands import console

HELP = "begin a model of your own: a small one that works, and its test"
KINDS = ("model",)


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to begin, and where."""
    parser.add_argument("kind", choices=KINDS, help="what to begin")
    parser.add_argument("name", metavar="NAME", help="its name: NAME.py and test_NAME.py are written")
    parser.add_argument("--dir", type=Path, default=Path(), metavar="DIR", help="where (default: here)")


def execute(options: argparse.Namespace) -> int:
    """Write the files, and say what to type next."""
    from sertbench import scaffold

    path, test = scaffold.write(options.kind, options.name, options.dir)
    screen = console()
    for line in (
        f"wrote {path} and {test}. Next:",
        f"  sertbench check {path}",
        f"  pytest {test}",
        f"  sertbench run --model {path} --dataset demo --trials 0 --seeds 1 --epochs 2",
    ):
        screen.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0
