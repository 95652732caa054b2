"""Where fits run: in this process, in worker processes, or on a cluster. One runner for all.

The runner hands work to an engine, waits, passes events on, and tries again when a worker died. All engines give the
same numbers: a fit computes on one CPU thread wherever it runs. An engine runs work at least once, so work must be safe
to run twice (see `fits`). Tasks and results can be pickled.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, Self, TypeVar

from sertbench.config import RunConfig
from sertbench.errors import StoppedError, WorkerError

Task = TypeVar("Task")
Result = TypeVar("Result")
Report = Callable[[Any], None]
Work = Callable[[Task, Report], Result]
OnEvent = Callable[[str, Any], None]

STOPPED = "stopped before the end. Finished fits are kept: type the same command again"
WATCH = 2.0  #     seconds between two looks at whether there is still somebody to wait for
BEGUN = "begun"  # the first event of any work
ON_GPU = 16  #     fits side by side on a GPU at most, unless --stack says otherwise: by reasoning, not yet measured


class WorkerDiedError(Exception):
    """The process that was at it is gone. The runner tries again."""


class Engine(Protocol):
    """Somewhere where work is done."""

    attempts: int  # how often the runner submits work whose worker died

    @property
    def slots(self) -> int:
        """How much is done at the same time."""

    def submit(self, work: Work[Task, Result], task: Task, report: Report) -> Future[Result]:
        """Begin `work(task, report)` as soon as a slot is free. Its future may raise WorkerDiedError."""

    def watch(self) -> None:
        """WorkerError when waiting has no sense any more."""

    def stop(self) -> None:
        """End what is running, within seconds."""

    def close(self) -> None:
        """Give threads and processes back."""


class Runner:
    """Runs work on an engine and waits for it; safe to call from many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stopped = threading.Event()

    @property
    def slots(self) -> int:
        """How many fits run at the same time."""
        return self._engine.slots

    def run(self, work: Work[Task, Result], task: Task, tag: str, on_event: OnEvent = lambda *_: None) -> Result:
        """Run `work(task, report)` somewhere and give its result; what it reports goes to `on_event(tag, event)`.

        The first event is `BEGUN`. Raises what the work raised, WorkerError when it lost its worker again and again,
        StoppedError when it was abandoned.
        """

        def report(event: Any) -> None:
            if self._stopped.is_set():
                raise StoppedError(STOPPED)
            on_event(tag, event)

        for _ in range(self._engine.attempts):
            if self._stopped.is_set():
                raise StoppedError(STOPPED)
            future = self._engine.submit(work, task, report)
            while not wait([future], WATCH).done:
                if self._stopped.is_set() and not wait([future], WATCH).done:
                    raise StoppedError(STOPPED)
                self._engine.watch()
            try:
                return future.result()
            except WorkerDiedError as error:
                died: WorkerDiedError = error
        if self._stopped.is_set():
            raise StoppedError(STOPPED)
        raise WorkerError(
            f"{tag}: a worker process died each time that it was at this (killed, or out of memory?): {died}. "
            "Finished fits are kept: type the same command again, if need be with fewer --workers"
        ) from died

    def stop(self) -> None:
        """Abandon what is running, and whatever is still asked for: each `run` ends in a StoppedError."""
        self._stopped.set()
        self._engine.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()


@contextmanager
def ended_with(runner: Runner) -> Iterator[None]:
    """Stop the runner when this is interrupted (Ctrl-C, SIGTERM): threads that wait for it would keep the process."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        runner.stop()
        raise


class InProcess:
    """Fits in threads of this process: one at a time, or `stack` of them that take turns (see `turns`).

    `room` says how many there is room for, once one of them has taken its memory.
    """

    attempts = 1

    def __init__(self, stack: int = 1, device: str = "cpu", room: Callable[[], int | None] | None = None) -> None:
        from sertbench.turns import Turns

        self.slots = stack
        self._pool = ThreadPoolExecutor(stack, "fit")
        self._turns = Turns(stack, device, room)
        self._threads: set[int] = set()

    def submit(self, work: Work[Task, Result], task: Task, report: Report) -> Future[Result]:
        """Queue it."""
        return self._pool.submit(self.call, work, task, report)

    def call(self, work: Work[Task, Result], task: Task, report: Report) -> Result:
        """Do it in this thread, as soon as there is room."""

        def hear(event: Any) -> None:
            self._turns.learned()
            report(event)

        thread = threading.get_ident()
        self._threads.add(thread)
        try:
            with self._turns.member():
                report(BEGUN)
                return work(task, hear)
        finally:
            self._threads.discard(thread)

    def watch(self) -> None:
        """Nothing can be lost on the way."""

    def stop(self) -> None:
        """Raise StoppedError in the threads at their next step, as Ctrl-C raises KeyboardInterrupt in the main one."""
        self._turns.stop()
        for thread in tuple(self._threads):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(StoppedError))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)


def make(workers: int, gpus: int = 0, stack: int | None = 1) -> Runner:
    """The runner for a number of workers on this machine, each with `stack` fits at a time.

    A `stack` of None is as many as the memory of a GPU takes.
    """
    if workers == 1:
        return Runner(in_process(stack, "cuda" if gpus else "cpu"))
    from sertbench.worker_processes import Workers

    return Runner(Workers(workers, gpus, stack))


def in_process(stack: int | None, device: str) -> InProcess:
    """The engine of this process; a `stack` of None is as many as the memory of its GPU takes."""
    if stack is not None:
        return InProcess(stack, device)
    from sertbench.resources import fits_on_gpu

    return InProcess(ON_GPU, device, fits_on_gpu)


def open_runner(config: RunConfig, workers: int, device: str, stack: int | None = 1) -> AbstractContextManager[Runner]:
    """The runner that a configuration asks for. ConfigError, or WorkerError, when there is no such cluster."""
    if config.executor in ("dask", "slurm"):
        from sertbench import dask_executor

        gpu = device == "cuda"
        if config.executor == "dask":
            return dask_executor.join(str(config.scheduler), config.wait, gpu)
        return dask_executor.slurm(config.slurm, workers, config.wait, gpu)
    from sertbench.worker_processes import Workers, visible_gpus

    gpus = len(visible_gpus()) if device == "cuda" else 0
    return Runner(Workers(workers, gpus, stack)) if config.executor == "processes" else make(workers, gpus, stack)
