"""Courses in the cache: nothing is decoded twice for them, and what is damaged is made again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sertbench import audio, course_shelf, courses
from sertbench.errors import AudioError, StorageError

HASHES = [f"{n:064x}" for n in range(4)]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    for n in range(4):
        level = np.repeat(rng.choice([0.01, 0.1, 0.5], 8), 1000 + 100 * n)
        soundfile.write(folder / f"{n}.wav", level * rng.uniform(-1, 1, len(level)), 16000)
    return sorted(folder.iterdir())


@pytest.fixture
def decoded(monkeypatch) -> list[Path]:
    """The files that are decoded from now on."""
    paths, decode = [], audio.decode
    monkeypatch.setattr(audio, "decode", lambda path, channel: paths.append(path) or decode(path, channel))
    return paths


def test_what_is_on_the_shelf_is_not_decoded_again(files, tmp_path, decoded):
    first = course_shelf.courses_of(files[:3], HASHES[:3], "mono", tmp_path)
    decoded.clear()

    again = course_shelf.courses_of(files[::-1], HASHES[::-1], "mono", tmp_path)

    assert decoded == [files[3]]
    for one, other in zip(first, again[:0:-1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_courses_that_are_made_while_files_are_probed_serve_the_search(files, tmp_path, decoded):
    with course_shelf.Shelf(tmp_path) as shelf:
        infos = audio.probe_all(files, on_samples=shelf.add)
    decoded.clear()

    found = course_shelf.courses_of(files, [info.sha256 for info in infos], "mono", tmp_path)

    assert decoded == []
    for path, one in zip(files, found, strict=True):
        np.testing.assert_array_equal(one, courses.course(*audio.decode(path, "mono")[:2]))


def packed_otherwise(archive: bytes) -> bytes:
    """A zip file in whose directory one bit of the first entry's packing is another."""
    at = archive.index(b"PK\1\2") + 10
    return archive[:at] + bytes([archive[at] ^ 1]) + archive[at + 1 :]


@pytest.mark.parametrize("damage", [lambda b: b[:200], lambda _: b"", lambda b: b[:-30] + b"\0" * 30, packed_otherwise])
def test_a_broken_file_is_made_again(files, tmp_path, damage):
    whole = course_shelf.courses_of(files, HASHES, "mono", tmp_path)
    (kept,) = tmp_path.rglob("*.npz")
    kept.write_bytes(damage(kept.read_bytes()))

    again = course_shelf.courses_of(files, HASHES, "mono", tmp_path)

    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not list(tmp_path.rglob("*.tmp"))


def test_courses_of_another_version_are_not_read(files, tmp_path, decoded, monkeypatch):
    course_shelf.courses_of(files, HASHES, "mono", tmp_path)
    decoded.clear()
    monkeypatch.setattr(course_shelf, "VERSION", courses.VERSION + 1)

    course_shelf.courses_of(files, HASHES, "mono", tmp_path)

    assert sorted(decoded) == files


def test_what_was_read_before_a_fault_is_kept(files, tmp_path, decoded):
    with pytest.raises(AudioError, match=r"gone\.wav"):
        course_shelf.courses_of([files[0], tmp_path / "gone.wav"], HASHES[:2], "mono", tmp_path / "cache")
    decoded.clear()

    course_shelf.courses_of(files[:1], HASHES[:1], "mono", tmp_path / "cache")

    assert decoded == []


def test_progress_counts_every_file_once(files, tmp_path):
    seen: list[int] = []

    course_shelf.courses_of([*files, files[0]], [*HASHES, HASHES[0]], "mono", tmp_path, seen.append)

    assert seen == [2, 3, 4, 5]


def test_without_a_cache_nothing_is_written(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    course_shelf.courses_of(files, HASHES, "mono", None)

    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(files, tmp_path):
    (tmp_path / "courses").write_text("in the way")

    with pytest.raises(StorageError, match="SERTBENCH_CACHE"):
        course_shelf.courses_of(files, HASHES, "mono", tmp_path)
