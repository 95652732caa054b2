"""Where fits run: in this process, or in worker processes with one thread each.

Both give the same numbers: a fit computes on one CPU thread wherever it runs. Tasks and results can be pickled; events
of a running task come back through a queue and are handed to `on_event` in the driving process.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from sertbench.errors import WorkerError
from sertbench.training import EpochEnd

Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[Task, Callable[[EpochEnd], None]], Result]
OnEvent = Callable[[str, EpochEnd], None]

STOPPED = "stopped before the end. Finished fits are kept: type the same command again"
LAST_EVENTS = 2.0  # seconds to wait for events that are still on their way

_events: Any = None  # the queue of this worker process


class Executor(Protocol):
    """Runs `work(task, report)` somewhere; `tag` names the task in its events."""

    def run(self, work: Work[Task, Result], task: Task, tag: str) -> Result:
        """Run and wait. May be called from several threads at once. WorkerError: abandoned before the end."""

    def stop(self) -> None:
        """Abandon what is running, and whatever is still asked for: each `run` ends in a WorkerError."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give threads and processes back."""


class InProcess:
    """One fit at a time, in one thread of this process (on a GPU, or with --workers 1)."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._pool = ThreadPoolExecutor(1)
        self._stopped = threading.Event()

    def run(self, work: Work[Task, Result], task: Task, tag: str) -> Result:
        """Run and wait."""
        return self._pool.submit(self._call, work, task, tag).result()

    def _call(self, work: Work[Task, Result], task: Task, tag: str) -> Result:
        def report(event: EpochEnd) -> None:
            self._go_on()
            self._on_event(tag, event)

        self._go_on()
        return work(task, report)

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise WorkerError(STOPPED)

    def stop(self) -> None:
        """Let the running fit end at its next epoch, and all others before they begin."""
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def start_worker(events: Any) -> None:
    """Prepare a worker process: its queue, one thread, and an allocator that keeps its pages.

    Ctrl-C reaches all processes of a terminal: here it is the driving process's business, which stops its workers. If
    that process is killed instead, its workers would wait for it for ever: they end with it.
    Training frees and takes large blocks at each step; glibc would give them back to the system each time, and the page
    faults cost 5 to 10 % of a step.
    """
    global _events
    _events = events
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter, value in ((-3, 1 << 30), (-1, (1 << 31) - 1), (-2, 1 << 28)):  # mmap and trim threshold, top pad
            libc.mallopt(parameter, value)


def end_with_parent() -> None:
    """Wait for the end of the driving process, then end this one."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in worker processes only"
    wait([parent.sentinel])
    os._exit(1)


def call(work: Work[Task, Result], task: Task, tag: str) -> Result:
    """What a worker process runs."""
    return work(task, lambda event: _events.put((tag, event)))


class Workers:
    """Worker processes, one fit and one thread each."""

    def __init__(self, count: int, on_event: OnEvent) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue = context.Queue()
        self._stopped = threading.Event()
        self._listener = threading.Thread(target=self._listen, args=(on_event,), daemon=True)
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by the workers; torch here is set up already
        self._pool = ProcessPoolExecutor(count, context, start_worker, (self._queue,))

    def _listen(self, on_event: OnEvent) -> None:
        while (message := self._queue.get()) is not None:
            on_event(*message)

    def run(self, work: Work[Task, Result], task: Task, tag: str) -> Result:
        """Run in a worker and wait; WorkerError when the worker died."""
        if self._stopped.is_set():
            raise WorkerError(STOPPED)
        try:
            future: Future[Result] = self._pool.submit(call, work, task, tag)
            return future.result()
        except BrokenProcessPool as error:
            raise WorkerError(
                "a worker process died (killed, or out of memory?). Finished fits are kept: type the same command "
                "again, if need be with fewer --workers"
            ) from error

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def stop(self) -> None:
        """End the worker processes."""
        self._stopped.set()
        for process in multiprocessing.active_children():
            process.terminate()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        # A worker that died while it wrote an event holds the queue's lock for ever: then nothing more can be put.
        self._queue.cancel_join_thread()
        self._queue.put(None)
        self._listener.join(timeout=LAST_EVENTS)


def make(workers: int, on_event: OnEvent) -> Executor:
    """The executor for a number of simultaneous fits."""
    return InProcess(on_event) if workers == 1 else Workers(workers, on_event)
