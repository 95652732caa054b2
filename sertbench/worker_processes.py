"""Worker processes on this machine: one thread each, one GPU each where there are GPUs.

Each fit is driven through a pipe by a thread of its own. A process that dies takes along only what it was at: one fit,
or those that take turns in it (see `turns`). Processes are forked from one that has loaded torch and has no threads: a
worker then starts at once, and all share that memory.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.forkserver import ensure_running

from sertbench.errors import SertbenchError, StoppedError, TrainingError
from sertbench.executors import (
    ON_GPU,
    STOPPED,
    InProcess,
    Report,
    Result,
    Task,
    Work,
    WorkerDiedError,
    in_process,
)
from sertbench.plugin_import import RAISES, said

ATTEMPTS = 3  # how often a fit may lose its worker process before it counts as failed
CONTEXT = multiprocessing.get_context("forkserver")
PRELOADED = ("sertbench.worker_processes", "sertbench.fits", "torch._dynamo")  # all optimisers import the last


class NeverBegunError(Exception):
    """The process is gone through other work's fault: it had not begun this one."""


class RemoteTraceback(Exception):  # noqa: N818 - it stands in tracebacks as their first part, as in concurrent.futures
    """What a worker's traceback said, as the cause of the error that came over."""


def prepare() -> None:
    """Begin to load what workers need, in the process that they are forked from, while this one goes on.

    One thread for each kernel there (as for fits): a process with threads cannot be forked safely.
    """
    CONTEXT.set_forkserver_preload(["__main__", *PRELOADED])
    resource_tracker.ensure_running()  # it would let SIGINT through again
    # Ctrl-C reaches all processes of a terminal; the new one is deaf to it from the start, also while it loads.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def serve(pipes: Sequence[Connection], gpu: int | None, stack: int | None, environment: Mapping[str, str]) -> None:
    """What a worker process runs: one piece of work after another on each pipe, until the driving process is gone.

    Ctrl-C reaches all processes of a terminal: here it is the driving process's business, which stops its workers.
    `environment` is the driving process's, which may have changed since `prepare`.
    """
    os.environ.update({**environment, "OMP_NUM_THREADS": "1"})
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_gpus()[gpu]  # before torch looks for devices
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    engine = in_process(stack, "cpu" if gpu is None else "cuda")
    for pipe in pipes[1:]:
        threading.Thread(target=answer, args=(pipe, engine), daemon=True).start()
    answer(pipes[0], engine)


def answer(pipe: Connection, engine: InProcess) -> None:
    """Do what comes through a pipe, and send back events and results."""
    while True:
        try:
            work, task = pipe.recv()
            pipe.send(("result", engine.call(work, task, lambda event: pipe.send(("event", event)))))
        except (EOFError, BrokenPipeError):
            return
        except RAISES as error:  # the driving process raises it
            text = "".join(traceback.format_exception(error))
            known = error if isinstance(error, SertbenchError) else TrainingError(said(error))
            pipe.send(("error", (known, text)))


def visible_gpus() -> list[str]:
    """The names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them; empty names are left out."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def end_with_parent() -> None:
    """Wait for the end of the driving process, then end this one: it would wait for that process for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in worker processes only"
    wait_for([parent.sentinel])
    os._exit(1)


class Worker:
    """One worker process and the pipes to it, one for each fit that it has at a time."""

    def __init__(self, gpu: int | None, pipes: int = 1, stack: int | None = 1) -> None:
        self._pipes, theirs = zip(*(CONTEXT.Pipe() for _ in range(pipes)), strict=True)
        self.busy = False  # it was at something once
        self.process = CONTEXT.Process(target=serve, args=(theirs, gpu, stack, dict(os.environ)), daemon=True)
        self.process.start()
        for pipe in theirs:
            pipe.close()  # so that ours ends with the process

    def call(self, number: int, work: Work[Task, Result], task: Task, report: Report) -> Result:
        """Do one piece of work there, through one of the pipes.

        WorkerDiedError if the process ends before it, NeverBegunError if it ends while it is at other work.
        """
        pipe, begun = self._pipes[number], False
        try:
            pipe.send((work, task))
            while True:
                kind, content = pipe.recv()
                if kind == "result":
                    result: Result = content
                    return result
                if kind == "error":
                    raise content[0] from RemoteTraceback(content[1])
                begun = self.busy = True
                report(content)
        except (EOFError, ConnectionError) as error:
            self.process.join()
            lost = NeverBegunError if self.busy and not begun else WorkerDiedError
            raise lost(f"exit code {self.process.exitcode}") from error

    def end(self) -> None:
        """End the process. The pipes end with it; threads may still be at them, so they are not closed here."""
        self.process.kill()
        self.process.join()


class Place:
    """Where a worker process stands, and its successors: its GPU, and how many fits it has at a time."""

    def __init__(self, gpu: int | None, pipes: int, stack: int | None) -> None:
        self.gpu = gpu
        self.pipes = pipes
        self.stack = stack
        self.worker: Worker | None = None


class Workers:
    """Worker processes of one thread each. One that dies takes only its own fits with it.

    With GPUs, worker i has GPU i alone (one worker per GPU, or several that share one). Each has `stack` fits at a
    time; None: as many as its GPU has room for. The successor of one that died has one at a time: its other fits,
    which are tried again, are not taken along a second time by the one that killed it.
    """

    attempts = ATTEMPTS

    def __init__(self, count: int, gpus: int = 0, stack: int | None = 1) -> None:
        prepare()
        pipes = ON_GPU if stack is None else stack
        self.slots = count * pipes
        self._pool = ThreadPoolExecutor(self.slots, "worker")
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._places = [Place(i % gpus if gpus else None, pipes, stack) for i in range(count)]
        self._seats = iter([(place, number) for number in range(pipes) for place in self._places])
        self._closed = False

    def submit(self, work: Work[Task, Result], task: Task, report: Report) -> Future[Result]:
        """Queue it for the next thread that is free."""
        return self._pool.submit(self._call, work, task, report)

    def _call(self, work: Work[Task, Result], task: Task, report: Report) -> Result:
        while True:
            place, number = self._seat()
            worker = self._worker(place)
            try:
                return worker.call(number, work, task, report)
            except NeverBegunError:
                self._end(place, worker)
            except (WorkerDiedError, StoppedError):
                self._end(place, worker)
                raise

    def _seat(self) -> tuple[Place, int]:
        """The place of the current thread, and the number of its pipe there; places are filled evenly."""
        if not hasattr(self._mine, "seat"):
            with self._lock:
                self._mine.seat = next(self._seats)
        seat: tuple[Place, int] = self._mine.seat
        return seat

    def _worker(self, place: Place) -> Worker:
        """The worker process of a place; a new one after one that died."""
        with self._lock:
            if self._closed:
                raise StoppedError(STOPPED)
            place.worker = place.worker or Worker(place.gpu, place.pipes, place.stack)
            return place.worker

    def _end(self, place: Place, worker: Worker) -> None:
        """Put a worker process aside, unless another of its threads has done so."""
        with self._lock:
            if place.worker is worker:
                worker.end()
                place.worker, place.stack = None, 1

    def watch(self) -> None:
        """A worker that dies ends its pipes, so nobody waits in vain."""

    def stop(self) -> None:
        """Kill the worker processes: nothing that they write is ever half-written."""
        with self._lock:
            self._closed = True
            for place in self._places:
                if place.worker is not None:
                    place.worker.process.kill()

    def close(self) -> None:
        """End threads and processes."""
        self._pool.shutdown(cancel_futures=True)
        for place in self._places:
            if place.worker is not None:
                place.worker.end()
