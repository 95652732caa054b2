"""What a line says of a fit that has ended."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from sertbench.commands import console
from sertbench.fits import FitRecord
from sertbench.progress import Display
from sertbench.training import EpochEnd

EPOCHS = tuple(EpochEnd(i, 1.0, 0.5, 1.0, 0.1, 1.0) for i in (1, 2, 3))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (FitRecord("aa", 2, 0.5, EPOCHS, 4.0, 10), "fold 1, seed 0: val UAR 50.0 at epoch 2 of 3, in 4 s"),
        (FitRecord("aa", 5, 0.5, (), 4.0, 0), "fold 1, seed 0: val UAR 50.0 with its own candidate 5, in 4 s"),
        (FitRecord("aa", 1, 0.5, (), 4.0, 0), "fold 1, seed 0: val UAR 50.0, in 4 s"),
        (FitRecord("aa", 7, float("nan"), (), 4.0, 10), "fold 1, seed 0: trained for 7 epochs, in 4 s"),
    ],
    ids=["network", "estimator", "estimator without a choice", "network that is trained on the validation part too"],
)
def test_a_line_says_of_a_fit_what_it_is(record, said):
    display = Display(Console(file=io.StringIO(), width=200))
    with display.fits(1):
        display.fitted("fold 1, seed 0", record)

    assert display.console.file.getvalue().startswith(f"[1/1] {said}; about 0 s left")


def test_a_fit_that_was_there_already_tells_nothing_of_the_time_left():
    display = Display(Console(file=io.StringIO(), width=200))
    record = FitRecord("aa", 2, 0.5, EPOCHS, 4.0, 10)
    with display.fits(3):
        display.fitted("fold 1, seed 0", replace(record, reused=True))
        display.fitted("fold 2, seed 0", record)

    first, second = display.console.file.getvalue().splitlines()
    assert first.endswith("was done already")
    assert second.endswith("left")


@pytest.mark.parametrize("name", ["[f01]", "[/b]", ":x:", "a[link=x]b"])
def test_names_of_speakers_and_checkpoints_stand_as_they_are(name, capsys):
    """A fold is called after its speaker: on a terminal, in the bars; features after a checkpoint's folder."""
    terminal = Console(file=io.StringIO(), width=140, force_terminal=True, markup=False, emoji=False)
    display = Display(terminal)
    with display.fits(2):
        display.epoch(f"fold {name}, seed 0", EpochEnd(1, 0.5, 0.4, 0.6, 0.001, 1.0), 5)
        assert display._screen.bars is not None
        display._screen.bars.refresh()
    assert f"fold {name}, seed 0" in terminal.file.getvalue()
    display = Display(console())
    display.say(f"fold {name}, seed 0: done")
    display.table(f"Leaderboard {name}", ["rank", name], [["1", name]], f"of {name}")
    out = capsys.readouterr().out
    assert out.count(name) == 5
