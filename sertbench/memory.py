"""What memory there is, and what a process holds of it.

A limit of a control group (a container, a SLURM job) counts like the machine's own, whichever of the groups above this
process has it. Files that the system keeps in memory because they were read count as free: they go by themselves.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
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


@functools.cache
def groups(membership: Path, root: Path) -> tuple[tuple[Path, Version], ...]:
    """The folders of the control groups that this process is in and that limit memory, the innermost first.

    A container without a name space of its own sees its group's files at the root instead: that is looked at as well.
    """
    found = []
    with suppress(OSError):
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            place = root / "memory" if controllers else root
            if controllers and "memory" not in controllers.split(","):
                continue
            inside = Path(path.lstrip("/"))
            for folder in (place / inside, *(place / above for above in inside.parents)):
                found += [(folder, v) for v in VERSIONS if (folder / v.limit).is_file() and ".." not in folder.parts]
    return tuple(dict.fromkeys(found))


def limits() -> Iterator[tuple[int, int]]:
    """Of each control group with a limit: the limit, and what is free below it, in bytes."""
    for folder, version in groups(MEMBERSHIP, CGROUPS):
        with suppress(OSError, ValueError):  # no limit is "max", or a number beyond any memory
            limit = int((folder / version.limit).read_text())
            lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
            kept = sum(int(value) for name, value in lines if name in version.reclaimable)
            yield limit, limit - int((folder / version.used).read_text()) + kept


def machine() -> dict[str, int]:
    """The lines of /proc/meminfo that have a size, in bytes."""
    lines = (line.split() for line in MEMINFO.read_text().splitlines())
    return {line[0].rstrip(":"): int(line[1]) << 10 for line in lines if line[2:] == ["kB"]}


def available() -> int:
    """Bytes that can be taken without swapping."""
    return max(0, min([machine()["MemAvailable"], *(free for _, free in limits())]))


def total() -> int:
    """Bytes that could be taken at most, if nobody else had any; swap counts."""
    size = machine()
    return min([size["MemTotal"] + size.get("SwapTotal", 0), *(limit for limit, _ in limits())])


def held(pid: int | None = None) -> int:
    """Bytes that a process has for itself alone, without files that it reads; 0 if there is no such process."""
    with suppress(OSError), Path(f"/proc/{pid or os.getpid()}/status").open() as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
    return 0


def gigabytes(size: int) -> str:
    """A number of bytes for people.

    >>> gigabytes(2_340_000_000), gigabytes(90_000_000)
    ('2.3 GB', '0.09 GB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e9:.2f} GB"
