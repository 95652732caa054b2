"""How the command line ends when it is told to."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
from rich.table import Table

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


def typed(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of a command line; $SB is sertbench."""
    start = f"{sys.executable} -c 'import sys; from sertbench.cli import main; sys.exit(main())'"
    values = {**os.environ, **environment, "SB": start}
    return subprocess.run(["bash", "-c", command], env=values, capture_output=True, text=True, check=False)


def test_a_command_whose_reader_goes_away_has_not_succeeded():
    """`run | head -1` gave up with status 0."""
    done = typed("eval $SB list claims | :; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_output_that_is_closed_is_no_reason_to_fail():
    assert typed("eval $SB list claims >&- 2>&-").returncode == 0
    done = typed("cd $PLACE; eval $SB leaderboard --format markdown >&-", PLACE=str(Path(__file__).parents[1]))
    assert (done.returncode, done.stderr) == (0, "")


def test_what_looks_like_markup_is_shown_as_it_is(capsys):
    """A closing tag in a plug-in's texts ended `sertbench list` in a traceback, others were swallowed."""
    screen = console()
    made = Table("name [/x]")
    made.add_row("ML[/P] :warning: [red]")
    screen.print(made)
    screen.print("run [1] of a[/b].py")
    shown = capsys.readouterr().out
    assert "name [/x]" in shown
    assert "ML[/P] :warning: [red]" in shown
    assert "run [1] of a[/b].py" in shown


def test_a_sentence_is_one_line_where_no_terminal_is(capsys):
    console().print("word " * 100)
    console().print(Table("word " * 100))

    sentence, *table = capsys.readouterr().out.splitlines()
    assert sentence.split() == ["word"] * 100
    assert max(map(len, table)) <= 160


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
@pytest.mark.parametrize(
    "command",
    [["leaderboard", "--format", "latex", "--out"], ["audit", "demo", "--json"], ["profile", "cnn", "--json"]],
)
def test_a_folder_is_no_file_to_write(capsys, command, name):
    with pytest.raises(SystemExit) as ended:
        main([*command, name])
    assert ended.value.code == 2
    assert f"{name!r} is not the name of a file to write" in capsys.readouterr().err
