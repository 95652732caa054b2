"""A fit that goes on from its checkpoint ends in the weights of the fit that was never stopped."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sertbench import checkpoints
from sertbench.checkpoints import Checkpoint
from sertbench.compute import Compute
from sertbench.errors import StorageError, TrainingError
from sertbench.feature_cache import open_store
from sertbench.feature_spec import log_mel
from sertbench.fits import run_fit
from sertbench.tasks import FitTask

# Dropout, batch normalisation, mixup and an attribute that counts epochs: each is lost unless the checkpoint holds it.
NET = '''
from torch import nn

from sertbench.model import NeuralModel, Recipe


class Net(NeuralModel):
    """Linear on the mean, dropping less with every epoch."""

    recipe = Recipe(window=0.2, hop=0.1, epochs=7, patience=9, batch_size=4, learning_rate=0.05, mixup=0.2{more})

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        rows = input_shape[0]
        self.layers = nn.Sequential(nn.BatchNorm1d(rows), nn.Dropout(0.4), nn.Linear(rows, n_classes))
        self.seen = 0

    def train(self, mode=True):
        self.seen += mode
        return super().train(mode)

    def forward(self, x):
        return self.layers(x.mean(2)) / (1 + self.seen)
'''
KINDS = {
    "adam": "",
    "sgd, exponential": ', optimiser="sgd", schedule="exponential"',
    "adamw, cosine": ', optimiser="adamw", schedule="cosine", weight_decay=0.1',
    "step, weighted": ', schedule="step", step_size=2, class_weights=True, clip_norm=0.5, label_smoothing=0.1',
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    place = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    paths = [place / f"{i}.wav" for i in range(10)]
    for i, path in enumerate(paths):
        soundfile.write(path, (0.05 + 0.2 * (i % 2)) * rng.standard_normal(3000 + 900 * i), 16000)
    return open_store(paths, [p.stem for p in paths], log_mel(6, n_fft=256, hop_length=256), 0.2, 0.1, "mono", place)


@pytest.fixture
def task(store, tmp_path):
    def make(text: str = NET.format(more=""), **changes) -> FitTask:
        plugin = tmp_path / "net.py"
        plugin.write_text(text)
        train, val = np.arange(6), np.arange(6, 10)
        plain = FitTask(
            str(plugin), {}, 0, "m", "s", "f", 2, train, train % 2, val, val % 2, (), np.ones(10), store,
            Compute("cpu", "fp32"), tmp_path / "fits",
        )  # fmt: skip
        return replace(plain, **changes)

    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    yield make
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)


class Killed(BaseException):
    """As hard as an interruption can be in a test."""


def kill_after(epoch: int):
    def report(event):
        if event.epoch == epoch:
            raise Killed

    return report


def silent(event) -> None:
    """No one listens."""


def weights(task: FitTask):
    return torch.load(task.folder / task.identity() / "weights.pt", weights_only=True)


def timeless(record):
    history = tuple(replace(event, seconds=0.0) for event in record.history)
    return replace(record, seconds=0.0, history=history, note="")


def test_the_work_of_all_processes_that_were_at_a_fit_is_counted(task, monkeypatch):
    clock, heard = [0.0], set()
    monkeypatch.setattr(checkpoints, "worked", lambda _: clock[0])

    def work(until: int):
        def report(event):
            if event.epoch not in heard:  # epochs of a checkpoint are told again, and no work
                heard.add(event.epoch)
                clock[0] += 10.0
            if event.epoch == until:
                raise Killed

        return report

    for epoch in (2, 5):
        with pytest.raises(Killed):
            run_fit(task(), work(epoch))
        clock[0] += 1000.0  # between two processes nobody works
    record = run_fit(task(), work(0))

    assert 10.0 * (len(record.history) - 2) <= record.seconds <= 10.0 * len(record.history)


def test_pauses_are_no_work_on_a_cpu(task):
    started = time.perf_counter()
    record = run_fit(task(), lambda _: time.sleep(0.1))

    assert 0 < record.seconds < time.perf_counter() - started - 0.09 * len(record.history)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_fit_that_was_killed_twice_ends_in_the_same_weights(task, tmp_path, kind):
    plain, stopped = task(NET.format(more=kind), folder=tmp_path / "plain"), task(NET.format(more=kind))
    whole = run_fit(plain, silent)
    for epoch in (2, 5):
        with pytest.raises(Killed):
            run_fit(stopped, kill_after(epoch))
    seen = []

    resumed = run_fit(stopped, seen.append)

    assert resumed.note == "went on after epoch 5"
    assert timeless(resumed) == timeless(whole)
    assert [event.epoch for event in seen] == list(range(1, 8))
    assert all(torch.equal(values, weights(plain)[name]) for name, values in weights(stopped).items())
    assert [path.name for path in stopped.folder.iterdir()] == [whole.identity]


def test_a_refit_goes_on_from_its_checkpoint_too(task, tmp_path, monkeypatch):
    plain, stopped = task(folder=tmp_path / "plain", refit_epochs=4), task(refit_epochs=4)
    run_fit(plain, silent)
    saved = []
    save = Checkpoint.save

    def save_and_die(self, content):
        save(self, content)
        saved.append(content["epoch"])
        if content["epoch"] == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_die)
        with pytest.raises(Killed):
            run_fit(stopped, silent)

    assert saved == [1, 2, 3]
    assert run_fit(stopped, silent).note == "went on after epoch 3"
    assert all(torch.equal(values, weights(plain)[name]) for name, values in weights(stopped).items())


def test_a_trial_that_goes_on_is_pruned_where_it_would_have_been(task, tmp_path):
    whole = run_fit(task(folder=tmp_path / "plain", stop_below=(0.0, 0.0, 1.1)), silent)
    with pytest.raises(Killed):
        run_fit(task(), kill_after(5))  # as a final fit, without thresholds

    resumed = run_fit(task(stop_below=(0.0, 0.0, 1.1)), silent)

    assert (resumed.pruned, len(resumed.history)) == (True, 3)
    assert timeless(resumed) == timeless(whole)


@pytest.mark.parametrize(
    "damage", [b"", b"0" * 64, b"not a checkpoint" * 99, None], ids=["empty", "hash", "text", "bit"]
)
def test_a_damaged_checkpoint_is_left_aside(task, tmp_path, damage):
    plain = task(folder=tmp_path / "plain")
    whole = run_fit(plain, silent)
    with pytest.raises(Killed):
        run_fit(task(), kill_after(3))
    (path,) = task().folder.glob(".*.checkpoint")
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(bytes(content) if damage is None else damage)

    again = run_fit(task(), silent)

    assert "its checkpoint was damaged" in again.note
    assert timeless(again) == timeless(whole)
    assert all(torch.equal(values, weights(plain)[name]) for name, values in weights(task()).items())


def test_a_disk_too_full_for_a_checkpoint_does_not_stop_the_fit(task, monkeypatch):
    plain = checkpoints.files.write

    def full(path: Path, save):
        if path.suffix == ".checkpoint":
            raise StorageError("no space left")
        plain(path, save)

    monkeypatch.setattr(checkpoints.files, "write", full)
    assert len(run_fit(task(), silent).history) == 7


def test_short_fits_write_no_checkpoint(task, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 30.0)
    with pytest.raises(Killed):
        run_fit(task(), kill_after(3))
    assert not task().folder.exists()


# --- memory


def greedy(limit: int) -> str:
    """A network for which memory runs out with more than `limit` items at a time."""
    return (
        NET.format(more="")
        .replace("nn.BatchNorm1d(rows), nn.Dropout(0.4), ", "")
        .replace(
            "        return self.layers",
            f"        if self.training and len(x) > {limit}:\n"
            "            raise MemoryError('no more')\n"
            "        return self.layers",
        )
    )


def test_when_memory_runs_out_half_the_batch_at_a_time_gives_the_same_training(task, tmp_path):
    """Without dropout and batch normalisation only rounding differs."""
    whole = run_fit(task(greedy(99), folder=tmp_path / "plain", choice={"mixup": 0.0}), silent)
    expected = weights(task(greedy(99), folder=tmp_path / "plain", choice={"mixup": 0.0}))

    cut = run_fit(task(greedy(2), choice={"mixup": 0.0}), silent)

    assert (whole.batch_parts, cut.batch_parts) == (1, 2)
    assert "memory ran out: batches were cut into 2 parts" in cut.note
    found = weights(task(greedy(2), choice={"mixup": 0.0}))
    assert all(torch.allclose(values, expected[name], atol=1e-4) for name, values in found.items())


def test_a_model_that_never_fits_into_memory_is_said_in_words(task):
    with pytest.raises(TrainingError, match="MemoryError: no more"):
        run_fit(task(greedy(0)), silent)
