"""Runs on a pre-trained checkpoint: predicted, exported and predicted again; and what is said when it is not there."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from sertbench import model_card, model_config, model_folder, needed_checkpoint, onnx_export, pretrained
from sertbench.cli import main
from sertbench.errors import ConfigError
from sertbench.feature_spec import log_mel, ssl

HEADS = {"svm": "ssl:{}", "superb": "ssl:{}:0-1", "ssl_attention": "ssl:{}:frames"}
NO_ONNX = "left out: another test exports it"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Any) -> Iterator[Path]:
    """A folder with a checkpoint of its own, a corpus of 6 recordings, and a run of each head of 3 folds."""
    here = tmp_path_factory.mktemp("predict-pretrained")
    shutil.copytree(tiny_checkpoint("hubert"), here / "tiny")
    rng, rows = np.random.default_rng(1), []
    for speaker in "abc":
        for label, pitch in (("calm", 200), ("angry", 1500)):
            name, time = f"{speaker}-{label}.wav", np.arange(8000) / 16000
            wave = 0.2 * np.sin(2 * np.pi * pitch * rng.uniform(0.9, 1.1) * time) + 0.02 * rng.standard_normal(8000)
            soundfile.write(here / name, wave, 16000)
            rows.append({"path": name, "label": label, "speaker": speaker})
    with (here / "my.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("SERTBENCH_CACHE", str(here / "cache"))
        for model in HEADS:
            run(model, HEADS[model], *(() if model == "svm" else ("--epochs", "2")))
        yield here


def run(model: str, features: str, *more: str) -> None:
    base = ["run", "--dataset", "csv", "--data", "my.csv", "--trials", "0", "--seeds", "1", "--workers", "1", "--quiet"]
    assert main([*base, "--device", "cpu", "--model", model, "--features", features.format("tiny"), *more]) == 0


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module's folder and cache; ONNX, which takes long, is left out."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("SERTBENCH_CACHE", str(place / "cache"))
    monkeypatch.setattr(onnx_export, "export", lambda *_: ("", NO_ONNX))
    return place


def run_of(model: str) -> str:
    (folder,) = Path("runs").glob(f"*-{model}-*")
    return str(folder)


def predicted(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[float]]:
    capsys.readouterr()
    assert main(["predict", *arguments, "--json"]) == 0
    return {
        Path(f["file"]).stem: list(f["probabilities"].values()) for f in json.loads(capsys.readouterr().out)["files"]
    }


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main([*arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("sertbench: error: ")
    assert "Traceback" not in said
    return " ".join(said.split())


@pytest.mark.parametrize("model", HEADS)
def test_a_fit_says_of_its_test_files_what_the_bundle_has_and_so_does_its_export(
    here: Path, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, files = run_of(model), sorted(map(str, Path().glob("b-*.wav")))
    frame = pd.read_parquet(Path(folder) / "predictions.parquet")
    fold = frame.loc[frame["speaker"] == "b", "fold"].iloc[0]

    ours = predicted(capsys, folder, *files, "--fold", fold)

    columns = [c for c in frame.columns if c.startswith("p_")]
    wanted = frame[frame["fold"] == fold].set_index("utterance")[columns]
    assert len(wanted) == len(ours) == 2
    for utterance, row in wanted.iterrows():
        np.testing.assert_allclose(ours[Path(str(utterance)).stem], row, atol=2e-6)
    assert main(["export", folder, str(tmp_path / "one"), "--fold", fold]) == 0
    assert "needs the checkpoint tiny" in capsys.readouterr().out
    assert predicted(capsys, str(tmp_path / "one"), *files) == ours
    assert main(["export", folder, str(tmp_path / "all"), "--all"]) == 0
    assert predicted(capsys, str(tmp_path / "all"), *files) == predicted(capsys, folder, *files)


def test_config_and_card_name_the_checkpoint_that_is_not_in_the_folder(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", run_of("superb"), str(tmp_path / "m")]) == 0
    config, card = json.loads((tmp_path / "m" / "config.json").read_text()), (tmp_path / "m" / "README.md").read_text()
    sha256 = pretrained.fingerprint(here / "tiny")
    needs = {"name": "tiny", "sha256": sha256, "family": "hubert", "in_this_folder": False}
    assert config["needs_checkpoint"] == needs
    assert config["members"][0]["input_shape"] == [32, 2]
    assert sha256 in card
    assert "It needs the pre-trained checkpoint `tiny`" in card
    assert "which is not in this folder" in card
    assert "base_model" not in card  # a folder's name is no page of the hub
    assert NO_ONNX in card
    assert str(here) not in json.dumps(config) + card


@pytest.fixture
def moved(here: Path, tmp_path: Path) -> Iterator[Path]:
    """The checkpoint, while it lies elsewhere."""
    (here / "tiny").rename(tmp_path / "elsewhere")
    yield tmp_path / "elsewhere"
    (tmp_path / "elsewhere").rename(here / "tiny")


def test_a_checkpoint_that_was_moved_is_asked_for_and_then_known(
    here: Path, tmp_path: Path, moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, exported = run_of("svm"), str(tmp_path / "m")
    for command in (["predict", folder, "a-calm.wav"], ["export", folder, exported]):
        said = refused(capsys, *command)
        assert "needs the checkpoint tiny with the hash" in said
        assert f"not at hand; it is not in {here / 'tiny'} any more. Say" in said  # noted, and written in the run
        assert said.endswith("Say where its folder lies now: --checkpoint FOLDER")
    asked = predicted(capsys, folder, "a-calm.wav", "--checkpoint", str(moved))
    assert asked == predicted(capsys, folder, "a-calm.wav")  # it was noted where it lies
    assert main(["export", folder, exported, "--all"]) == 0
    assert predicted(capsys, exported, "a-calm.wav") == asked


def test_another_checkpoint_is_refused(
    here: Path, tmp_path: Path, moved: Path, tiny_checkpoint: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, other = run_of("superb"), tiny_checkpoint("hubert", do_normalize=False)
    assert main(["export", folder, str(tmp_path / "m"), "--checkpoint", str(moved)]) == 0
    (here / "cache" / "checkpoints").rename(tmp_path / "checkpoints")
    try:
        for one in (folder, str(tmp_path / "m")):
            said = refused(capsys, "predict", one, "a-calm.wav", "--checkpoint", str(other))
            assert f"{other} is another one, or was changed since: its hash is" in said
            assert "not at hand" in refused(capsys, "predict", one, "a-calm.wav")
        shutil.copytree(other, here / "tiny")  # of the same name, where the run had its own
        for one in (folder, str(tmp_path / "m")):
            assert "tiny is another one" in refused(capsys, "predict", one, "a-calm.wav")
    finally:
        shutil.rmtree(here / "tiny", ignore_errors=True)
        shutil.rmtree(here / "cache" / "checkpoints")
        (tmp_path / "checkpoints").rename(here / "cache" / "checkpoints")


def test_a_checkpoint_for_what_needs_none_is_refused() -> None:
    assert needed_checkpoint.located(log_mel(8), "m") == log_mel(8)
    with pytest.raises(ConfigError, match=r"--checkpoint x: m needs no checkpoint. Leave --checkpoint out"):
        needed_checkpoint.located(log_mel(8), "m", asked="x")


def test_a_checkpoint_of_the_hub_says_how_to_fetch_it(here: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"hf download some/encoder config.json .*, then this command with --checkpoi"
    ):
        needed_checkpoint.located(ssl("some/encoder"), "m")


HOSTILE: dict[str, tuple[str, Any, str]] = {
    "a folder elsewhere": ("checkpoint", "/etc", "needs the checkpoint /etc"),
    "a hash that is a path": ("sha256", "../../x", "tiny is another one"),
    "layers that are none": ("layers", "0-x", "cannot be used: --features: layers 0-x of"),
    "more layers than memory has": ("layers", "0-999999999999", "it has 0 to 2"),
    "more layers than there are": ("layers", "0-7", "it has 0 to 2"),
    "other rows": ("layers", "all", "are not those of"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_config_is_refused_with_a_sentence(
    here: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key, value, words = HOSTILE[kind]
    assert main(["export", run_of("superb"), str(tmp_path / "m")]) == 0
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    config["members"][0]["recipe"]["features"][key] = value
    if key != "layers":  # what is known of this hash in the cache would be found
        config["members"][0]["recipe"]["features"]["sha256"] = value if key == "sha256" else "0" * 64
    path.write_text(json.dumps(config))
    assert words in refused(capsys, "predict", str(tmp_path / "m"), "a-calm.wav")


def test_the_card_says_what_the_onnx_file_is_given() -> None:
    spec = ssl("a/b", "0-1", hidden=16, depth=2)
    assert "(batch, 32, 2)" in model_card.onnx_input(spec)
    assert "the encoder, which computes them from audio, is not in it" in model_card.onnx_input(spec)
    assert "rows, frames" in model_card.onnx_input(log_mel(8))


def test_a_checkpoint_that_claims_to_be_inside_is_not_believed() -> None:
    needs = {"name": "a/b", "sha256": "0" * 64, "family": "hubert", "in_this_folder": True}
    with pytest.raises(Exception, match="in_this_folder is True"):
        model_config.read_value(model_config.CheckpointConfig | None, needs, "x")


def test_finetuned_weights_are_in_the_folder_and_the_checkpoint_is_not(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("finetune", "waveform:{}", "--epochs", "1")
    folder = run_of("finetune")
    assert main(["export", folder, str(tmp_path / "m"), "--fold", "1"]) == 0
    ours = predicted(capsys, folder, "b-calm.wav", "--fold", "1")
    assert predicted(capsys, str(tmp_path / "m"), "b-calm.wav") == ours
    assert "trained weights of all blocks are in this folder" in (tmp_path / "m" / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["superb", "ssl_attention"])
def test_the_onnx_file_is_the_head_on_hidden_states(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from sertbench.ssl_features import Encoder, cut

    monkeypatch.chdir(place)
    monkeypatch.setenv("SERTBENCH_CACHE", str(place / "cache"))
    assert main(["export", run_of(model), str(tmp_path / "m")]) == 0
    one = model_folder.read(tmp_path / "m")
    features: Any = one.members[0].recipe.features
    wave = soundfile.read("a-calm.wav", dtype="float32")[0]
    x = cut(Encoder(features).values(wave[None])[0], features, None, 1).values
    session = onnxruntime.InferenceSession(tmp_path / "m" / "model.onnx", providers=["CPUExecutionProvider"])
    fed = {"features": x, "lengths": np.array([x.shape[2]])}
    (logits,) = session.run(None, {i.name: fed[i.name] for i in session.get_inputs()})
    odds = np.exp(logits[0] - logits[0].max())
    (said,) = predicted(capsys, str(tmp_path / "m"), "a-calm.wav").values()
    np.testing.assert_allclose(odds / odds.sum(), said, atol=1e-5)
