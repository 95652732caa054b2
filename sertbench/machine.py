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


def age() -> float:
    """Seconds since this process was started."""
    if not STAT.exists():
        import psutil

        return time.time() - float(psutil.Process().create_time())
    ticks = int(STAT.read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
