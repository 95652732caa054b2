"""Where the time goes: a stopwatch that is always on, read by `sertbench run --profile`.

`lap("forward")` books all time since the last lap under that name, on the stopwatch of the running piece of work; where
none runs it does nothing. A lap costs less than a microsecond. On a GPU work is asynchronous, so without `synchronise`
a lap says when work was handed over, not when it was done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

Result = TypeVar("Result")

_running: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


@dataclass
class Stopwatch:
    """Seconds by name."""

    synchronise: bool = False  # wait for the GPU at each lap
    seconds: dict[str, float] = field(default_factory=dict)
    first_step: float = 0.0  #   when the first training step was done, in seconds since 1970; 0: none was
    _last: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Book the time since the last lap."""
        if self.synchronise:
            import torch

            if torch.cuda.is_current_stream_capturing():
                return  # a step that is being recorded does nothing yet
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now
        if name == "optimiser" and not self.first_step:
            self.first_step = time.time()


def lap(name: str) -> None:
    """Book the time since the last lap on the stopwatch of this thread's work, if there is one."""
    watch = _running.get()
    if watch is not None:
        watch.lap(name)


@contextmanager
def running(synchronise: bool = False) -> Iterator[Stopwatch]:
    """A new stopwatch, for this thread's laps until the end of the block."""
    token = _running.set(watch := Stopwatch(synchronise))
    try:
        yield watch
    finally:
        _running.reset(token)


def timed(
    work: Callable[[Any, Any], Result], synchronise: bool, task: Any, report: Callable[[Any], None]
) -> tuple[Result, Stopwatch]:
    """Work for an executor, with the stopwatch that ran beside it; what is booked under no name is "set-up"."""
    with running(synchronise) as watch:
        result = work(task, report)
        watch.lap("set-up")
    return result, watch
