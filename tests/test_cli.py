"""How the command line ends when it is told to."""

from __future__ import annotations

import io
import signal
import sys
import time
import weakref

import pytest

from sertbench.cli import main
from sertbench.commands import console
from sertbench.commands import list as listing

STOPS = [signal.SIGTERM, signal.SIGINT]
STOPPED = "sertbench: stopped. Finished fits are kept: the same command goes on from there.\n"


class Held:
    """Something that can be referred to weakly."""


def work(monkeypatch, begin) -> None:
    """Let `sertbench list` begin so, and then work for as long as nobody stops it."""

    def execute(_options: object) -> int:
        begin()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            time.sleep(0.001)
        return 0

    monkeypatch.setattr(listing, "execute", execute)


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_stops_a_command(monkeypatch, capfd, number):
    work(monkeypatch, lambda: signal.raise_signal(number))
    assert main(["list"]) == 128 + number
    assert capfd.readouterr().err == STOPPED


@pytest.mark.parametrize("number", STOPS)
@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_that_comes_in_a_callback_is_not_lost(monkeypatch, capfd, number, times):
    """There Python drops what the handler raises: from then on the run could not be stopped any more."""

    def begin() -> None:
        for _ in range(times):
            held = Held()
            kept = weakref.ref(held, lambda _ref: signal.raise_signal(number))
            del held
            assert kept() is None

    work(monkeypatch, begin)
    assert main(["list"]) == 128 + number
    assert capfd.readouterr().err == STOPPED


def test_code_of_somebody_that_would_end_the_program_is_told(monkeypatch, capfd):
    work(monkeypatch, lambda: sys.exit(3))
    assert main(["list"]) == 2
    err = capfd.readouterr().err
    assert err.startswith(f"sertbench: error: {__file__}, line ")
    assert "SystemExit: 3 (a plug-in must not end the program: raise an exception in place of sys.exit)" in err


def test_what_else_goes_wrong_in_a_finaliser_is_told_as_ever(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    class Faulty:
        def __del__(self) -> None:
            raise OSError("a fault")

    def execute(_options: object) -> int:
        Faulty()
        return 0

    monkeypatch.setattr(listing, "execute", execute)
    assert main(["list"]) == 0
    assert [str(what.exc_value) for what in told] == ["a fault"]


def test_handlers_are_as_before_when_the_command_has_ended(monkeypatch):
    before = sys.unraisablehook, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    work(monkeypatch, lambda: signal.raise_signal(signal.SIGTERM))
    main(["list"])
    assert (sys.unraisablehook, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize(
    ("encoding", "errors", "said"),
    [
        ("ascii", "strict", "caf\\xe9 \\u2026 \\udcff"),
        ("ascii", "surrogateescape", "caf\\xe9 \\u2026 \\udcff"),
        ("latin-1", "strict", "caf\xe9 \\u2026 \\udcff"),
        ("utf-8", "strict", "caf\xe9 \u2026 \\udcff"),
        ("utf-8", "surrogateescape", "caf\xe9 \u2026 \udcff"),
        ("ascii", "replace", "caf? ? ?"),
    ],
)
def test_a_text_that_the_terminal_cannot_write_is_no_traceback(monkeypatch, encoding, errors, said):
    """LANG=C, a terminal of Latin-1, a file name that is no UTF-8."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, errors, write_through=True))

    def execute(_options: object) -> int:
        console().print("caf\xe9 \u2026 \udcff", markup=False)
        return 0

    monkeypatch.setattr(listing, "execute", execute)
    assert main(["list"]) == 0
    assert written.getvalue().decode(encoding, errors).strip() == said
