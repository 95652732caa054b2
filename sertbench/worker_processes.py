"""Worker processes on this machine: one thread each, one GPU each where there are GPUs.

Each is driven through a pipe by a thread of its own, so one that dies takes only its own fit with it. They are forked
from one process that has loaded torch and has no threads: a worker then starts at once, and all share that memory.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.forkserver import ensure_running

from sertbench.errors import SertbenchError, StoppedError, TrainingError
from sertbench.executors import BEGUN, STOPPED, Report, Result, Task, Work, WorkerDiedError

ATTEMPTS = 3  # how often a fit may lose its worker process before it counts as failed
CONTEXT = multiprocessing.get_context("forkserver")
PRELOADED = ("sertbench.worker_processes", "sertbench.fits", "torch._dynamo")  # all optimisers import the last


class RemoteTraceback(Exception):  # noqa: N818 - it stands in tracebacks as their first part, as in concurrent.futures
    """What a worker's traceback said, as the cause of the error that came over."""


def prepare() -> None:
    """Begin to load what workers need, in the process that they are forked from, while this one goes on.

    One thread for each kernel there (as for fits): a process with threads cannot be forked safely.
    """
    CONTEXT.set_forkserver_preload(["__main__", *PRELOADED])
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        ensure_running()
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def serve(pipe: Connection, gpu: int | None, environment: Mapping[str, str]) -> None:
    """What a worker process runs: one piece of work after another, until the pipe or the driving process is gone.

    Ctrl-C reaches all processes of a terminal: here it is the driving process's business, which stops its workers.
    `environment` is the driving process's, which may have changed since `prepare`.
    """
    os.environ.update({**environment, "OMP_NUM_THREADS": "1"})
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_gpus()[gpu]  # before torch looks for devices
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    while True:
        try:
            work, task = pipe.recv()
            pipe.send(("event", BEGUN))
            pipe.send(("result", work(task, lambda event: pipe.send(("event", event)))))
        except (EOFError, BrokenPipeError):
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the driving process raises it
            text = "".join(traceback.format_exception(error))
            known = error if isinstance(error, SertbenchError) else TrainingError(f"{type(error).__name__}: {error}")
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
    """One worker process and the pipe to it."""

    def __init__(self, gpu: int | None) -> None:
        self._pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=serve, args=(theirs, gpu, dict(os.environ)), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends with the process

    def call(self, work: Work[Task, Result], task: Task, report: Report) -> Result:
        """Do one piece of work there; WorkerDiedError if the process ends before it."""
        try:
            self._pipe.send((work, task))
            while True:
                kind, content = self._pipe.recv()
                if kind == "result":
                    result: Result = content
                    return result
                if kind == "error":
                    raise content[0] from RemoteTraceback(content[1])
                report(content)
        except (EOFError, ConnectionError) as error:
            self.process.join()
            raise WorkerDiedError(f"exit code {self.process.exitcode}") from error

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self._pipe.close()


class Workers:
    """Worker processes of one thread each. Each belongs to a thread of this pool: one that dies takes only its own fit.

    With GPUs, worker i has GPU i alone (one worker per GPU, or several that take turns).
    """

    attempts = ATTEMPTS

    def __init__(self, count: int, gpus: int = 0) -> None:
        prepare()
        self.slots = count
        self._gpus = gpus
        self._pool = ThreadPoolExecutor(count, "worker")
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._all: list[Worker] = []
        self._numbers = iter(range(count))
        self._closed = False

    def submit(self, work: Work[Task, Result], task: Task, report: Report) -> Future[Result]:
        """Queue it for the next thread that is free."""
        return self._pool.submit(self._call, work, task, report)

    def _call(self, work: Work[Task, Result], task: Task, report: Report) -> Result:
        worker = self._worker()
        try:
            return worker.call(work, task, report)
        except (WorkerDiedError, StoppedError):
            worker.end()
            with self._lock:
                self._all.remove(worker)
            self._mine.worker = None
            raise

    def _worker(self) -> Worker:
        """The worker process of the current thread; a new one in place of one that died."""
        worker: Worker | None = getattr(self._mine, "worker", None)
        if worker is None:
            with self._lock:
                if self._closed:
                    raise StoppedError(STOPPED)
                if not hasattr(self._mine, "number"):
                    self._mine.number = next(self._numbers)
                worker = Worker(self._mine.number % self._gpus if self._gpus else None)
                self._mine.worker = worker
                self._all.append(worker)
        return worker

    def watch(self) -> None:
        """A worker that dies ends its pipe, so nobody waits in vain."""

    def stop(self) -> None:
        """Kill the worker processes: nothing that they write is ever half-written."""
        with self._lock:
            self._closed = True
            for worker in self._all:
                worker.process.kill()

    def close(self) -> None:
        """End threads and processes."""
        self._pool.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.end()
