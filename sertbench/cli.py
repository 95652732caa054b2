"""The command line. It imports nothing heavy, so that `--help` and `list` answer in a blink."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from sertbench import __version__
from sertbench.errors import SertbenchError

# In the order of --help; each is a module of sertbench.commands.
COMMANDS = (
    "run",
    "list",
    "new",
    "card",
    "download",
    "audit",
    "check",
    "profile",
    "verify",
    "compare",
    "replay",
    "leaderboard",
    "report",
    "plot",
    "watch",
)
EXAMPLES = """examples:
  sertbench run --model glam --dataset demo --trials 0        a first look, on a corpus that is made on the spot
  sertbench run --model glam --dataset iemocap --data DIR     tune, cross-validate and rank
  sertbench audit iemocap --data DIR                          is this copy of the corpus the published one?
  sertbench run --model my_model.py:MyNet --dataset emodb     your own architecture
  sertbench list models                                       what there is
"""


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="sertbench",
        description="A benchmark harness for speech emotion recognition whose table can be trusted.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"sertbench {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = import_module(f"sertbench.commands.{name}")
        added = commands.add_parser(name, help=command.HELP)
        command.arguments(added)
        added.set_defaults(execute=command.execute)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status: 0, 2 for what the user can mend, 130 for an interruption."""
    options = parser().parse_args(arguments)
    try:
        status: int = options.execute(options)
    except SertbenchError as error:
        print(f"sertbench: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away (`| head`); nothing is left to say
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"sertbench: error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sertbench: stopped. Finished fits are kept: the same command goes on from there.", file=sys.stderr)
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
