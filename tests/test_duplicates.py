"""Copies of a clip are found however they were changed; other takes of the same sentence are not taken for copies."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from rich.console import Console

from sertbench import audio, course_shelf, duplicates, gate, plan
from sertbench.corpus import Manifest, Utterance
from sertbench.courses import course
from sertbench.errors import LeakError
from sertbench.progress import Display
from sertbench.protocols import Fold, Split

RATE = 16000


def speech(text: int, take: int = 0) -> np.ndarray:
    """A speech-like clip of 8 syllables, about 1.9 s: harmonics under two moving formants, over a little noise.

    `text` draws the syllables; `take` changes their lengths, pitch and loudness as a second reading does.
    """
    words, reading = np.random.default_rng(text), np.random.default_rng(1000 * text + take)
    first, second, pitches = words.uniform(300, 800, 8), words.uniform(900, 2600, 8), words.uniform(110, 240, 8)
    lengths = words.uniform(0.13, 0.3, 8) * reading.uniform(0.9, 1.1, 8)
    gains = words.uniform(0.3, 1, 8) * reading.uniform(0.7, 1.4, 8)
    wave = [np.zeros(int(RATE * 0.12 * reading.uniform(0.8, 1.2)))]
    for f1, f2, pitch, length, gain in zip(first, second, pitches, lengths, gains, strict=True):
        time = np.arange(int(length * RATE)) / RATE
        harmonics = np.arange(1, 30)[:, None] * pitch * reading.uniform(0.95, 1.05)
        weights = sum(np.exp(-(((harmonics - f) / 200) ** 2)) for f in (f1, f2)) + 0.01
        shape = np.sin(np.pi * np.minimum(time / length * 0.8, 1)) ** 2
        wave.append(gain * shape * (weights * np.sin(2 * np.pi * harmonics * time)).sum(0))
    whole = np.concatenate(wave)
    noise = reading.standard_normal(len(whole)) * 0.003
    return (whole / np.abs(whole).max() * 0.4 + noise).astype(np.float32)


def encoded(wave: np.ndarray, kind: str, **options: object) -> np.ndarray:
    """Through a codec and back."""
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format=kind, **options)
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def at_8_khz(wave: np.ndarray) -> np.ndarray:
    return soxr.resample(soxr.resample(wave, RATE, 8000), 8000, RATE)


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda wave: wave,
    "6 dB down": lambda wave: wave / 2,
    "6 dB up": lambda wave: wave * 2,
    "20 dB down, 16 bit": lambda wave: np.round(wave * 3276.8) / 32768,
    "50 ms off the start": lambda wave: wave[800:],
    "205 ms off the start": lambda wave: wave[3280:],
    "50 ms off the end": lambda wave: wave[:-800],
    "300 ms off the end": lambda wave: wave[:-4800],
    "100 ms off both ends": lambda wave: wave[1523:-1600],
    "silence in front": lambda wave: np.concatenate([np.zeros(2000, np.float32), wave]),
    "8 kHz and back": at_8_khz,
    "ogg": lambda wave: encoded(wave, "OGG"),
    "opus": lambda wave: encoded(wave, "OGG", subtype="OPUS"),
    "mp3": lambda wave: encoded(wave, "MP3"),
    "telephone": lambda wave: encoded(wave, "WAV", subtype="ULAW"),
    "8 kHz, cut, mp3, quieter": lambda wave: encoded(at_8_khz(wave)[700:], "MP3") / 2,
}


def pairs(waves: list[np.ndarray]) -> list[tuple[int, int]]:
    sounds = [np.asarray(wave, np.float32) for wave in waves]
    found = duplicates.near_duplicates(
        [course(sound, RATE) for sound in sounds], [len(sound) / RATE for sound in sounds], sounds.__getitem__
    )
    return [(i, j) for i, j, _ in found]


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [speech(text) for text in range(6)]


@pytest.mark.parametrize("change", COPIES)
def test_a_copy_is_found_and_nothing_else(clips: list[np.ndarray], change: str) -> None:
    assert pairs([*clips, COPIES[change](clips[3])]) == [(3, 6)]


def test_a_copy_that_comes_first_and_is_longer_is_found_too(clips: list[np.ndarray]) -> None:
    assert pairs([clips[0][1600:], *clips]) == [(0, 1)]


def test_other_takes_of_a_sentence_are_no_copies() -> None:
    takes = [speech(text, take) for text in range(3) for take in range(5)]
    assert pairs(takes) == []


def test_every_copy_of_several_is_paired(clips: list[np.ndarray]) -> None:
    assert pairs([clips[0], clips[1], clips[0] / 2, clips[0][400:]]) == [(0, 2), (0, 3), (2, 3)]


def test_clips_that_share_a_part_are_no_copies(clips: list[np.ndarray]) -> None:
    shared, other, another = clips[:3]
    assert pairs([np.concatenate([shared, other]), np.concatenate([shared, another]), shared]) == []


def test_steady_silent_and_very_short_signals_are_no_copies_of_anything() -> None:
    time = np.arange(2 * RATE) / RATE
    tone = np.sin(2 * np.pi * 440 * time)
    hum = np.sin(2 * np.pi * 300 * time) / 2
    noise = [np.random.default_rng(seed).standard_normal(2 * RATE) / 10 for seed in (0, 1)]
    silence = np.zeros(2 * RATE)
    assert pairs([tone, hum, *noise, silence, silence, tone[:100], hum[:100], silence[:1]]) == []


def test_agreement_does_not_depend_on_which_clip_comes_first(clips: list[np.ndarray]) -> None:
    long, short = duplicates.fingerprint(clips[0]), duplicates.fingerprint(clips[0][1600:])
    there = duplicates.agreement(long, short, 10)
    assert there == pytest.approx(duplicates.agreement(short, long, -10))
    assert there > 0.99


def test_a_fingerprint_ignores_the_level(clips: list[np.ndarray]) -> None:
    loud, soft = duplicates.fingerprint(clips[0]), duplicates.fingerprint(clips[0] / 4)
    assert loud.shape == (1 + (len(clips[0]) - duplicates.WINDOW) // duplicates.HOP, duplicates.BANDS)
    assert np.abs(loud.astype(int) - soft).max() <= 1
    assert loud.min() == 0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, clips: list[np.ndarray]) -> list[Path]:
    """Four clips and an ogg copy of the first, cut by 50 ms and 6 dB down, at another sampling rate."""
    folder = tmp_path_factory.mktemp("corpus")
    paths = [folder / f"u{n}.wav" for n in range(4)]
    for path, wave in zip(paths, clips, strict=False):
        soundfile.write(path, wave, RATE)
    paths.append(folder / "u4.ogg")
    soundfile.write(paths[4], soxr.resample(clips[0][800:] / 2, RATE, 22050), 22050)
    return paths


def test_the_gate_names_a_planted_copy(files: list[Path], tmp_path: Path) -> None:
    infos = audio.probe_all(files)
    utterances = tuple(Utterance(path.stem, path, "neutral", f"s{n}") for n, path in enumerate(files))
    hashes, seconds = tuple(i.sha256 for i in infos), tuple(i.seconds for i in infos)
    data = Manifest("toy", "all", "all", ("neutral",), utterances, (0,) * 5, hashes, seconds)
    split = Split("toy/1", tuple(u.id for u in utterances), (Fold("1", (1, 2, 4), (3,), (0,)),))
    near = duplicates.near_copies(
        files, hashes, course_shelf.courses_of(files, hashes, "mono", tmp_path), seconds, "mono"
    )
    with pytest.raises(LeakError, match=r"near audio +train and test +1 .*u4 = u0"):
        gate.enforce(gate.overlaps(data, split, {"speaker": "all"}, near), allow=False)
    clean = replace(split, folds=(Fold("1", (1, 2), (3,), (0, 4)),))
    assert gate.enforce(gate.overlaps(data, clean, {"speaker": "all"}, near), allow=False) is False


@pytest.mark.parametrize("damaged", ["", "[[0,", "[1]", "[[0]]", '[["a", "b"]]'])
def test_copies_that_were_kept_and_cannot_be_read_are_looked_for_again(
    files: list[Path], tmp_path: Path, damaged: str
) -> None:
    infos = audio.probe_all(files)
    utterances = tuple(Utterance(path.stem, path, "neutral", f"s{n}") for n, path in enumerate(files))
    hashes, seconds = tuple(i.sha256 for i in infos), tuple(i.seconds for i in infos)
    data = Manifest("toy", "all", "all", ("neutral",), utterances, (0,) * 5, hashes, seconds)
    kept = tmp_path / "near-copies" / f"{data.sha256}-{duplicates.VERSION}.json"
    kept.parent.mkdir()
    kept.write_text(damaged)

    found = plan.near_copies(data, "mono", tmp_path, Display(Console(quiet=True)))

    assert [tuple(pair) for pair in json.loads(kept.read_text())] == found == [(0, 4)]


def test_clips_with_the_same_samples_stand_for_each_other(files: list[Path], tmp_path: Path) -> None:
    twin = tmp_path / "twin.wav"
    twin.write_bytes(files[0].read_bytes())
    paths = [*files, twin]
    infos = audio.probe_all(paths)
    hashes = [info.sha256 for info in infos]
    courses = course_shelf.courses_of(paths, hashes, "mono", None)

    near = duplicates.near_copies(paths, hashes, courses, [info.seconds for info in infos], "mono")

    assert near == [(0, 4), (0, 5), (4, 5)]


def test_only_clips_that_may_be_copies_have_fingerprints(clips: list[np.ndarray]) -> None:
    waves = [*clips, clips[2][700:]]
    asked: set[int] = set()

    def wave_of(k: int) -> np.ndarray:
        asked.add(k)
        return waves[k]

    found = duplicates.near_duplicates([course(w, RATE) for w in waves], [len(w) / RATE for w in waves], wave_of)

    assert [(i, j) for i, j, _ in found] == [(2, 6)]
    assert asked == {2, 6}
