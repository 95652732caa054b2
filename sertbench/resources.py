"""Care for the machine: less memory is taken where it ran out, a full disk foreseen, the cache kept small."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch

from sertbench import memory, turns
from sertbench.errors import ConfigError

Result = TypeVar("Result")

WORKER_BYTES = 700 << 20  # a worker process with torch and a small network; measured: 350 to 650 MiB
IN_USE = 24 * 3600  #       seconds after its last use before features may be removed from the cache
SMALLEST_FIT = 8 << 20  #   of GPU memory; whoever has taken less has not trained
USED_OF_GPU = 0.8  #        of its free memory; the rest is for what fits take beyond the first one's
CACHE_LIMIT = 100.0  #      GB, unless $SERTBENCH_CACHE_LIMIT says otherwise


def workers_that_fit(wanted: int) -> int:
    """So many worker processes as there is memory for, at least one."""
    return max(1, min(wanted, memory.available() // WORKER_BYTES))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "not enough memory" in text)


def with_less_memory(work: Callable[[int], Result], most: int, parts: int = 1) -> tuple[Result, int]:
    """Do `work(parts)`, and again with less each time that memory runs out.

    First with fewer fits beside it, where there are any (see `turns`), because that changes nothing in its result; then
    with twice the parts, up to `most`. Gives the result and the number of parts that it took.
    """
    while True:
        try:
            return work(parts), parts
        except Exception as error:
            if not is_out_of_memory(error) or (2 * parts > most and not turns.crowded()):
                raise
        gc.collect()  # outside of `except`, which would hold on to what ran out of memory
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
        if not turns.make_room():
            parts *= 2


def fits_on_gpu() -> int | None:
    """How many fits like the one that this process has done so far have room on its GPU; None before there was one.

    What lies there for all of them, features (see `device_store`) and CUDA itself, counts as one fit's: a fit more or
    less is nothing to be exact about, since one that finds no room waits for another's end.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    taken = torch.cuda.max_memory_reserved()
    if taken < SMALLEST_FIT:
        return None
    return 1 + int(USED_OF_GPU * torch.cuda.mem_get_info()[0]) // taken


def free_disk(folder: Path) -> int:
    """Free bytes where a folder is, or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def cache_limit() -> int:
    """The cache's limit in bytes. ConfigError when $SERTBENCH_CACHE_LIMIT is not a number of gigabytes."""
    text = os.environ.get("SERTBENCH_CACHE_LIMIT", str(CACHE_LIMIT))
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise ConfigError(f"SERTBENCH_CACHE_LIMIT={text} is not accepted: expected gigabytes, such as 50")
    return int(min(limit * 1e9, sys.maxsize))  # inf: never removed


def trim_cache(cache: Path, limit: int) -> list[Path]:
    """Remove the features that were used longest ago until the rest is within `limit` bytes; gives what was removed.

    Features that were used within a day stay: a run may be reading them.
    """
    kept = [folder for kind in ("features", "ssl") for folder in (cache / kind).glob("*")]
    folders = [(last_use(folder), size(folder), folder) for folder in kept]
    total = sum(bytes_ for _, bytes_, _ in folders)
    removed = []
    for used, bytes_, folder in sorted(folders):
        if total <= limit:
            break
        if time.time() - used > IN_USE:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
            total -= bytes_
    return removed


def last_use(folder: Path) -> float:
    """When features were last opened (see FeatureStore.open), or an unfinished folder last written."""
    meta = folder / "meta.json"
    with suppress(OSError):
        return (meta if meta.exists() else folder).stat().st_mtime
    return time.time()


def size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    total = 0
    with suppress(OSError):
        for path in folder.iterdir():
            total += path.stat().st_size
    return total
