"""What memory there is: of the machine, and of the control groups of either version that a process is in."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from sertbench import memory
from sertbench.compute import keep_freed_memory

MB = 1 << 20
V2, V1 = memory.VERSIONS
PLACES = [("0::/job_7/step_0/task\n", "", V2), ("9:cpu:/x\n4:memory:/job_7/step_0/task\n0::/\n", "memory/", V1)]
NO_LIMIT = {V1: 2**63 - 4096, V2: "max"}

Put = Callable[..., None]


@pytest.fixture
def put(tmp_path, monkeypatch) -> Iterator[Put]:
    """Gives a function that makes a control group, on a machine of 1000 MB, 600 of which are free."""
    (tmp_path / "meminfo").write_text(
        f"MemTotal: {1000 << 10} kB\nMemAvailable: {600 << 10} kB\nSwapTotal: {50 << 10} kB\nHugePages_Total: 0\n"
    )
    for name, path in (("MEMINFO", "meminfo"), ("MEMBERSHIP", "membership"), ("CGROUPS", "groups")):
        monkeypatch.setattr(memory, name, tmp_path / path)

    def put(member: str, place: str, version: memory.Version, limit: object, used: int = 0, files: int = 0) -> None:
        (tmp_path / "membership").write_text(member)
        folder = tmp_path / "groups" / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / version.limit).write_text(f"{limit}\n")
        (folder / version.used).write_text(f"{used * MB}\n")
        (folder / "memory.stat").write_text(f"anon {7 * MB}\n{version.reclaimable[0]} {files * MB}\n")
        forget()

    forget()
    yield put
    forget()


def forget() -> None:
    """Limits are read once by a process."""
    memory.groups.cache_clear()
    memory.total.cache_clear()


def megabytes() -> tuple[int, int]:
    return memory.available() // MB, memory.total() // MB


def test_there_is_memory_here():
    assert MB < memory.available() <= memory.total() < 1 << 50
    assert memory.held() > MB
    assert memory.held(2**22 + 1) == 0  # no such process


def test_what_a_process_takes_is_seen():
    before = memory.held(os.getpid())
    with mmap.mmap(-1, 64 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as taken:  # of the heap, some may be free
        for page in range(0, len(taken), mmap.PAGESIZE):  # not one long text, which the heap may keep, too
            taken[page] = 1
        assert 50 * MB < memory.held() - before < 80 * MB


def test_without_groups_the_machine_alone_counts_and_swap_only_in_all(put):
    assert megabytes() == (600, 1050)


@pytest.mark.parametrize(("member", "root", "version"), PLACES, ids=["v2", "v1"])
def test_the_tightest_group_counts_wherever_it_is_above_the_process(put, member, root, version):
    put(member, f"{root}job_7/step_0/task", version, NO_LIMIT[version], 100)
    put(member, f"{root}job_7/step_0", version, NO_LIMIT[version], 100)
    assert megabytes() == (600, 1050)
    put(member, f"{root}job_7", version, 300 * MB, 120)
    assert megabytes() == (180, 300)
    put(member, f"{root}job_7/step_0", version, 200 * MB, 120)
    assert megabytes() == (80, 200)
    put(member, f"{root}job_8", version, 10 * MB, 10)  # somebody else's
    assert megabytes() == (80, 200)


@pytest.mark.parametrize(("member", "root", "version"), PLACES, ids=["v2", "v1"])
def test_files_that_were_read_make_room(put, member, root, version):
    put(member, f"{root}job_7", version, 300 * MB, used=290, files=200)
    assert megabytes() == (210, 300)


@pytest.mark.parametrize(("member", "root", "version"), PLACES, ids=["v2", "v1"])
def test_a_container_sees_its_own_group_at_the_root(put, member, root, version):
    put(member, root, version, 250 * MB, used=50)
    assert megabytes() == (200, 250)


def test_a_group_outside_of_what_can_be_seen_is_left_alone(put):
    put("0::/../other\n", "", V2, "max")
    put("0::/../other\n", "../other", V2, MB)
    assert megabytes() == (600, 1050)


def test_a_group_that_has_taken_more_than_it_may_has_nothing_free(put):
    put("0::/\n", "", V2, 100 * MB, used=130)
    assert megabytes() == (0, 100)


def test_freed_memory_is_given_back():
    keep_freed_memory()
    taken = [np.ones(MB // 8) for _ in range(100)]
    most = memory.held()
    del taken
    memory.give_back()
    assert memory.held() < most - 60 * MB
