"""Features of one row per utterance: kept per file, taken up again, under the extractor's version and licence."""

from __future__ import annotations

import importlib.util
import sys
import types
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from threadpoolctl import threadpool_limits

from sertbench import feature_spec, opensmile_features, utterance_features
from sertbench.errors import AudioError, ConfigError
from sertbench.feature_cache import cache_key, open_store
from sertbench.feature_spec import COLUMNS, FUNCTIONALS, UtteranceSpec, log_mel, parse, width
from sertbench.feature_store import FeatureStore

needs_opensmile = pytest.mark.skipif(not importlib.util.find_spec("opensmile"), reason="openSMILE is not installed")
SPEC = UtteranceSpec("functionals")


@pytest.fixture
def corpus(tmp_path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.wav" for i in range(4)]
    for i, path in enumerate(paths):
        soundfile.write(path, 0.1 * rng.standard_normal(2000 + 500 * i), 16_000, subtype="FLOAT")
    return paths


@pytest.fixture
def counted(monkeypatch) -> list[np.ndarray]:
    """Our extractor replaced by a cheap one that notes each call; values are those of the waveform's length."""
    waves: list[np.ndarray] = []

    def compute(spec, wave):
        waves.append(wave)
        return np.full(spec.rows, len(wave), np.float32)

    monkeypatch.setattr(utterance_features, "compute", compute)
    return waves


def build(paths: list[Path], cache: Path, spec: UtteranceSpec = SPEC) -> FeatureStore:
    return open_store(paths, [f"hash-of-{p.stem}" for p in paths], spec, None, None, "mono", cache)


# --- what is asked for


@pytest.mark.parametrize("kind", FUNCTIONALS)
def test_each_kind_can_be_asked_for(kind):
    spec = parse(kind)

    assert (spec.kind, spec.rows, spec.frames(99_999), width(spec)) == (kind, COLUMNS[kind], 1, COLUMNS[kind])
    assert kind in feature_spec.KINDS


def test_what_nobody_knows_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"'egemap'\. Did you mean 'egemaps'"):
        parse("egemap")


def test_other_features_are_taken_as_mean_and_deviation():
    assert (width(log_mel(8)), width(None)) == (16, 0)


# --- the store


def test_functionals_are_the_values_as_they_are(corpus, tmp_path):
    store = build(corpus, tmp_path)

    table = store.functionals(np.array([2, 0]))

    from sertbench import audio, functionals

    expected = np.stack([functionals.compute(audio.load(corpus[i])) for i in (2, 0)])
    assert store.input_shape == (214, 0)
    assert np.array_equal(table, expected)
    x, lengths = store.batch(np.array([2]))
    assert x.shape == (1, 214, 1)
    assert lengths.tolist() == [1]


def test_a_stopped_extraction_goes_on_where_it_was(corpus, tmp_path, counted):
    def stop(done):
        if done == 2:
            raise KeyboardInterrupt

    hashes = [f"hash-of-{p.stem}" for p in corpus]
    with pytest.raises(KeyboardInterrupt):
        open_store(corpus, hashes, SPEC, None, None, "mono", tmp_path, stop)
    before = len(counted)
    assert before >= 2

    store = build(corpus, tmp_path)

    assert len(counted) == 4, "what was computed before the stop was not computed again"
    assert store.functionals(np.arange(4))[:, 0].tolist() == [2000, 2500, 3000, 3500]


def test_a_subset_takes_what_is_there(corpus, tmp_path, counted):
    build(corpus, tmp_path)

    build(corpus[1:3], tmp_path)

    assert len(counted) == 4


def test_a_damaged_file_of_the_cache_is_computed_again(corpus, tmp_path, counted):
    store = build(corpus, tmp_path)
    (kept,) = (tmp_path / "utterance-features").iterdir()
    (kept / "hash-of-1.npy").write_bytes(b"half")
    (store.folder / "meta.json").unlink()

    again = build(corpus, tmp_path)

    assert len(counted) == 5
    assert again.functionals(np.array([1]))[0, 0] == 2500


def test_another_version_of_the_extractor_is_another_key(monkeypatch):
    before = cache_key(["a"], SPEC, None, None, "mono")
    assert cache_key(["a"], SPEC, None, None, "mono") == before

    monkeypatch.setattr(utterance_features, "FUNCTIONALS_VERSION", utterance_features.FUNCTIONALS_VERSION + 1)

    assert cache_key(["a"], SPEC, None, None, "mono") != before


def test_the_number_of_blas_threads_changes_no_value(corpus, tmp_path):
    values = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            values.append(build(corpus[:2], tmp_path / str(threads)).functionals(np.arange(2)))

    assert np.array_equal(*values)


def test_a_file_that_gives_no_numbers_is_named(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(utterance_features, "compute", lambda spec, _: np.full(spec.rows, np.nan, np.float32))

    with pytest.raises(AudioError, match=r"0\.wav: functionals gives 214 values of 214 that are no numbers"):
        build(corpus[:1], tmp_path)


# --- openSMILE


def test_without_opensmile_the_error_says_what_to_type_and_the_licence(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(opensmile_features.metadata, "version", missing)

    with pytest.raises(ConfigError, match=r"pip install 'sertbench\[opensmile\]'.*no commercial use.*functionals"):
        utterance_features.versions(UtteranceSpec("egemaps"))


def test_only_opensmile_has_a_licence_to_show():
    assert "no commercial use" in utterance_features.licence(UtteranceSpec("compare2016"))
    assert utterance_features.licence(SPEC) == utterance_features.licence(log_mel()) == ""
    assert utterance_features.licence(None) == ""


def test_what_opensmile_is_asked_for(monkeypatch):
    calls = []

    class Smile:
        def __init__(self, feature_set, feature_level):
            calls.append((feature_set, feature_level))

        def __call__(self, wave, rate):
            calls.append((len(wave), rate))
            return np.arange(88.0).reshape(1, 88, 1)

    stub = types.ModuleType("opensmile")
    stub.Smile = Smile
    stub.FeatureSet = types.SimpleNamespace(eGeMAPSv02="the set")
    stub.FeatureLevel = types.SimpleNamespace(Functionals="per utterance")
    monkeypatch.setitem(sys.modules, "opensmile", stub)
    monkeypatch.setattr(opensmile_features.metadata, "version", lambda _: "2.6.0")
    opensmile_features.extractor.cache_clear()
    try:
        values = utterance_features.compute(UtteranceSpec("egemaps"), np.zeros(10, np.float32))
    finally:
        opensmile_features.extractor.cache_clear()

    assert calls == [("the set", "per utterance"), (1600, 16_000)]
    assert values.tolist() == list(range(88))


@needs_opensmile
@pytest.mark.parametrize("kind", ["egemaps", "compare2016"])
def test_opensmile_gives_as_many_values_as_promised_even_for_one_sample(kind):
    wave = (0.1 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
    for part in (wave, wave[:1]):
        values = utterance_features.compute(UtteranceSpec(kind), part)
        assert values.shape == (COLUMNS[kind],)
        assert np.isfinite(values).all()


@needs_opensmile
def test_egemaps_hears_a_pitch():
    t = np.arange(16_000) / 16_000
    wave = sum(0.1 * np.sin(2 * np.pi * 220 * k * t) for k in range(1, 6)).astype(np.float32)

    # the first column of eGeMAPS is the mean F0 in semitones above 27.5 Hz
    assert utterance_features.compute(UtteranceSpec("egemaps"), wave)[0] == pytest.approx(36.0, abs=0.1)
