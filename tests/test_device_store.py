"""Features on the device are those of the store, batch by batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sertbench import device_store
from sertbench.compute import Compute
from sertbench.device_store import DeviceStore, on_device
from sertbench.errors import SealError
from sertbench.feature_cache import open_store
from sertbench.feature_spec import log_mel
from sertbench.feature_store import FeatureStore
from sertbench.sealed import FeatureView

CPU = Compute("cpu", "fp32")


@pytest.fixture(scope="module", params=[(0.15, 0.05), (None, None)], ids=["windows", "whole"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    place = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    paths = [place / f"{i}.wav" for i in range(6)]
    for i, path in enumerate(paths):
        soundfile.write(path, 0.1 * rng.standard_normal(1500 + 700 * i), 16000)
    spec = log_mel(5, n_fft=256, hop_length=256)
    return open_store(paths, [path.stem for path in paths], spec, *request.param, "mono", place / "cache")


def there(store: FeatureStore) -> DeviceStore:
    return DeviceStore(store, CPU, torch.from_numpy(np.fromfile(store.folder / "values.f32", np.float32)))


def test_batches_are_those_of_the_store(store: FeatureStore) -> None:
    rng = np.random.default_rng(1)
    for size in (1, 2, 5, 5):
        items = rng.permutation(int(store.first[-1]))[:size]
        for one, two in zip(there(store).batch(items), store.batch(items), strict=True):
            assert (one.dtype, one.shape) == (two.dtype, two.shape)
            assert torch.equal(one, two)
    for one, two in zip(there(store).moments(items), store.moments(items), strict=True):
        assert np.array_equal(one, two)


def test_the_test_part_stays_sealed(store: FeatureStore) -> None:
    view = FeatureView(store, np.arange(3), there(store))
    items, _ = store.items_of(np.arange(3))
    assert torch.equal(view.batch(items)[0], store.batch(items)[0])
    with pytest.raises(SealError):
        view.batch(items + 1)


def test_a_cpu_reads_the_store_itself(store: FeatureStore) -> None:
    assert on_device(store, CPU) is store


def test_features_that_are_too_large_for_the_gpu_stay_here(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (store.folder / "values.f32").stat().st_size
    gpu = Compute("cuda", "fp32")
    device_store.sent.cache_clear()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3 * size, 9 * size))
    assert on_device(store, gpu) is store
    device_store.sent.cache_clear()


def test_features_are_sent_once_for_all_fits(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (store.folder / "values.f32").stat().st_size
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (5 * size, 9 * size))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    device_store.sent.cache_clear()
    first, second = (device_store.sent(Path(store.folder), "cpu") for _ in range(2))
    assert first is second
    assert first is not None
    assert first.numel() * 4 == size
    device_store.sent.cache_clear()
