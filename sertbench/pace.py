"""How long the rest of a run takes, told from what is done of it and what is under way."""

from __future__ import annotations

import math
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


def at_most(total: float, longest: float, n_fits: int, workers: int, chain: int = 1) -> float:
    """Seconds in which workers that are never idle without need end their fits, at most.

    `total` is the fits' own time together, `longest` that of one, and `chain` how many must wait for one another, as
    tuning's batches do (Graham, Bounds on multiprocessing timing anomalies, SIAM Journal on Applied Mathematics 1969).

    >>> at_most(37.0, 32.0, 2, 2), at_most(50.0, 10.0, 5, 2), at_most(50.0, 10.0, 5, 1)
    (32.0, 30.0, 50.0)
    """
    workers = max(1, min(workers, n_fits))
    bounds = [total, total / workers + (1 - 1 / workers) * chain * longest]
    return min([*bounds, math.ceil(n_fits / workers) * longest] if chain == 1 else bounds)


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
