"""Fits on a cluster through Dask distributed: a scheduler that runs already, or SLURM jobs that are started here.

Dask schedules, moves a fit to another worker when its node dies, and starts jobs again in SLURM's queue; `Client.
get_executor` is a `concurrent.futures.Executor`, so the runner is the one of a laptop. All machines must see the same
folders (runs, cache, corpus, plug-ins) under the same names, and have the same versions of sertbench and torch.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from sertbench.errors import ConfigError, SertbenchError, TrainingError, WorkerError, few, unknown
from sertbench.executors import BEGUN, Report, Result, Runner, Task, Work, WorkerDiedError
from sertbench.plugin_import import RAISES, said

if TYPE_CHECKING:
    from distributed import Client
    from distributed.deploy import Cluster

INSTALL = "Dask is not installed: pip install 'sertbench[dask]'"
TOPIC = "sertbench"

# What --slurm takes, and what dask-jobqueue calls it.
SLURM = {
    "queue": "queue",
    "account": "account",
    "walltime": "walltime",
    "memory": "memory",
    "cores": "job_cpu",
    "interface": "interface",
    "gres": "",
    "constraint": "",
    "qos": "",
}

_one_at_a_time = threading.Lock()


def call(work: Work[Task, Result], task: Task, job: str) -> Result:
    """What a Dask worker runs: one fit at a time, however many threads it has, because they share torch's state."""
    from distributed import get_worker

    worker = get_worker()

    def report(event: Any) -> None:
        plain = event if isinstance(event, str) else asdict(event)
        worker.log_event(TOPIC, {"job": job, "event": plain})

    with _one_at_a_time:
        report(BEGUN)
        try:
            return work(task, report)
        except SertbenchError:
            raise
        except RAISES as error:
            raise TrainingError(said(error)) from error


class Dask:
    """The engine of a cluster."""

    attempts = 1  # Dask itself tries again

    def __init__(self, client: Client, seconds: float, gpu: bool) -> None:
        self._client = client
        self._seconds = seconds
        self._jobs: dict[str, Report] = {}
        self._seen = time.monotonic()
        resources = {"resources": {"GPU": 1}} if gpu else {}
        self._executor = client.get_executor(pure=False, **resources)
        client.subscribe_topic(TOPIC, self._hear)

    @property
    def slots(self) -> int:
        """Worker processes at the moment."""
        return max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    def submit(self, work: Work[Task, Result], task: Task, report: Report) -> Future[Result]:
        """Hand it to the scheduler."""
        job = uuid.uuid4().hex
        self._jobs[job] = report
        future: Future[Result] = Future()
        try:
            theirs = self._executor.submit(call, work, task, job)
        except RuntimeError as error:  # the client was closed
            raise WorkerError(f"the Dask scheduler is gone: {error}") from error
        theirs.add_done_callback(partial(self._settle, future, job))
        return future

    def _settle(self, future: Future[Result], job: str, theirs: Future[Result]) -> None:
        """Pass the outcome on, with Dask's own errors in our words."""
        from distributed.scheduler import KilledWorker

        self._jobs.pop(job, None)
        try:
            future.set_result(theirs.result())
        except KilledWorker as error:
            future.set_exception(
                WorkerDiedError(f"{error.allowed_failures + 1} workers of the cluster, one after another")
            )
        except CancelledError:
            future.set_exception(
                WorkerError("the Dask scheduler is gone, or dropped the fit. Type the same command again")
            )
        except SertbenchError as error:
            future.set_exception(error)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            said = f"a Dask worker cannot run fits: {error}. It needs the same sertbench, torch and folders as here"
            future.set_exception(WorkerError(said))

    def _hear(self, message: tuple[float, Mapping[str, Any]]) -> None:
        """An event of a fit: its `BEGUN`, or the end of an epoch."""
        from sertbench.training import EpochEnd

        content = message[1]
        report = self._jobs.get(content["job"])
        if report is not None:
            event = content["event"]
            with suppress(TrainingError):  # the run was stopped: its own thread says so
                report(event if isinstance(event, str) else EpochEnd(**event))

    def watch(self) -> None:
        """WorkerError when there has been no worker for the time limit: a queue may never start one."""
        now = time.monotonic()
        if self._client.status == "running" and self._client.scheduler_info(n_workers=-1)["workers"]:
            self._seen = now
        elif now - self._seen > self._seconds:
            raise WorkerError(no_worker(self._seconds))

    def stop(self) -> None:
        """Withdraw all fits. One that runs on a cluster of somebody else's goes on to its end, and is kept."""
        with suppress(Exception):  # the scheduler may be gone
            self._executor.shutdown(wait=False)

    def close(self) -> None:
        """Leave the cluster."""
        with suppress(Exception):
            self._client.close(timeout=5)


def no_worker(seconds: float) -> str:
    """What is said when nobody comes to work."""
    return (
        f"no Dask worker for {seconds:.0f} s. Start one with `dask worker ADDRESS --nworkers 4 --nthreads 1`; with "
        "--executor slurm, `squeue --me` says why jobs wait. --wait SECONDS changes this limit"
    )


@contextmanager
def join(address: str, seconds: float, gpu: bool) -> Iterator[Runner]:
    """A runner on the cluster whose scheduler is at `address`; waits up to `seconds` for it and for a first worker."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(INSTALL) from error
    try:
        client = Client(address, timeout=seconds)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--scheduler {address}: no Dask scheduler answers there within {seconds:.0f} s ({error}). "
            "Start one with `dask scheduler --host 127.0.0.1`, and workers with `dask worker ADDRESS`"
        ) from error
    with use(client, seconds, gpu) as runner:
        yield runner


@contextmanager
def use(client: Client, seconds: float, gpu: bool) -> Iterator[Runner]:
    """A runner on a connected client, once there is a worker."""
    logging.getLogger("distributed").setLevel(logging.ERROR)  # a lost node is a line of ours, not ten of theirs
    try:
        try:
            client.wait_for_workers(1, timeout=seconds)
        except TimeoutError as error:
            raise WorkerError(no_worker(seconds)) from error
        refuse_no_gpu(client, gpu)
        with Runner(Dask(client, seconds, gpu)) as runner:
            yield runner
    finally:
        with suppress(Exception):
            client.close(timeout=5)


def refuse_no_gpu(client: Client, gpu: bool) -> None:
    """ConfigError when fits need a GPU and no worker has said that it has one: they would wait for ever."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if gpu and not any(worker["resources"].get("GPU") for worker in workers.values()):
        raise ConfigError(
            f"fits need a GPU, but no Dask worker has one: {few(workers)}. Start one worker per GPU, each with "
            "`CUDA_VISIBLE_DEVICES=0 dask worker ADDRESS --nworkers 1 --nthreads 1 --resources GPU=1`"
        )


def slurm_options(text: str) -> dict[str, Any]:
    """Turn "queue=gpu,walltime=04:00:00,gres=gpu:1" into SLURMCluster's arguments; ConfigError for an unknown name."""
    arguments: dict[str, Any] = {"cores": 1, "processes": 1, "memory": "8GB", "walltime": "04:00:00"}
    directives = []
    for item in filter(None, text.split(",")):
        name, _, value = (part.strip() for part in item.partition("="))
        if name not in SLURM or not value:
            raise ConfigError(
                f"--slurm {item}: {unknown('option', name, SLURM)}; expected such as queue=gpu,gres=gpu:1"
            )
        if not SLURM[name]:
            directives.append(f"--{name}={value}")
        elif name == "cores":
            if not value.isdigit() or int(value) < 1:
                raise ConfigError(f"--slurm {item}: expected a whole number of at least 1")
            arguments["job_cpu"] = int(value)
        elif name == "memory" and not re.fullmatch(r"\d+(\.\d+)?\s*[KMGT]i?B", value):
            raise ConfigError(f"--slurm {item}: expected such as memory=8GB")
        else:
            arguments[SLURM[name]] = value
    if any(directive.startswith("--gres=gpu") for directive in directives):
        arguments["worker_extra_args"] = ["--resources", "GPU=1"]
    return {
        **arguments,
        # No dashboard, which would listen for everybody; what is left of its server takes any port that is free.
        "scheduler_options": {"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        "job_extra_directives": directives,
        "job_script_prologue": [f"export {name}={value}" for name, value in worker_environment().items()],
    }


def worker_environment() -> dict[str, str]:
    """What a worker must have as here: its cache, and one thread per fit."""
    from sertbench.config import cache_folder

    return {"SERTBENCH_CACHE": str(cache_folder().resolve()), "OMP_NUM_THREADS": "1"}


def slurm_cluster(options: str) -> Cluster:
    """The SLURM cluster of these options, without jobs yet; dask-jobqueue's own configuration fills in the rest."""
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ConfigError(INSTALL) from error
    finally:
        signal.signal(signal.SIGINT, interrupt)  # importing it turns Ctrl-C into sys.exit
    try:
        return SLURMCluster(**slurm_options(options))
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError(f"--slurm {options}: {error}") from error


@contextmanager
def slurm(options: str, jobs: int, seconds: float, gpu: bool) -> Iterator[Runner]:
    """A runner on up to `jobs` SLURM jobs of one worker each: started now, replaced when they end, ended with it."""
    import shutil

    if shutil.which("sbatch") is None:
        raise ConfigError(
            "--executor slurm needs `sbatch`, which is not on this machine's PATH: run it on a login node"
        )
    with slurm_cluster(options) as cluster:
        from distributed import Client

        cluster.adapt(minimum_jobs=1, maximum_jobs=jobs)
        with use(Client(cluster), seconds, gpu) as runner:
            yield runner
