"""What a machine has, where Linux tells it and where psutil does."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from sertbench import machine, memory

WITHOUT_LINUX = """
import os, time
from pathlib import Path
from sertbench import machine, memory
del os.sched_getaffinity, time.CLOCK_BOOTTIME
machine.STAT = memory.MEMINFO = memory.MEMBERSHIP = memory.CGROUPS = Path("not there")
"""


def said(code: str) -> list[float]:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [float(number) for number in run.stdout.split()]


def test_the_age_of_a_process():
    started = time.monotonic()
    (age,) = said("import time; from sertbench import machine; time.sleep(0.3); print(machine.age())")

    assert 0.29 <= age <= time.monotonic() - started + 0.02


def test_without_linux_psutil_tells_the_same():
    psutil = pytest.importorskip("psutil")
    asked = "machine.cores(), machine.age(), memory.available(), memory.total(), memory.held(), memory.held(2**22)"
    started = time.monotonic()

    cores, age, available, total, held, of_nobody = said(f"{WITHOUT_LINUX}print({asked})")

    assert cores == os.cpu_count()
    assert -2 <= age <= time.monotonic() - started + 2  # on Linux psutil's clock counts whole seconds
    assert available == pytest.approx(psutil.virtual_memory().available, rel=0.5)
    assert total == memory.size_of("MemTotal") + memory.size_of("SwapTotal")
    assert 1 << 20 < held < 1 << 30
    assert of_nobody == 0


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    assert machine.cores() == 3


def test_work_is_the_processors_on_a_cpu_and_time_on_a_gpu():
    work, time_ = machine.worked("cpu"), machine.worked("cuda")
    time.sleep(0.2)

    assert machine.worked("cpu") - work < 0.1
    assert machine.worked("cuda") - time_ >= 0.2


def test_it_is_run_as_a_module_too():
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sertbench", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    right, wrong = run("--version"), run("ran")

    assert (right.returncode, right.stdout.split()[0]) == (0, "sertbench")
    assert wrong.returncode == 2
    assert "usage: sertbench " in wrong.stderr
