"""The corpus that sertbench makes itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sertbench.datasets import demo

from sertbench import audio, synthesis
from sertbench.corpus import build_manifest, locate
from sertbench.errors import StorageError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The whole corpus, found as `sertbench run --dataset demo` finds it."""
    return locate("demo", demo.Demo(), None, tmp_path_factory.mktemp("cache"))


def test_adapter_and_synthesis_mean_the_same_corpus():
    assert demo.VOICES == synthesis.SPEAKERS
    assert demo.TEXTS == synthesis.TEXTS
    assert list(demo.LABELS) == list(synthesis.EMOTIONS)


def test_the_corpus_is_complete_and_small(made):
    corpus = demo.Demo()

    built = build_manifest("demo", corpus, made, corpus.label_set(None))

    assert len(built) == 384
    assert len(set(built.audio_sha256)) == 384
    assert min(built.seconds) > 0.6
    assert max(built.seconds) < 2.5
    assert sum(path.stat().st_size for path in made.iterdir()) < 16e6


def test_every_file_is_16_khz_16_bit_mono_and_not_clipped(made):
    for path in sorted(made.iterdir())[::7]:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert 0.01 < np.abs(audio.load(path)).max() < 0.999


def test_an_utterance_is_the_same_alone_and_every_time(made):
    alone = synthesis.speak("m2", "s07", "sad")

    np.testing.assert_array_equal(alone, synthesis.speak("m2", "s07", "sad"))
    np.testing.assert_array_equal(alone, soundfile.read(made / "m2-s07-sad.wav", dtype="int16")[0])


def digest(folder: Path) -> str:
    files = sorted(folder.iterdir())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


def test_what_is_missing_is_made_again_and_nothing_else_is_touched(made):
    before, stamp = digest(made), (made / "f1-s01-sad.wav").stat().st_mtime_ns
    (made / "m4-s12-angry.wav").unlink()

    synthesis.ensure(made)

    assert digest(made) == before
    assert (made / "f1-s01-sad.wav").stat().st_mtime_ns == stamp


def test_an_interruption_leaves_no_half_of_a_file(tmp_path, monkeypatch):
    truth = synthesis.speak

    def interrupted(speaker: str, text: str, emotion: str) -> np.ndarray:
        if (speaker, text, emotion) == ("f1", "s01", "sad"):
            raise KeyboardInterrupt
        return truth(speaker, text, emotion)

    monkeypatch.setattr(synthesis, "speak", interrupted)

    with pytest.raises(KeyboardInterrupt):
        synthesis.ensure(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["f1-s01-happy.wav", "f1-s01-neutral.wav"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").touch()

    with pytest.raises(StorageError, match=r"demo-1: cannot be written"):
        demo.Demo().prepare(tmp_path / "cache")


def test_emotions_can_be_told_apart_across_voices_but_not_perfectly(made):
    """Nearest class mean on loudness, spread of loudness and share of high frequencies, leaving voices out."""

    def functionals(path: Path) -> list[float]:
        samples = audio.load(path)
        frames = np.log(np.square(samples[: samples.size // 400 * 400]).reshape(-1, 400).mean(axis=1) + 1e-7)
        slope = np.log(np.square(np.diff(samples)).mean() / np.square(samples).mean())
        return [frames.mean(), frames.std(), slope, samples.size / 16_000]

    utterances = sorted(demo.Demo().utterances(made), key=lambda u: u.id)
    x = np.array([functionals(u.path) for u in utterances])
    y = np.array([list(demo.LABELS).index(u.label) for u in utterances])
    fold = np.array([u.speaker[1] for u in utterances])
    right = np.zeros(len(y), dtype=bool)
    for tested in "1234":
        train, test = fold != tested, fold == tested
        z = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
        means = np.stack([z[train & (y == c)].mean(axis=0) for c in range(4)])
        right[test] = np.square(z[test, None] - means).sum(axis=2).argmin(axis=1) == y[test]

    recalls = [right[y == c].mean() for c in range(4)]
    assert 0.45 < min(recalls) < 0.9  # chance: 0.25
