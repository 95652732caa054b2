from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sertbench import audio, feature_cache
from sertbench.errors import AudioError, ConfigError, StorageError
from sertbench.feature_cache import cache_key, open_store
from sertbench.feature_spec import FeatureSpec, log_mel, log_spectrogram, mfcc
from sertbench.feature_store import FeatureStore, windows
from sertbench.features import extract

SPEC = log_mel(8, n_fft=256, hop_length=100)
SAMPLES = (4000, 1000, 2500, 1999, 2000)  # with windows of 2000 every 500 samples: 5, 1, 2, 1 and 1 items
WINDOW, HOP = 0.125, 0.03125
WHOLE = (None, None)
FIXED = (WINDOW, HOP)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[Path]:
    """Five short recordings; the fourth is digital silence."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.wav" for i in range(len(SAMPLES))]
    for i, (path, samples) in enumerate(zip(paths, SAMPLES, strict=True)):
        noise = rng.standard_normal(samples) * 0.1 * np.linspace(0.01, 1, samples)
        soundfile.write(path, noise if i != 3 else np.zeros(samples), 16_000, subtype="FLOAT")
    return paths


def hashes(paths: list[Path]) -> list[str]:
    return [f"hash of {path.name}" for path in paths]


def build(paths, cache, cut=FIXED, spec=SPEC, on_progress=None) -> FeatureStore:
    return open_store(paths, hashes(paths), spec, *cut, "mono", cache, on_progress)


def features(path: Path, start: int = 0, length: int | None = None, spec: FeatureSpec = SPEC) -> torch.Tensor:
    """(F, T) of one window, zero-padded, computed alone."""
    wave = audio.load(path)
    part = wave[start : len(wave) if length is None else start + length]
    return extract(spec, torch.from_numpy(np.pad(part, (0, (length or len(part)) - len(part))))[None])[0]


def folders(cache: Path) -> list[str]:
    return sorted(p.name for p in (cache / "features").iterdir())


# --- windows


@pytest.mark.parametrize(
    ("samples", "count"),
    [(1, 1), (28_799, 1), (28_800, 1), (31_999, 1), (32_000, 2), (35_199, 2), (35_200, 3), (160_000, 42)],
)
def test_glam_windows(samples, count):
    starts = windows(samples, 1.8, 0.2)

    assert starts.tolist() == [3200 * i for i in range(count)]


def test_no_window_reaches_past_its_utterance_and_no_further_one_would_fit():
    for samples in range(2000, 4100, 7):
        starts = windows(samples, WINDOW, HOP)
        assert starts[-1] + 2000 <= samples < starts[-1] + 500 + 2000


def test_lengths_are_rounded_to_samples():
    # in floating point 1.8 - 1.6 is just under 0.2, and truncated it would be 3199 samples
    assert windows(40_000, 1.8, 1.8 - 1.6)[1] == 3200


def test_a_whole_utterance_is_one_window():
    assert windows(123_456, None, None).tolist() == [0]


@pytest.mark.parametrize(("window", "hop"), [(1.8, None), (1.8, 0.0), (0.0, 0.2), (-1.0, 0.2), (1.8, -0.2)])
def test_windows_that_cannot_be_are_refused(window, hop):
    with pytest.raises(ConfigError, match="must be positive"):
        windows(28_800, window, hop)


# --- what a store holds


def test_items_are_the_windows_of_each_utterance_in_order(corpus, tmp_path):
    store = build(corpus, tmp_path)

    assert store.input_shape == (8, 21)
    assert store.first.tolist() == [0, 5, 6, 8, 9, 10]
    assert np.diff(store.first).tolist() == [len(windows(n, *FIXED)) for n in SAMPLES]
    x, lengths = store.batch(np.arange(10))
    starts = [(i, start) for i, n in enumerate(SAMPLES) for start in windows(n, *FIXED)]
    expected = torch.stack([features(corpus[i], int(start), 2000) for i, start in starts])
    torch.testing.assert_close(x, expected)
    assert x.dtype == torch.float32
    assert lengths.dtype == torch.int64


def test_a_short_turn_is_padded_and_its_valid_frames_are_its_own(corpus, tmp_path):
    store = build(corpus, tmp_path)

    x, lengths = store.batch(np.array([5, 8, 0]))

    assert lengths.tolist() == [SPEC.frames(1000), SPEC.frames(1999), 21]
    torch.testing.assert_close(x[0], features(corpus[1], 0, 2000))


def test_whole_utterances_are_padded_with_zeros_to_the_longest_of_the_batch(corpus, tmp_path):
    store = build(corpus, tmp_path, WHOLE)

    x, lengths = store.batch(np.array([2, 1, 4]))

    assert store.input_shape == (8, 0)
    assert store.first.tolist() == [0, 1, 2, 3, 4, 5]
    assert lengths.tolist() == [26, 11, 21]
    assert x.shape == (3, 8, 26)
    for row, i, n in zip(x, (2, 1, 4), lengths, strict=True):
        torch.testing.assert_close(row[:, :n], features(corpus[i]))
        assert (row[:, n:] == 0).all()


@pytest.mark.parametrize("cut", [FIXED, WHOLE], ids=["fixed", "whole"])
def test_a_batch_comes_in_the_order_asked_for_and_may_be_changed_by_its_owner(corpus, tmp_path, cut):
    store = build(corpus, tmp_path, cut)
    before = store.batch(np.array([0]))[0].clone()

    x, _ = store.batch(np.array([3, 0, 3]))
    x += 1.0

    torch.testing.assert_close(x[0], x[2])
    torch.testing.assert_close(store.batch(np.array([0]))[0], before)


def test_items_of_utterances_know_their_owner(corpus, tmp_path):
    store = build(corpus, tmp_path)

    items, owner = store.items_of(np.array([2, 0, 3]))

    assert items.tolist() == [6, 7, 0, 1, 2, 3, 4, 8]
    assert owner.tolist() == [0, 0, 1, 1, 1, 1, 1, 2]
    nothing, nobody = store.items_of(np.array([], dtype=np.int64))
    assert nothing.shape == nobody.shape == (0,)


@pytest.mark.parametrize("spec", [mfcc(5, n_mels=16), log_spectrogram(n_bins=20)], ids=["mfcc", "log_spectrogram"])
@pytest.mark.parametrize("cut", [FIXED, WHOLE], ids=["fixed", "whole"])
def test_every_kind_can_be_stored(corpus, tmp_path, spec, cut):
    store = build(corpus, tmp_path, cut, spec)

    x, _ = store.batch(np.array([0]))

    torch.testing.assert_close(x[0], features(corpus[0], 0, 2000 if cut == FIXED else None, spec))


# --- statistics


@pytest.mark.parametrize("cut", [FIXED, WHOLE], ids=["fixed", "whole"])
def test_moments_are_over_the_valid_frames_of_the_items(corpus, tmp_path, cut):
    store = build(corpus, tmp_path, cut)
    items = np.array([1, 0, 4])

    mean, std = store.moments(items)

    x, lengths = store.batch(items)
    valid = np.concatenate([row[:, :n] for row, n in zip(x.numpy(), lengths, strict=True)], axis=1).astype(np.float64)
    assert mean.shape == std.shape == (8, 1)
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean[:, 0], valid.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(std[:, 0], valid.std(axis=1), rtol=1e-6)


def test_padding_is_in_no_moment(corpus, tmp_path):
    store = build(corpus, tmp_path)
    short = np.array([5])
    x, lengths = store.batch(short)
    assert lengths[0] < x.shape[2]

    mean, _ = store.moments(short)

    np.testing.assert_allclose(mean[:, 0], x[0, :, : lengths[0]].double().mean(dim=1), rtol=1e-6)


def test_a_constant_row_can_be_divided_by_its_deviation(corpus, tmp_path):
    store = build(corpus, tmp_path)

    mean, std = store.moments(np.array([8]))  # digital silence

    np.testing.assert_allclose(mean, -100.0)
    np.testing.assert_allclose(std, 1e-5, rtol=1e-6)


@pytest.mark.parametrize("cut", [FIXED, WHOLE], ids=["fixed", "whole"])
def test_functionals_are_mean_and_deviation_over_each_utterance(corpus, tmp_path, cut):
    store = build(corpus, tmp_path, cut)

    table = store.functionals(np.array([4, 0, 3]))

    assert table.shape == (3, 16)
    assert table.dtype == np.float32
    for row, utterance in zip(table, (4, 0, 3), strict=True):
        x, lengths = store.batch(store.items_of(np.array([utterance]))[0])
        valid = np.concatenate([v[:, :n] for v, n in zip(x.double().numpy(), lengths, strict=True)], axis=1)
        np.testing.assert_allclose(row, np.concatenate([valid.mean(axis=1), valid.std(axis=1)]), rtol=1e-5, atol=1e-6)


# --- the cache


@pytest.mark.parametrize("cut", [FIXED, WHOLE], ids=["fixed", "whole"])
def test_an_open_store_is_not_computed_again_nor_is_audio_looked_for(corpus, tmp_path, cut):
    before = build(corpus, tmp_path, cut).batch(np.arange(5))[0]
    gone = [path.with_name("gone") / path.name for path in corpus]

    again = build(gone, tmp_path, cut, on_progress=pytest.fail)

    torch.testing.assert_close(again.batch(np.arange(5))[0], before)


SETTINGS = {
    "audio_sha256": ["a", "b"],
    "spec": mfcc(),
    "window": 1.8,
    "hop": 0.2,
    "channel": "mono",
}
OTHERS = {
    "audio_sha256": [["a"], ["b", "a"], ["a", "c"], ["ab"]],
    "spec": [
        log_mel(),
        mfcc(n_fft=1024),
        mfcc(hop_length=256),
        mfcc(n_mels=64),
        mfcc(13),
        mfcc(n_bins=9),
        mfcc(top_db=None),
    ],
    "window": [2.0, None],
    "hop": [0.1, None],
    "channel": ["left"],
}


@pytest.mark.parametrize(("setting", "value"), [(k, v) for k, values in OTHERS.items() for v in values], ids=str)
def test_another_setting_is_another_key(setting, value):
    assert cache_key(**{**SETTINGS, setting: value}) != cache_key(**SETTINGS)


@pytest.mark.parametrize(
    "attribute",
    ["FEATURES_VERSION", "soxr.__version__", "soundfile.__libsndfile_version__"],
)
def test_another_decoder_resampler_or_version_is_another_key(monkeypatch, attribute):
    before = cache_key(**SETTINGS)

    monkeypatch.setattr(f"sertbench.feature_cache.{attribute}", "another")

    assert cache_key(**SETTINGS) != before


def test_equal_settings_are_the_same_key():
    assert cache_key(**SETTINGS) == cache_key(**{**SETTINGS, "spec": mfcc(26)})


def cut_short(folder: Path) -> None:
    values = folder / "values.f32"
    values.write_bytes(values.read_bytes()[:-4])


def cut_sums_short(folder: Path) -> None:
    (folder / "sums.f64").write_bytes(b"")


def no_meta(folder: Path) -> None:
    (folder / "meta.json").unlink()


def half_meta(folder: Path) -> None:
    (folder / "meta.json").write_text('{"version": 1, "inp')


def other_version(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "version": -1}))


def no_index(folder: Path) -> None:
    (folder / "frames.npy").unlink()


def empty_index(folder: Path) -> None:
    (folder / "first.npy").write_bytes(b"")


def index_of_nothing(folder: Path) -> None:
    np.save(folder / "first.npy", np.zeros(0, np.int64))


@pytest.mark.parametrize(
    "damage",
    [
        cut_short,
        cut_sums_short,
        no_meta,
        half_meta,
        other_version,
        no_index,
        empty_index,
        index_of_nothing,
    ],
)
def test_a_broken_folder_is_computed_anew(corpus, tmp_path, damage):
    store = build(corpus, tmp_path)
    expected = store.batch(np.arange(10))[0]
    damage(store.folder)
    with pytest.raises(StorageError, match="Run again"):
        FeatureStore.open(store.folder)

    rebuilt = build(corpus, tmp_path)

    assert torch.equal(rebuilt.batch(np.arange(10))[0], expected)
    assert folders(tmp_path) == [store.folder.name]


def test_an_interrupted_build_leaves_nothing_behind(corpus, tmp_path):
    def interrupt(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        build(corpus, tmp_path, on_progress=interrupt)

    assert folders(tmp_path) == []
    assert torch.get_num_threads() == threads
    assert len(build(corpus, tmp_path).frames) == 10


def test_the_draft_of_a_killed_process_is_removed_after_a_day(corpus, tmp_path):
    store = build(corpus, tmp_path)
    abandoned, running = (store.folder.with_name(f".{store.folder.name}-{end}") for end in "ab")
    abandoned.mkdir()
    running.mkdir()
    os.utime(abandoned, (0, 0))
    no_meta(store.folder)

    build(corpus, tmp_path)

    assert folders(tmp_path) == sorted([running.name, store.folder.name])


def test_of_two_processes_that_compute_the_same_the_later_takes_what_is_there(corpus, tmp_path):
    stores = []

    def overtake(done: int) -> None:
        if done == len(corpus):
            stores.append(build(corpus, tmp_path))
            stores.append((stores[0].folder / "values.f32").stat().st_ino)

    late = build(corpus, tmp_path, on_progress=overtake)

    assert (late.folder / "values.f32").stat().st_ino == stores[1]
    assert folders(tmp_path) == [late.folder.name]
    assert torch.equal(late.batch(np.arange(10))[0], stores[0].batch(np.arange(10))[0])


def test_progress_counts_utterances(corpus, tmp_path):
    done: list[int] = []

    build(corpus, tmp_path, on_progress=done.append)

    assert done == [1, 2, 3, 4, 5]


def test_the_number_of_threads_is_left_as_it_was(corpus, tmp_path):
    before = torch.get_num_threads()
    seen: list[int] = []
    torch.set_num_threads(3)
    try:
        build(corpus, tmp_path, on_progress=lambda _: seen.append(torch.get_num_threads()))
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)

    assert after == 3
    assert set(seen) == {1}


# --- errors


def test_audio_that_cannot_be_used_is_named_and_leaves_nothing_behind(corpus, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_text("no audio")

    with pytest.raises(AudioError, match=r"broken\.wav"):
        build([*corpus, broken], tmp_path)

    assert folders(tmp_path) == []


def test_a_cache_that_cannot_be_made_is_named_with_what_to_do(corpus, tmp_path):
    cache = tmp_path / "cache"
    cache.write_text("a file is here")

    with pytest.raises(StorageError, match=r"SERTBENCH_CACHE") as caught:
        build(corpus, cache)

    assert str(cache / "features") in str(caught.value)


def test_a_full_disk_is_said_and_leaves_nothing_behind(corpus, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(feature_cache.np, "save", full)

    with pytest.raises(StorageError, match=r"No space left on device.*SERTBENCH_CACHE"):
        build(corpus, tmp_path)

    assert folders(tmp_path) == []


# --- between processes


@pytest.mark.parametrize("cut", [FIXED, WHOLE], ids=["fixed", "whole"])
def test_a_store_travels_as_its_folder(corpus, tmp_path, cut):
    store = build(corpus, tmp_path, cut)
    x, lengths = store.batch(np.arange(5))

    travelling = pickle.dumps(store)
    arrived = pickle.loads(travelling)

    assert len(travelling) < 1000
    assert arrived.input_shape == store.input_shape
    assert torch.equal(arrived.batch(np.arange(5))[0], x)
    assert torch.equal(arrived.batch(np.arange(5))[1], lengths)


def test_a_store_that_was_removed_says_so(corpus, tmp_path):
    store = build(corpus, tmp_path)
    travelling = pickle.dumps(store)
    (store.folder / "values.f32").unlink()

    with pytest.raises(StorageError, match="removed"):
        store.batch(np.array([0]))
    with pytest.raises(StorageError, match="no complete features"):
        pickle.loads(travelling)
