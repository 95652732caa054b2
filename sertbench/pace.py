"""How long the rest of a run takes, told from what is done of it and what is under way."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class UnderWay:
    """A fit that runs: how far it was when it was first heard of, is now, and is at its end (epochs, or seconds)."""

    first: float
    now: float
    most: float


def duration(seconds: float) -> str:
    """A time span in words.

    >>> duration(75), duration(7300)
    ('75 s', '2.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def seconds_left(elapsed: float, fitted: int, running: Collection[UnderWay], unfinished: int) -> float | None:
    """Expected seconds until `unfinished` fits have ended, those that are running among them.

    In `elapsed` seconds `fitted` fits were made; fits that were there already do not count. None where nothing is
    known. A fit that stops early ends sooner than its most epochs say.

    >>> seconds_left(100.0, 1, [UnderWay(0, 25, 50)], 5)
    300.0
    """
    made = fitted + sum((fit.now - fit.first) / fit.most for fit in running)
    if not made:
        return None
    return elapsed * max(0.0, unfinished - sum(fit.now / fit.most for fit in running)) / made
