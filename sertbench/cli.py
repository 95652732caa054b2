"""The command line. It imports nothing heavy, so that `--help` and `list` answer in a blink."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

from sertbench import __version__
from sertbench.errors import SertbenchError

# In the order of --help; each is a module of sertbench.commands.
COMMANDS = (
    "run",
    "status",
    "list",
    "new",
    "card",
    "download",
    "audit",
    "check",
    "profile",
    "publish",
    "verify",
    "compare",
    "predict",
    "export",
    "stress",
    "gaps",
    "replay",
    "cross",
    "leaderboard",
    "report",
    "plot",
    "watch",
)
EXAMPLES = """examples:
  sertbench run --model glam --dataset demo --trials 0        a first look, on a corpus that is made on the spot
  sertbench run --model glam --dataset iemocap --data DIR     tune, cross-validate and rank
  sertbench audit iemocap --data DIR                          is this copy of the corpus the published one?
  sertbench run --models glam,cnn --datasets emodb,ravdess    a grid; `sertbench status` shows how far it is
  sertbench run --model my_model.py:MyNet --dataset emodb     your own architecture
  sertbench list models                                       what there is
"""


class Command(argparse.ArgumentParser):
    """A command whose flags may stand anywhere: `predict RUN --csv FILE` is what people type."""

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, which takes no list of names (`FILE ...`) from behind a flag unless asked to."""
        if self._mixing:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="sertbench",
        description="A benchmark harness for speech emotion recognition whose table can be trusted.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"sertbench {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Command)
    for name in COMMANDS:
        command = import_module(f"sertbench.commands.{name}")
        added = commands.add_parser(name, help=command.HELP)
        command.arguments(added)
        added.set_defaults(execute=command.execute)
    return top


class Terminated(KeyboardInterrupt):
    """SIGTERM: a queue takes its machine back, say. What is at work is stopped first, as with Ctrl-C."""


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Raise Terminated in the main thread when SIGTERM comes."""

    def terminate(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status.

    0, 1 for what failed in part, 2 for what the user can mend, 130 for Ctrl-C, 143 for SIGTERM.
    """
    options = parser().parse_args(arguments)
    try:
        with ending_on_sigterm():
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
    except KeyboardInterrupt as stop:
        print("sertbench: stopped. Finished fits are kept: the same command goes on from there.", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
    return status


if __name__ == "__main__":
    sys.exit(main())
