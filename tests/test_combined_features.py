"""Derivatives and stacked features: librosa's values, whole rows, and nothing changed for plain features."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import librosa
import numpy as np
import pytest
import torch

from sertbench import features, testing_recipes
from sertbench.feature_cache import cache_key
from sertbench.feature_spec import CombinedSpec, FeatureSpec, log_mel, log_spectrogram, mfcc, stacked, with_deltas
from sertbench.model import Recipe

PLAIN = [log_mel(40, n_fft=400), mfcc(13), log_spectrogram(n_bins=20)]


def waves(count: int, seconds: float) -> torch.Tensor:
    n = round(16_000 * seconds)
    noise = np.random.default_rng(0).standard_normal((count, n)) * np.sin(np.arange(n) / 2000) ** 2
    return torch.from_numpy(0.1 * noise.astype(np.float32))


@pytest.mark.parametrize("spec", PLAIN, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("width", [3, 5, 9])
def test_deltas_are_librosas(spec: FeatureSpec, width: int) -> None:
    rows = features.extract(with_deltas(spec, width=width), waves(2, 0.5)).numpy()
    static = features.extract(spec, waves(2, 0.5)).numpy()
    expected = [
        static,
        *(librosa.feature.delta(static, width=width, order=order) for order in (1, 2)),
    ]
    np.testing.assert_allclose(rows, np.concatenate(expected, 1), rtol=1e-5, atol=1e-5)


def test_the_default_width_is_librosas() -> None:
    static = features.extract(PLAIN[0], waves(1, 0.3))
    for order in (1, 2):
        delta = librosa.feature.delta(static.numpy(), order=order)
        np.testing.assert_allclose(features.derivative(static, order), delta, rtol=1e-6, atol=1e-6)


def test_a_delta_is_the_regression_slope_of_the_speech_textbooks() -> None:
    x = torch.randn(3, 40, generator=torch.Generator().manual_seed(0)).double()
    slope = sum(n * (x[:, 2 + n : 38 + n] - x[:, 2 - n : 38 - n]) for n in (1, 2)) / (2 * (1 + 4))
    torch.testing.assert_close(features.derivative(x, 1, width=5)[:, 2:-2], slope)


@pytest.mark.parametrize("samples", [1, 100, 800])
def test_fewer_frames_than_the_fit_needs_give_finite_rows(samples: int) -> None:
    spec = with_deltas(log_mel(40))
    rows = features.extract(spec, waves(1, 1.0)[:, :samples])
    assert rows.shape == (1, 120, spec.frames(samples))
    assert rows.isfinite().all()
    if spec.frames(samples) == 1:
        assert rows[:, 40:].abs().max() < 1e-4


def test_stacked_rows_are_those_of_each_feature() -> None:
    parts = (log_mel(64, 256, 128), log_mel(128, 512, 128), with_deltas(mfcc(13, n_fft=400, hop_length=128)))
    spec = stacked(*parts)
    rows = features.extract(spec, waves(3, 0.4))
    assert rows.shape == (3, spec.rows, spec.frames(6400)) == (3, 64 + 128 + 39, 51)
    assert torch.equal(rows, torch.cat([features.extract(part, waves(3, 0.4)) for part in parts], 1))


def test_a_stack_that_begins_with_a_stack_keeps_all_rows_in_order() -> None:
    a, b, c = with_deltas(mfcc(13), 1), mfcc(20), log_mel(30, 2048, 512)
    assert stacked(stacked(a, b), c) == stacked(a, b, c)
    assert features.extract(stacked(a, b, c), waves(1, 0.4)).shape[1] == 26 + 20 + 30


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        (with_deltas(mfcc(), orders=3), "orders"),
        (with_deltas(mfcc(), width=4), "odd"),
        (with_deltas(mfcc(), width=1), "odd"),
        (stacked(mfcc(), log_mel(64)), "hop_length"),
        (stacked(mfcc(), mfcc(200)), "n_mfcc"),
        (stacked(mfcc(), "log_mel"), "feature_spec"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_said_in_words(spec: CombinedSpec, word: str) -> None:
    faults = list(testing_recipes.feature_faults(spec))
    assert len(faults) == 1
    assert word in faults[0]
    assert not list(testing_recipes.feature_faults(with_deltas(mfcc())))


def test_plain_features_keep_their_place_in_the_cache() -> None:
    """The key as it was before derivatives were there: features that lie in a cache must be found again."""
    settings = {"kind", "n_fft", "hop_length", "n_mels", "n_mfcc", "n_bins", "top_db"}
    for spec in PLAIN:
        assert set(asdict(spec)) == settings
        assert type(with_deltas(spec).alone) is FeatureSpec
        assert with_deltas(spec).alone == spec


def test_each_combination_has_a_place_of_its_own() -> None:
    base = log_mel(40)
    specs = [base, *(with_deltas(base, orders, width) for orders in (0, 1, 2) for width in (5, 9)), stacked(base, base)]
    specs += [stacked(base, mfcc(hop_length=160)), stacked(mfcc(hop_length=160), base), replace(specs[1], top_db=None)]
    specs += [stacked(base, with_deltas(base, 1)), stacked(with_deltas(base, 1), base)]
    assert len({cache_key(["a"], spec, None, None, "mean") for spec in specs}) == len(specs)
    assert len(set(specs)) == len(specs)
    json.dumps(asdict(Recipe(features=specs[-1])))
