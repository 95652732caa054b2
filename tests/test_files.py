"""Files are whole or absent; locks have a time limit; the machine's limits are seen in time."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from sertbench import files, resources
from sertbench.errors import BusyError, ConfigError, StorageError
from sertbench.resources import free_disk, trim_cache, with_less_memory, workers_that_fit


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_draft(tmp_path):
    path = tmp_path / "table.csv"
    files.write_text(path, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageError, match="Free some space"):
            files.write_text(path, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_two_drafts_of_one_file_have_different_names_on_any_machine(tmp_path):
    assert files.draft_of(tmp_path / "a") != files.draft_of(tmp_path / "a")


def test_drafts_of_other_files_are_left_to_their_writers(tmp_path):
    mine, other = files.draft_of(tmp_path / "emodb.csv"), files.draft_of(tmp_path / "ravdess.csv")
    for draft in (mine, other):
        draft.write_text("half")

    files.remove_drafts(tmp_path, "emodb.csv")

    assert names(tmp_path) == [other.name]


def test_a_lock_is_waited_for_so_long_and_free_afterwards(tmp_path):
    lock = tmp_path / "lock"
    with (
        files.locked(lock, 1, ""),
        pytest.raises(BusyError, match="somebody else"),
        files.locked(lock, 0.1, "somebody else"),
    ):
        pass
    with files.locked(tmp_path / "lock", 0.1, "somebody else"):
        pass


def test_a_folder_without_room_for_a_lock_is_said_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot lock"), files.locked(tmp_path / "file" / "lock", 1, ""):
        pass


# --- resources


def test_there_is_some_disk(tmp_path):
    assert 0 < free_disk(tmp_path / "not" / "yet" / "there") < 1 << 60


@pytest.mark.parametrize(("gigabytes", "workers"), [(0, 1), (1, 1), (3, 4), (100, 8)])
def test_no_more_workers_are_started_than_fit_into_memory(monkeypatch, gigabytes, workers):
    monkeypatch.setattr(resources.memory, "available", lambda: gigabytes << 30)
    assert workers_that_fit(8) == workers


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        resources.torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=["python", "gpu", "cpu"],
)
def test_out_of_memory_is_met_with_half_as_much_until_it_is_enough(error):
    asked = []

    def work(parts):
        asked.append(parts)
        if parts < 8:
            raise error
        return "done"

    assert with_less_memory(work, 16) == ("done", 8)
    assert asked == [1, 2, 4, 8]
    with pytest.raises(type(error)):
        with_less_memory(work, 4)


def test_other_errors_are_not_met_with_less_memory():
    with pytest.raises(ZeroDivisionError):
        with_less_memory(lambda parts: parts // 0, 16)


def features(cache: Path, name: str, age: float) -> Path:
    folder = cache / "features" / name
    folder.mkdir(parents=True)
    (folder / "values.f32").write_bytes(bytes(1000))
    (folder / "meta.json").write_text("{}")
    os.utime(folder / "meta.json", (folder.stat().st_mtime - age,) * 2)
    return folder


def test_the_cache_loses_what_was_used_longest_ago_and_nothing_of_today(tmp_path):
    day = 24 * 3600
    old, older, today = (features(tmp_path, n, age) for n, age in (("a", 2 * day), ("b", 9 * day), ("c", 60)))

    assert trim_cache(tmp_path, 10_000) == []
    assert trim_cache(tmp_path, 2_500) == [older]
    assert trim_cache(tmp_path, 0) == [old]
    assert today.exists()
    assert trim_cache(tmp_path / "nowhere", 0) == []


def test_a_limit_of_the_cache_that_is_no_number_is_said_in_words(monkeypatch):
    monkeypatch.setenv("SERTBENCH_CACHE_LIMIT", "50")
    assert resources.cache_limit() == 50_000_000_000
    for endless in ("inf", "1e400"):
        monkeypatch.setenv("SERTBENCH_CACHE_LIMIT", endless)
        assert resources.cache_limit() > 10**15
    for wrong in ("much", "-1", "nan"):
        monkeypatch.setenv("SERTBENCH_CACHE_LIMIT", wrong)
        with pytest.raises(ConfigError, match="expected gigabytes"):
            resources.cache_limit()
