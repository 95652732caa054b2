"""Fits on a cluster: nodes on loopback, one that is lost, a queue that starts no worker; and SLURM's job script."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from sertbench import dask_executor, executors
from sertbench.config import RunConfig
from sertbench.errors import ConfigError, StoppedError, TrainingError, WorkerError
from sertbench.training import EpochEnd

distributed = pytest.importorskip("distributed")
if importlib.util.find_spec("dask_jobqueue") is None:  # importing it here would change what Ctrl-C does in other tests
    pytest.skip("dask-jobqueue is not installed", allow_module_level=True)


# --- SLURM: no SLURM runs here, so what can be looked at is the script that would be submitted


@pytest.fixture
def job_script():
    """Give the function that makes the job script of some options."""
    with ExitStack() as stack:
        yield lambda options: stack.enter_context(dask_executor.slurm_cluster(options)).job_script()


def test_the_job_script_has_the_queue_options(job_script, monkeypatch):
    monkeypatch.setenv("SERTBENCH_CACHE", "/shared/cache")

    script = job_script("queue=gpu,account=lab,walltime=02:30:00,memory=16GB,cores=4,gres=gpu:1,qos=low,interface=lo")

    for line in ("-p gpu", "-A lab", "-t 02:30:00", "--mem=15G", "--cpus-per-task=4", "--gres=gpu:1", "--qos=low"):
        assert f"#SBATCH {line}\n" in script
    assert "export SERTBENCH_CACHE=/shared/cache\n" in script
    assert "export OMP_NUM_THREADS=1\n" in script
    assert "--nthreads 1" in script
    assert "--resources GPU=1" in script


def test_ctrl_c_means_what_it_meant_before_slurm_was_looked_for():
    program = """
import signal
from sertbench import dask_executor
with dask_executor.slurm_cluster("interface=lo"):
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    subprocess.run([sys.executable, "-P", "-c", program], check=True)


def test_a_job_without_a_gpu_says_that_it_has_none(job_script):
    script = job_script("interface=lo")

    assert "GPU" not in script
    assert "#SBATCH --mem=8G\n" in script
    assert "#SBATCH -t 04:00:00\n" in script


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("queu=gpu", "Did you mean 'queue'"),
        ("queue", "expected such as queue=gpu"),
        ("cores=many", "whole number"),
        ("cores=0", "at least 1"),
        ("memory=lots", "--slurm memory=lots"),
    ],
)
def test_wrong_queue_options_are_said_in_words(options, said):
    with pytest.raises(ConfigError, match=said):
        dask_executor.slurm_cluster(options)


def test_slurm_where_there_is_none_is_said_in_words(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="sbatch"), dask_executor.slurm("", 2, 1, gpu=False):
        pass


# --- what can be wrong with a cluster


def test_an_address_where_no_scheduler_answers_is_said_in_words():
    config = RunConfig(model="m", dataset="d", executor="dask", scheduler="tcp://127.0.0.1:1", wait=1)
    with pytest.raises(ConfigError, match="no Dask scheduler answers"), executors.open_runner(config, 1, "cpu"):
        pass


def test_dask_that_is_not_installed_is_said_in_words(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'sertbench\[dask\]'"), dask_executor.join("x", 1, gpu=False):
        pass


def test_an_unknown_executor_is_said_in_words():
    with pytest.raises(ConfigError, match="Did you mean 'dask'"):
        RunConfig(model="m", dataset="d", executor="dusk")


# --- a real cluster on loopback: a scheduler and worker nodes as a user starts them


class Cluster:
    """Processes of `dask scheduler` and `dask worker`."""

    def __init__(self, place: Path) -> None:
        self._file = place / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = self._told_address()

    def _told_address(self) -> str:
        """The scheduler's address, once it has written all of its file."""
        deadline = time.monotonic() + 120
        while True:
            try:
                return str(json.loads(self._file.read_text())["address"])
            except (FileNotFoundError, json.JSONDecodeError):
                if time.monotonic() > deadline:
                    self.close()
                    raise
                time.sleep(0.1)

    def _start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-P",
            "-m",
            f"distributed.cli.{what}",
            "--scheduler-file",
            str(self._file),
            *arguments,
        ]
        environment = {**os.environ, "PYTHONPATH": str(self._file.parent)}  # for `work`
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, start_new_session=True, env=environment, **quiet)
        self._processes.append(process)
        return process

    def node(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._start("dask_worker", "--nthreads", "1", "--no-dashboard", *arguments)

    @staticmethod
    def kill(node: subprocess.Popen[bytes]) -> None:
        """A node that loses its power: its nanny and its worker."""
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                self.kill(process)


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.close()


WORK = """
from sertbench.errors import TrainingError
from sertbench.training import EpochEnd


def double(task, report):
    report(EpochEnd(1, 0.5, 0.5, 0.5, 0.1, 0.0))
    return 2 * task


def crash(task, report):
    raise ZeroDivisionError("deep down")


def refuse(task, report):
    raise TrainingError("a sentence for the user")
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Work that the nodes can import."""
    (tmp_path / "cluster_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("cluster_work")


@pytest.mark.slow
def test_a_cluster_runs_work_reports_and_keeps_errors(cluster, work):
    cluster.node()
    events = []
    with dask_executor.join(cluster.address, 60, gpu=False) as runner:
        assert runner.slots == 1
        assert runner.run(work.double, 21, "tag", lambda tag, event: events.append((tag, event))) == 42
        with pytest.raises(TrainingError, match="a sentence for the user"):
            runner.run(work.refuse, None, "tag")
        with pytest.raises(TrainingError, match="ZeroDivisionError: deep down"):
            runner.run(work.crash, None, "tag")
        runner.stop()
        with pytest.raises(StoppedError):
            runner.run(work.double, 1, "tag")
    assert events == [("tag", executors.BEGUN), ("tag", EpochEnd(1, 0.5, 0.5, 0.5, 0.1, 0.0))]


@pytest.mark.slow
def test_a_cluster_without_workers_is_not_waited_for_for_ever(cluster):
    with (
        pytest.raises(WorkerError, match="no Dask worker for 1 s"),
        dask_executor.join(cluster.address, 1, gpu=False),
    ):
        pass


@pytest.mark.slow
def test_a_cluster_that_loses_its_last_worker_is_not_waited_for_for_ever(cluster, work):
    node = cluster.node("--no-nanny")
    with dask_executor.join(cluster.address, 60, gpu=False) as runner:
        runner._engine._seconds = 1.0
        cluster.kill(node)
        with pytest.raises(WorkerError, match="no Dask worker"):
            runner.run(work.double, 1, "tag")


@pytest.mark.slow
def test_fits_that_need_a_gpu_are_not_sent_where_there_is_none(cluster, work):
    cluster.node()
    with pytest.raises(ConfigError, match="no Dask worker has one"), dask_executor.join(cluster.address, 60, gpu=True):
        pass
    cluster.node("--resources", "GPU=1")
    with distributed.Client(cluster.address) as client:
        client.wait_for_workers(2, timeout=60)
    with dask_executor.join(cluster.address, 60, gpu=True) as runner:
        assert runner.run(work.double, 4, "tag") == 8
