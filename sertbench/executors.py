"""Where fits run: in this process, or in worker processes with one thread each.

Both give the same numbers: a fit computes on one CPU thread wherever it runs. Tasks and results can be pickled; events
of a running task come back through a queue and are handed to `on_event` in the driving process.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from sertbench.errors import TrainingError
from sertbench.training import EpochEnd

Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[Task, Callable[[EpochEnd], None]], Result]
OnEvent = Callable[[str, EpochEnd], None]

_events: Any = None  # the queue of this worker process


class Executor(Protocol):
    """Runs `work(task, report)` somewhere; `tag` names the task in its events."""

    def run(self, work: Work[Task, Result], task: Task, tag: str) -> Result:
        """Run and wait. May be called from several threads at once."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: what is running is abandoned if an error is on its way."""


class InProcess:
    """One fit at a time, in one thread of this process (on a GPU, or with --workers 1)."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._pool = ThreadPoolExecutor(1)

    def run(self, work: Work[Task, Result], task: Task, tag: str) -> Result:
        """Run and wait."""
        return self._pool.submit(work, task, lambda event: self._on_event(tag, event)).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def start_worker(events: Any) -> None:
    """Prepare a worker process: its queue, one thread, and an allocator that keeps its pages.

    Training frees and takes large blocks at each step; glibc would give them back to the system each time, and the page
    faults cost 5 to 10 % of a step.
    """
    global _events
    _events = events
    import torch

    torch.set_num_threads(1)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter, value in ((-3, 1 << 30), (-1, (1 << 31) - 1), (-2, 1 << 28)):  # mmap and trim threshold, top pad
            libc.mallopt(parameter, value)


def call(work: Work[Task, Result], task: Task, tag: str) -> Result:
    """What a worker process runs."""
    return work(task, lambda event: _events.put((tag, event)))


class Workers:
    """Worker processes, one fit and one thread each."""

    def __init__(self, count: int, on_event: OnEvent) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue = context.Queue()
        self._listener = threading.Thread(target=self._listen, args=(on_event,), daemon=True)
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by the workers; torch here is set up already
        self._pool = ProcessPoolExecutor(count, context, start_worker, (self._queue,))

    def _listen(self, on_event: OnEvent) -> None:
        while (message := self._queue.get()) is not None:
            on_event(*message)

    def run(self, work: Work[Task, Result], task: Task, tag: str) -> Result:
        """Run in a worker and wait; TrainingError when the worker died."""
        try:
            future: Future[Result] = self._pool.submit(call, work, task, tag)
            return future.result()
        except BrokenProcessPool as error:
            raise TrainingError(
                "a worker process died (killed, or out of memory?). Finished fits are kept: type the same command "
                "again, if need be with fewer --workers"
            ) from error

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._queue.put(None)
        self._listener.join()


def make(workers: int, on_event: OnEvent) -> Executor:
    """The executor for a number of simultaneous fits."""
    return InProcess(on_event) if workers == 1 else Workers(workers, on_event)
