"""What the last layer is given: recorded in the one reading of the test part, without changing a probability."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from sertbench import activations, files, plugins, verify
from sertbench.activations import Recorder, recording
from sertbench.model import NeuralModel


class Net(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, width), nn.Linear(width, 2)

    def forward(self, x):
        return self.last(self.first(x))


def record(model: nn.Module, x: torch.Tensor, owner: np.ndarray, n: int, batch: int = 2) -> np.ndarray | None:
    with recording(model, owner, n) as recorder, torch.no_grad():
        for start in range(0, len(x), batch):
            model(x[start : start + batch])
    return recorder.mean()


def test_windows_are_averaged_per_utterance_whatever_the_batches() -> None:
    model, x, owner = Net(), torch.randn(7, 3), np.array([0, 0, 1, 2, 2, 2, 1])
    given = model.first(x).detach().numpy()
    wanted = np.stack([given[owner == k].mean(axis=0) for k in range(3)])
    for batch in (1, 2, 3, 7):
        np.testing.assert_allclose(record(model, x, owner, 3, batch), wanted, atol=1e-6)


def test_recording_changes_no_output_and_leaves_nothing_behind() -> None:
    model, x = Net(600), torch.randn(5, 3)
    state, before = torch.get_rng_state(), model(x)
    with recording(model, np.arange(5), 5):
        inside = model(x)
    assert torch.equal(before, inside)
    assert torch.equal(state, torch.get_rng_state())
    assert not model.last._forward_pre_hooks


def test_a_wide_layer_is_projected_and_distances_stay_about_right() -> None:
    model, x = Net(4000), torch.randn(40, 3)
    found = record(model, x, np.arange(40), 40)
    assert found is not None
    assert found.shape == (40, activations.PROJECTED)
    given = model.first(x).detach().numpy()
    true, near = (np.linalg.norm(v[:20] - v[20:], axis=1) for v in (given, found))
    assert np.abs(near / true - 1).max() < 0.3


@pytest.mark.parametrize("name", ["glam", "ssl_glam", "multiscale", "mhcnn", "lstm"])
def test_the_layer_is_the_one_that_gives_the_logits_whichever_is_made_last(name: str) -> None:
    cls = plugins.load_model(name).cls
    assert issubclass(cls, NeuralModel)
    whole = cls.recipe.window is None
    model = cls((26, 0 if whole else 24), 3).eval()
    x, seen = torch.randn(4, 26, 24), []
    model.classify.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with recording(model, np.arange(4), 4) as recorder, torch.no_grad():
        model(x, torch.full((4,), 24)) if whole else model(x)
    found = recorder.mean()
    assert found is not None
    given = seen[0] if seen[0].shape[1] <= activations.PROJECTED else seen[0] @ recorder._matrix(seen[0].shape[1])
    np.testing.assert_allclose(found, given.numpy(), atol=1e-5)


class Twice(Net):
    def forward(self, x):
        return self.last(self.first(x)) + self.last(self.first(x))


class Sequences(Net):
    def forward(self, x):
        return self.last(self.first(x)[:, None]).squeeze(1)


@pytest.mark.parametrize(
    "model", [Twice(), Sequences(), nn.ReLU()], ids=["called twice", "three axes", "no linear layer"]
)
def test_what_is_not_one_row_per_item_is_void_and_does_no_harm(model: nn.Module) -> None:
    assert record(model, torch.randn(6, 3), np.arange(6), 6) is None


def test_a_network_that_gives_nan_is_void() -> None:
    assert record(Net(), torch.full((2, 3), float("nan")), np.arange(2), 2) is None


def test_a_void_recording_removes_an_older_one(tmp_path: Path) -> None:
    activations.save(tmp_path, np.ones((2, 3), np.float32))
    assert (tmp_path / activations.FILE).exists()
    activations.save(tmp_path, None)
    assert not (tmp_path / activations.FILE).exists()


def test_the_table_has_every_fold_or_there_is_none(tmp_path: Path) -> None:
    frozen = [{"fold": "1", "fits": {0: "aa"}}, {"fold": "2", "fits": {0: "bb"}}]
    tested = [["u1", "u2", "u3"], ["u4", "u5"]]
    rng = np.random.default_rng(0)
    for name, ids in zip(("aa", "bb"), tested, strict=True):
        (tmp_path / name).mkdir()
        activations.save(tmp_path / name, rng.normal(size=(len(ids), 8)).astype(np.float32))
    table = activations.collect(tmp_path, frozen, tested)
    assert table is not None
    assert list(table["utterance"]) == ["u1", "u2", "u3", "u4", "u5"]
    assert table.dtypes["a_0"] == np.float16
    assert activations.collect(tmp_path, frozen, [["u1"], ["u4", "u5"]]) is None
    kept = tmp_path / "bb" / activations.FILE
    for damaged in (kept.read_bytes()[:90], kept.read_bytes()[:-4], b""):
        kept.write_bytes(damaged)
        assert activations.collect(tmp_path, frozen, tested) is None
    kept.unlink()
    assert activations.collect(tmp_path, frozen, tested) is None


def test_components_keep_distances_up_to_scale() -> None:
    x = np.random.default_rng(0).normal(size=(30, 8))
    found = activations.components(x)
    true, kept = np.linalg.norm(x[:15] - x[15:], axis=1), np.linalg.norm(found[:15] - found[15:], axis=1)
    np.testing.assert_allclose(kept / true, (kept / true)[0])
    assert activations.components(np.ones((4, 3))).max() == 0


def test_groups_that_are_apart_are_apart_in_the_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)) + 20 * (np.arange(60) % 2)[:, None]
    columns = {f"a_{k}": v for k, v in enumerate(activations.components(x).astype(np.float16).T)}
    folds = ["small"] * 10 + ["large"] * 50
    frame = pd.DataFrame({"fold": folds, "utterance": [f"u{k}" for k in range(60)], **columns})
    frame.to_parquet(tmp_path / "activations.parquet")
    found = activations.embed(tmp_path)
    assert found is not None
    name, utterances, points = found
    assert (name, len(utterances), points.shape) == ("large", 50, (50, 2))
    odd = np.array([int(u[1:]) % 2 for u in utterances], dtype=bool)
    within = np.linalg.norm(points[odd] - points[odd].mean(0), axis=1).max()
    assert np.linalg.norm(points[odd].mean(0) - points[~odd].mean(0)) > within
    assert activations.embed(tmp_path / "nowhere") is None


def test_a_bundle_with_a_recording_is_verified_and_drawn(tmp_path: Path, made_bundle) -> None:
    from sertbench import bundle, report_charts, run_details

    folder = made_bundle(tmp_path, "cnn", "one")
    run = bundle.load_run(folder)
    split = pd.read_parquet(folder / "split.parquet")
    test = split[split["role"] == "test"]
    rng = np.random.default_rng(0)
    columns = {f"a_{k}": rng.normal(size=len(test)).astype(np.float16) for k in range(6)}
    bundle.write_table(folder / "activations.parquet", test[["fold", "utterance"]].assign(**columns))
    run["files"]["activations.parquet"] = files.sha256(folder / "activations.parquet")
    bundle.save_run(folder, run)
    assert verify.verify_bundle(folder) == []
    details = run_details.details(folder)
    assert details.embedding is not None
    drawn = report_charts.embedding_chart(details)
    assert drawn is not None
    assert drawn.count("<title>") == len(details.embedding.utterances) == 24
    (folder / "activations.parquet").write_bytes(b"")
    assert [f.what for f in verify.verify_bundle(folder)] == ["activations.parquet"]


def test_the_recorder_does_not_mind_more_items_than_it_was_promised() -> None:
    recorder = Recorder(np.arange(2), 2)
    recorder(nn.Linear(3, 2), (torch.ones(3, 3),))
    assert recorder.mean() is None
