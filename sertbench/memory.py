"""What memory there is, and what a process holds of it.

A limit of a control group (a container, a SLURM job) counts like the machine's own, whichever of the groups above this
process has it. Files that the system keeps in memory because they were read count as free: they go by themselves.
"""

from __future__ import annotations

import ctypes
import functools
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
MEMBERSHIP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Version:
    """How a version of control groups calls its files."""

    limit: str
    used: str
    reclaimable: tuple[str, ...]  # in memory.stat: pages of files


VERSIONS = (
    Version("memory.max", "memory.current", ("inactive_file", "active_file")),
    Version("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
)


@dataclass(frozen=True)
class Group:
    """A control group that limits memory."""

    folder: Path
    version: Version
    limit: int

    def free(self) -> int:
        """Bytes below the limit that are not taken."""
        lines = (line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        kept = sum(int(value) for name, value in lines if name in self.version.reclaimable)
        return self.limit - int((self.folder / self.version.used).read_text()) + kept


@functools.cache
def groups(membership: Path, root: Path) -> tuple[Group, ...]:
    """The control groups that limit this process's memory, the innermost first; limits are read once.

    A container without a name space of its own sees its group's files at the root instead: that is looked at as well.
    """
    found: dict[Path, Group] = {}
    with suppress(OSError):
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            inside, place = Path(path.lstrip("/")), root / "memory" if controllers else root
            if ".." in inside.parts:  # of another name space
                continue
            for folder in (place / inside, *(place / above for above in inside.parents)):
                for version in VERSIONS:
                    with suppress(OSError, ValueError):  # not there, or no limit ("max")
                        found[folder] = Group(folder, version, int((folder / version.limit).read_text()))
    return tuple(group for group in found.values() if group.limit < size_of("MemTotal"))


def size_of(name: str) -> int:
    """A line of /proc/meminfo, in bytes; 0 if it has none of that name."""
    if not MEMINFO.exists():
        return elsewhere()[name]
    with MEMINFO.open() as file:
        return next((int(line.split()[1]) << 10 for line in file if line.startswith(f"{name}:")), 0)


def elsewhere() -> dict[str, int]:
    """What /proc/meminfo would say where there is none."""
    import psutil

    here = psutil.virtual_memory()
    return {"MemTotal": here.total, "MemAvailable": here.available, "SwapTotal": psutil.swap_memory().total}


def available() -> int:
    """Bytes that can be taken without swapping."""
    free = size_of("MemAvailable")
    for group in groups(MEMBERSHIP, CGROUPS):
        with suppress(OSError, ValueError):
            free = min(free, group.free())
    return max(0, free)


@functools.cache
def total() -> int:
    """Bytes that could be taken at most, if nobody else had any; swap counts."""
    limits = (group.limit for group in groups(MEMBERSHIP, CGROUPS))
    return min([size_of("MemTotal") + size_of("SwapTotal"), *limits])


def held(pid: int | None = None) -> int:
    """Bytes that a process has for itself alone, without files that it reads; 0 if there is no such process.

    Where there is no /proc, with such files.
    """
    if not MEMINFO.exists():
        import psutil

        with suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss)
    with suppress(OSError), Path(f"/proc/{pid or os.getpid()}/status").open() as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
    return 0


def give_back() -> None:
    """Give back what glibc keeps of this process's freed memory (see `compute.keep_freed_memory`)."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def gigabytes(size: int) -> str:
    """A number of bytes for people.

    >>> gigabytes(2_340_000_000), gigabytes(90_000_000)
    ('2.3 GB', '0.09 GB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e9:.2f} GB"
