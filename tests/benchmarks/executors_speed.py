"""How much two worker processes gain over one, whether pinning helps, and what an executor costs per fit.

    python -P tests/benchmarks/executors_speed.py

Speed-up: the same fits (a network of matrix products, one thread each) on 1 and 2 worker processes, and on 2 that are
pinned to a core each, in turn. Overhead: the mean time of work that does nothing, in this process, in a worker process,
and on a Dask cluster on loopback.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

import torch

from sertbench import dask_executor, executors
from sertbench.executors import Report, Runner
from sertbench.worker_processes import Workers


def nothing(task: int, report: Report) -> int:
    """Work that takes no time."""
    return task


def compute(task: int, report: Report) -> float:
    """Work that keeps one core busy for about a second."""
    torch.set_num_threads(1)
    x = torch.randn(512, 512, generator=torch.Generator().manual_seed(task))
    for _ in range(200):
        x = (x @ x) / x.norm()
    return float(x.sum())


def pin(core: int, report: Report) -> int:
    """Stay on one core from now on. It takes a while, so that each worker gets one of these."""
    os.sched_setaffinity(0, {core})
    time.sleep(1.0)
    return os.getpid()


def seconds(runner: Runner, work: object, count: int) -> float:
    """Wall time of `count` pieces of work, asked for all at once."""
    with ThreadPoolExecutor(count) as threads:
        started = time.perf_counter()
        list(threads.map(lambda task: runner.run(work, task, "tag"), range(count)))  # type: ignore[arg-type]
        return time.perf_counter() - started


def warm(runner: Runner) -> Runner:
    """Start all worker processes and let them import torch."""
    seconds(runner, compute, 2 * runner.slots)
    return runner


def pinned(runner: Runner) -> Runner:
    """Pin each worker to a core of its own."""
    cores = sorted(os.sched_getaffinity(0))[: runner.slots]
    with ThreadPoolExecutor(runner.slots) as threads:
        processes = set(threads.map(lambda core: runner.run(pin, core, "tag"), cores))
    assert len(processes) == runner.slots, "one worker was asked twice"
    return runner


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=12, help="pieces of real work (default: 12)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements in turn (default: 5)")
    parser.add_argument("--empty", type=int, default=300, help="pieces of empty work (default: 300)")
    options = parser.parse_args()
    with ExitStack() as stack:
        one, two, apart = (warm(stack.enter_context(Runner(Workers(n)))) for n in (1, 2, 2))
        pinned(apart)
        rounds = [[seconds(r, compute, options.count) for r in (one, two, apart)] for _ in range(options.rounds)]
        for name, i in (("2 worker processes", 1), ("2 pinned worker processes", 2)):
            ratios = [times[0] / times[i] for times in rounds]
            print(f"speed-up of {name} over 1: {median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]")
        gains = [times[1] / times[2] for times in rounds]
        print(f"speed-up by pinning: {median(gains):.2f} [{min(gains):.2f}..{max(gains):.2f}]")
        here = stack.enter_context(executors.make(1))
        for name, runner in (("in process", here), ("a worker process", one)):
            print(f"overhead per fit, {name}: {1000 * seconds(runner, nothing, options.empty) / options.empty:.2f} ms")
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        print("overhead per fit, Dask: not measured, it is not installed")
        return
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        dask_executor.use(Client(cluster), 60, gpu=False) as runner,
    ):
        seconds(runner, nothing, 4)
        taken = 1000 * seconds(runner, nothing, options.empty) / options.empty
        print(f"overhead per fit, Dask on loopback, 2 workers: {taken:.2f} ms")


if __name__ == "__main__":
    main()
