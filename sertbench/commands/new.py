"""`sertbench new`."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from sertbench.commands import console

HELP = "begin a model or a corpus of your own: a small one that works, and its test"
KINDS = ("model", "corpus")


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
    settings = "--trials 0 --seeds 1 --epochs 2"
    commands = {
        "model": (f"sertbench run --model {path} --dataset demo {settings}",),
        "corpus": (
            f"sertbench audit {path} --data FOLDER",
            f"sertbench run --model cnn --dataset {path} --data FOLDER {settings}",
        ),
    }[options.kind]
    screen.print(f"wrote {path} and {test}. Next:", highlight=False, markup=False, soft_wrap=True)
    installed = "" if find_spec("pytest") else "  # after `pip install pytest`"
    for line in (f"sertbench check {path}", f"pytest {test}{installed}", *commands):
        screen.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    return 0
