"""What Linux tells of a machine and a process, and where there is no Linux (macOS), psutil."""

from __future__ import annotations

import os
import time
from pathlib import Path

STAT = Path("/proc/self/stat")


def cores() -> int:
    """How many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worked(device: str) -> float:
    """Seconds that this thread has worked, to be subtracted from a later reading.

    On a CPU the processor's, without what other programs took and without pauses; on a GPU, the time that went by.
    """
    return time.perf_counter() if device == "cuda" else time.thread_time()


def age() -> float:
    """Seconds since this process was started."""
    if not STAT.exists():
        import psutil

        return time.time() - float(psutil.Process().create_time())
    ticks = int(STAT.read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
