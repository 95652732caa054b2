"""The command line. It imports nothing heavy, so that `--help` and `list` answer in a blink."""

from __future__ import annotations

import _thread
import argparse
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from sertbench import __version__, plugin_import
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


def signal_of(stop: KeyboardInterrupt) -> signal.Signals:
    """The signal that raised this."""
    return signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT


@contextmanager
def stopping() -> Iterator[None]:
    """Raise Terminated in the main thread when SIGTERM comes, and let neither it nor Ctrl-C be swallowed.

    Python drops what is raised in a finaliser or a weak reference's callback, also when a signal's handler raised it.
    """

    def terminate(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise Terminated

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if not isinstance(what.exc_value, KeyboardInterrupt):
            report(what)
            return
        if isinstance(what.exc_value, Terminated):
            signal.signal(signal.SIGTERM, terminate)
        # Raised from here it would be dropped as well; threading's own locks may be held where a finaliser runs.
        _thread.start_new_thread(send_again, (signal_of(what.exc_value),))

    def send_again(number: signal.Signals) -> None:
        time.sleep(0.01)
        if not over:
            _thread.interrupt_main(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over = False
    report, sys.unraisablehook = sys.unraisablehook, dropped
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        over = True
        signal.signal(signal.SIGTERM, before)
        sys.unraisablehook = report


def settle_output() -> None:
    r"""Have nothing that is printed raise: closed output is none, what an encoding lacks becomes its code, \u2026.

    Somebody who has chosen otherwise (PYTHONIOENCODING=ascii:replace) keeps it.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # `>&-`
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            lacking = stream.errors == "surrogateescape" and "utf" not in stream.encoding.lower()  # as of LANG=C
            if lacking or stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status.

    0, 1 for what failed in part, 2 for what the user can mend, 130 for Ctrl-C, 141 when the reader of the output went
    away, 143 for SIGTERM.
    """
    settle_output()
    options = parser().parse_args(arguments)
    try:
        with stopping():
            status: int = options.execute(options)
    except SertbenchError as error:
        print(f"sertbench: error: {error}", file=sys.stderr)
        return 2
    except SystemExit as error:  # no command of ours raises it: an adapter of somebody's, say
        print(f"sertbench: error: {plugin_import.place(error)}: {plugin_import.said(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing is left to say, but not all was done.
        with suppress(OSError):  # what is still to be written goes nowhere, without a word of Python's
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"sertbench: error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("sertbench: stopped. Finished fits are kept: the same command goes on from there.", file=sys.stderr)
        return 128 + signal_of(stop)
    return status
