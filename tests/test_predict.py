"""Predictions of a run are those of its bundle, an export gives the same ones, and nothing hostile is read."""

from __future__ import annotations

import csv
import io
import json
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from sertbench import bundle, files, model_card, model_config, model_folder, prediction, trained
from sertbench.cli import main

ADAPTER = '''
from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.protocols import GroupFolds


class Tones(Corpus):
    """Tones: two labels told apart by pitch."""

    citation = licence = access = language = "none"
    layout = "wav files such as a_high_0.wav"
    labels = {"high": "high", "low": "low"}
    label_sets = (LabelSet("2class", {"high": "high", "low": "low"}),)
    protocols = (GroupFolds("speaker3", 1, "speaker", {s: (s,) for s in "abc"}),)

    def utterances(self, root):
        for path in wav_files(root):
            speaker, code, _ = path.stem.split("_")
            yield Utterance(path.stem, path, self.label_of(code, path), speaker)
'''

MODEL = '''
from torch import nn

from sertbench.feature_spec import log_mel, with_deltas
from sertbench.model import NeuralModel, Recipe


class Mean(NeuralModel):
    """Linear classifier on the mean log-mel spectrum and its slopes."""

    paper = "none"
    recipe = Recipe(features=with_deltas(log_mel(8)), window=0.4, hop=0.2, epochs=2, batch_size=8, learning_rate=0.05)

    def __init__(self, input_shape, n_classes, width=4):
        super().__init__(input_shape, n_classes)
        self.layers = nn.Sequential(nn.Linear(input_shape[0], width), nn.Tanh(), nn.Linear(width, n_classes))

    def forward(self, x):
        return self.layers(x.mean(2))
'''


def tone(pitch: float, seconds: float, seed: int = 0) -> np.ndarray:
    t = np.arange(int(seconds * 16000)) / 16000
    return 0.3 * np.sin(2 * np.pi * pitch * t) + 0.05 * np.random.default_rng(seed).standard_normal(len(t))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of 12 tones, a network's run of 3 folds x 2 seeds, and an SVM's of 3 folds."""
    here = tmp_path_factory.mktemp("predict")
    (here / "data").mkdir()
    (here / "tones.py").write_text(ADAPTER)
    (here / "mean.py").write_text(MODEL)
    for s, speaker in enumerate("abc"):
        for code, pitch in (("high", 900.0), ("low", 500.0)):
            for take in range(2):
                wave = tone(pitch + 20 * s, 0.3 + 0.4 * take, 10 * s + take)
                soundfile.write(here / "data" / f"{speaker}_{code}_{take}.wav", wave, 16000)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("SERTBENCH_CACHE", str(here / "cache"))
        for model, seeds in (("mean.py", "2"), ("svm", "1")):
            common = ("--dataset", "tones.py", "--data", "data", "--trials", "0", "--workers", "1", "--quiet")
            assert main(["run", "--model", model, "--seeds", seeds, *common]) == 0
    return here


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def run_of(place: Path, model: str) -> Path:
    return next((place / "runs").glob(f"tones-{model}-*"))


def predicted(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["predict", *arguments, "--json"]) == 0
    made: dict[str, Any] = json.loads(capsys.readouterr().out)
    return made


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("sertbench: error: ")
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("model", ["mean", "svm"])
def test_one_fit_says_of_its_test_files_what_the_bundle_has(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_of(here, model)
    torch.backends.cudnn.allow_tf32 = True  # as in a new process: a GPU would not give what the bundle has
    frame = pd.read_parquet(folder / "predictions.parquet")
    mine = frame[(frame["fold"] == "b") & (frame["seed"] == 0)].sort_values("utterance")
    said = predicted([str(folder), *sorted(map(str, Path("data").glob("b_*"))), "--fold", "b", "--seed", "0"], capsys)
    found = [[f["probabilities"][c] for c in ("high", "low")] for f in said["files"]]
    np.testing.assert_allclose(found, mine[["p_high", "p_low"]], atol=2e-6)
    assert {f["in_corpus"] for f in said["files"]} == {"was in the test part"}
    assert not torch.backends.cudnn.allow_tf32


def test_without_a_fold_all_fits_are_averaged_and_it_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(run_of(here, "mean"))
    said = predicted([folder, "data/a_low_1.wav"], capsys)
    assert said["source"].startswith("ensemble of 6 fits of tones-mean-speaker3")
    ones = [
        predicted([folder, "data/a_low_1.wav", "--fold", f["fold"], "--seed", str(f["seed"])], capsys)["files"][0]
        for f in said["fits"]
    ]
    mean = np.mean([list(one["probabilities"].values()) for one in ones], axis=0)
    np.testing.assert_allclose(list(said["files"][0]["probabilities"].values()), mean, atol=2e-6)
    assert said["files"][0]["agreement"] == sum(one["class"] == said["files"][0]["class"] for one in ones)


def test_a_file_of_the_corpus_is_known_by_its_audio_whatever_its_name(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "renamed.flac", soundfile.read("data/a_low_1.wav")[0], 16000)
    soundfile.write(tmp_path / "new.wav", tone(700, 0.5), 16000)
    files_ = predicted([str(run_of(here, "mean")), str(tmp_path)], capsys)["files"]
    assert [f["in_corpus"] for f in files_] == [
        None,
        "was in training of 2, validation of 2, the test part of 2 of the 6 fits",
    ]


@pytest.mark.parametrize("shape", ["--json", "--csv"])
def test_programs_are_told_of_a_changed_model_beside_their_output(
    here: Path, shape: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_of(here, "mean")
    whole = trained.from_run(folder)
    monkeypatch.setattr(trained, "from_run", lambda *_: replace(whole, changed=True))
    capsys.readouterr()
    assert main(["predict", str(folder), "data/a_low_1.wav", shape]) == 0
    said = capsys.readouterr()
    assert "was changed since it was trained" in said.err
    assert "was changed since" not in said.out


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_other_formats_rates_and_channels(
    here: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"x.{kind}"
    soundfile.write(path, np.stack([tone(900, 1.0)] * 2, axis=1).repeat(3, axis=0)[:48000], 48000)
    said = predicted([str(run_of(here, "mean")), str(path)], capsys)["files"][0]
    assert said["seconds"] == pytest.approx(1.0, abs=0.1)
    assert sum(said["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)


def test_a_pipe_is_read(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    piped = SimpleNamespace(buffer=io.BytesIO(Path("data/a_low_1.wav").read_bytes()))
    monkeypatch.setattr(sys, "stdin", piped)
    folder = str(run_of(here, "mean"))
    said = predicted([folder, "-", "data/a_low_1.wav"], capsys)["files"]
    assert [f["file"] for f in said] == ["standard input", "data/a_low_1.wav"]
    assert said[0]["probabilities"] == said[1]["probabilities"]


def test_over_time_each_window_is_what_it_would_be_alone(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wave = np.concatenate([tone(900, 0.5), tone(500, 0.5)]).astype(np.float32)
    soundfile.write(tmp_path / "two.wav", wave, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "cut.wav", wave[4800 : 4800 + 6400], 16000, subtype="FLOAT")
    folder = str(run_of(here, "mean"))
    whole, cut = predicted(
        [folder, str(tmp_path / "two.wav"), str(tmp_path / "cut.wav"), "--over-time", "0.3"], capsys
    )["files"]
    assert [(w["start"], w["end"]) for w in whole["windows"]] == [(0.0, 0.4), (0.3, 0.7), (0.6, 1.0)]
    assert whole["windows"][1]["probabilities"] == pytest.approx(cut["probabilities"], abs=1e-5)
    assert len(cut["windows"]) == 1


def test_over_time_cuts_what_a_model_of_whole_utterances_hears(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "long.wav", tone(900, 1.5), 16000)
    base = [str(run_of(here, "svm")), str(tmp_path / "long.wav"), "--over-time", "0.5", "--window", "1"]
    windows = predicted(base, capsys)["files"][0]["windows"]
    assert [(w["start"], w["end"]) for w in windows] == [(0.0, 1.0), (0.5, 1.5)]
    assert main(["predict", *base, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(r["start"], r["end"]) for r in rows] == [("0.000", "1.000"), ("0.500", "1.500")]
    assert float(rows[0]["p_high"]) == pytest.approx(windows[0]["probabilities"]["high"])


def test_the_table_and_the_drawing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run_of(here, "mean")), "data/a_low_1.wav", "--over-time", "0.1"]) == 0
    said = capsys.readouterr().out
    assert "ensemble of 6 fits" in said
    assert "4 windows from 0.00 to 0.70 s" in said
    assert "no evidence" in said
    assert any(block in said for block in "▁▂▃▄▅▆▇█")


def test_what_a_user_gets_wrong(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(run_of(here, "mean"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.wav").write_text("this is no sound")
    said = lambda *arguments: refused(["predict", *arguments], capsys)  # noqa: E731
    assert "which files?" in said(folder)
    assert "one of the files has an empty name" in said(folder, "data", "")
    assert "none.wav does not exist" in said(folder, "none.wav")
    assert "holds no audio" in said(folder, str(tmp_path / "empty"))
    assert "text, not audio" in said(folder, str(tmp_path / "text.wav"))
    assert "neither a run" in said(str(tmp_path), "data")
    assert "no fold of this run is called 'z'" in said(folder, "data", "--fold", "z")
    assert "no seed of this run is called '7'" in said(folder, "data", "--seed", "7")
    assert "hears windows of 0.4 s" in said(folder, "data", "--over-time", "1", "--window", "2")
    assert "--window goes with --over-time" in said(folder, "data", "--window", "2")
    assert "expected 0.01 to 3600" in said(folder, "data", "--over-time", "0")
    assert "goes with an exported model" in said(folder, "data", "--model", "mean.py")


def test_without_sounddevice_the_microphone_is_a_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    said = refused(["predict", str(run_of(here, "mean")), "--microphone", "1"], capsys)
    assert "pip install sounddevice" in said


def test_the_microphone_with_a_package_that_records(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rec(n: int, samplerate: int, channels: int, dtype: str) -> np.ndarray:
        assert (samplerate, channels, dtype) == (16000, 1, "float32")
        return tone(900, n / 16000).astype(np.float32)[:, None]

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(rec=rec, wait=lambda: None))
    said = predicted([str(run_of(here, "mean")), "--microphone", "0.5"], capsys)["files"]
    assert [(f["file"], f["seconds"]) for f in said] == [("microphone", 0.5)]


@pytest.fixture
def copied(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the network's run and its fits, to be damaged; the runs' folder."""
    shutil.copytree(here / "runs", tmp_path / "runs")
    return tmp_path / "runs"


def test_a_damaged_or_missing_fit_is_a_sentence(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = next(copied.glob("tones-mean-*"))
    identity = next(iter(bundle.load_run(folder)["frozen"][0]["fits"].values()))
    weights = copied / "fits" / identity / "weights.pt"
    weights.write_bytes(weights.read_bytes()[:100])
    assert "was damaged (weights.pt is not the file" in refused(["predict", str(folder), "data"], capsys)
    shutil.rmtree(weights.parent)
    assert "is not there" in refused(["predict", str(folder), "data"], capsys)
    (copied / "fits").rename(copied / "elsewhere")
    said = refused(["predict", str(folder), "data"], capsys)  # as with a published bundle: nothing of it is to go
    assert f"To train them, `sertbench run --config {folder / 'config.toml'}`, with --data" in said
    # A run that is finished does not train again of itself: the advice led in a circle.
    assert "everything is done already, delete the run.json of that folder" in said
    assert "Delete" not in said


def test_a_run_that_kept_no_hashes_says_that_it_does_not_know(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = next(copied.glob("tones-mean-*"))
    run = bundle.load_run(folder)
    del run["files"]["audio.parquet"]
    bundle.save_run(folder, run)
    assert predicted([str(folder), "data/a_low_1.wav"], capsys)["files"][0]["in_corpus"] == "not known"
    run["files"]["audio.parquet"] = "0" * 64
    bundle.save_run(folder, run)
    assert "audio.parquet is missing or was altered" in refused(["predict", str(folder), "data"], capsys)


def test_a_model_that_does_not_listen_is_refused(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--dataset", "tones.py", "--data", "data", "--trials", "0", "--seeds", "1", "--workers", "1", "--quiet")
    places = ("--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards"))
    assert main(["run", "--model", "majority", *common, *places]) == 0
    folder = next((tmp_path / "runs").glob("tones-*"))
    assert "does not listen" in refused(["predict", str(folder), "data"], capsys)


@pytest.fixture(scope="module")
def exported(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exports of both runs, all fits each."""
    folder = tmp_path_factory.mktemp("exported")
    for model in ("mean", "svm"):
        assert main(["export", str(run_of(place, model)), str(folder / model), "--all"]) == 0
    return folder


@pytest.mark.parametrize(("model", "more"), [("mean", ["--model", "mean.py"]), ("svm", [])])
def test_exported_and_reloaded_gives_the_same_without_the_run(
    here: Path, exported: Path, tmp_path: Path, model: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(shutil.copytree(exported / model, tmp_path / "before"), tmp_path / "moved")
    arguments = [*sorted(map(str, Path("data").glob("*_low_*")))[::3], "--over-time", "0.4"]
    ours = predicted([str(run_of(here, model)), *arguments], capsys)
    theirs = predicted([str(tmp_path / "moved"), *arguments, *more], capsys)
    assert theirs == ours
    one = ["--fold", "b", "--seed", "0"]
    theirs = predicted([str(tmp_path / "moved"), "data", *one, *more], capsys)
    assert theirs == predicted([str(run_of(here, model)), "data", *one], capsys)


def test_an_export_is_not_overwritten_and_its_card_has_what_a_reader_needs(
    here: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is there already and not empty" in refused(
        ["export", str(run_of(here, "svm")), str(exported / "svm")], capsys
    )
    card = (exported / "svm" / "README.md").read_text()
    figures = bundle.load_run(run_of(here, "svm"))["figures"]
    assert card.startswith("---\nlibrary_name: sertbench\n")
    for words in ("model-index:", f"value: {figures['uar_pooled_mean']}", "speaker3/1", "surveillance", "Licence of"):
        assert words in card
    for words in ("normaliser", "logits", "weights, safetensors"):  # of a network, not of an estimator
        assert words not in card
    assert "3 folds, 1 seed, 12 utterances" in card
    network = (exported / "mean" / "README.md").read_text()
    assert "the mean of the logits of its windows" in network
    assert "weights and normaliser, safetensors" in network
    bare = json.loads((exported / "mean" / "config.json").read_text())
    for member in bare["members"]:
        member["recipe"]["normalise"] = "none"
    said = model_card.use(model_config.read(bare, "config.json"), "", "none")
    assert "normaliser" not in said
    config = json.loads((exported / "mean" / "config.json").read_text())
    assert config["members"][0]["recipe"]["features"]["class"] == "CombinedSpec"
    assert config["plugin"] is None
    assert str(here) not in json.dumps(config) + card


def test_only_the_named_plugin_or_the_users_file_is_loaded(
    here: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--model path/to/file.py" in refused(["predict", str(exported / "mean"), "data"], capsys)
    assert "no fit of fold z" in refused(
        ["predict", str(exported / "mean"), "data", "--fold", "z", "--model", "mean.py"], capsys
    )
    assert "is no network here" in refused(["predict", str(exported / "mean"), "data", "--model", "svm"], capsys)


def resealed(folder: Path, content: bytes) -> None:
    """Give the first weights file another content, with the right hash in config.json."""
    config = json.loads((folder / "config.json").read_text())
    path = folder / config["members"][0]["weights"]
    path.write_bytes(content)
    config["members"][0]["sha256"] = files.sha256(path)
    (folder / "config.json").write_text(json.dumps(config))


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("code of the file was executed",))


def shapes(folder: Path) -> bytes:
    from safetensors.torch import load_file, save

    path = folder / json.loads((folder / "config.json").read_text())["members"][0]["weights"]
    return save({name: torch.zeros(3, 3) for name in load_file(path)})


def torch_pickle() -> bytes:
    buffer = io.BytesIO()
    torch.save({"model.layers.0.weight": Bomb()}, buffer)
    return buffer.getvalue()


HOSTILE_WEIGHTS: dict[str, Callable[[Path], bytes]] = {
    "a pickle": lambda _: pickle.dumps(Bomb()),
    "a pickle of torch": lambda _: torch_pickle(),
    "truncated": lambda folder: shapes(folder)[:60],
    "a header longer than the file": lambda _: b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",
    "other shapes": shapes,
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("kind", HOSTILE_WEIGHTS)
@pytest.mark.parametrize("model", ["mean", "svm"])
def test_hostile_weights_are_refused_with_a_sentence(
    here: Path, exported: Path, tmp_path: Path, kind: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(exported / model, tmp_path / "m")
    resealed(folder, HOSTILE_WEIGHTS[kind](folder))
    said = refused(["predict", str(folder), "data/a_low_1.wav", *(["--model", "mean.py"] * (model == "mean"))], capsys)
    assert "safetensors" in said or "tensors are not those of" in said or "estimator is damaged" in said


def test_weights_that_were_changed_or_cut_short_do_not_have_their_hash(
    here: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(exported / "svm", tmp_path / "m")
    path = next(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    assert "its hash is not the one in config.json" in refused(["predict", str(folder), "data"], capsys)
    path.unlink()
    assert "cannot be read" in refused(["predict", str(folder), "data"], capsys)


HOSTILE_CONFIGS: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "unknown key": (("surprise",), 1, "unknown key 'surprise'"),
    "unknown key of a member": (("members", 0, "hook"), "x", "unknown key 'hook'"),
    "unknown key of the recipe": (("members", 0, "recipe", "loss"), "x", "unknown key 'loss'"),
    "unknown key of the features": (("members", 0, "recipe", "features", "x"), 1, "unknown key 'x'"),
    "class of the features": (("members", 0, "recipe", "features", "class"), "Popen", "expected features"),
    "plug-in by path": (("plugin",), "/tmp/evil.py", "no model is called"),
    "plug-in by relative path": (("plugin",), "../evil.py:X", "no model is called"),
    "weights elsewhere": (("members", 0, "weights"), "../../secret.safetensors", "names the weights"),
    "absolute weights": (("members", 0, "weights"), "/etc/passwd", "names the weights"),
    "weights of another kind": (("members", 0, "weights"), "config.json", "names the weights"),
    "argument": (("members", 0, "arguments", "shell"), True, "takes no argument called shell"),
    "text for a number": (("members", 0, "recipe", "hop"), "0.1", "not accepted"),
    "true for a number": (("members", 0, "seed"), True, "not accepted"),
    "huge number": (("members", 0, "recipe", "window"), 1e30, "not accepted"),
    "one class": (("classes",), ["a"], "two names or more"),
    "no members": (("members",), [], "there is no fit"),
    "members of another kind": (("members",), {"0": 1}, "not accepted"),
    "later version": (("version",), 99, "Update"),
    "another format": (("format",), "gguf", "not of an exported"),
    "channel": (("channel",), "both", "channel"),
}


@pytest.mark.parametrize("kind", HOSTILE_CONFIGS)
def test_a_hostile_config_is_refused_with_a_sentence(
    here: Path, exported: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, value, words = HOSTILE_CONFIGS[kind]
    model = "mean" if "features" in path or kind == "argument" else "svm"
    folder = shutil.copytree(exported / model, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    inner: Any = config
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    (folder / "config.json").write_text(json.dumps(config))
    more = ["--model", "mean.py"] if model == "mean" else []
    assert words in refused(["predict", str(folder), "data/a_low_1.wav", *more], capsys)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": "sertbench-model"}', "[" * 100_000])
def test_a_damaged_config_is_refused_with_a_sentence(
    here: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(content)
    refused(["predict", str(tmp_path), "data"], capsys)


def test_a_single_network_is_the_one_that_validation_chose(here: Path) -> None:
    everything = trained.from_run(run_of(here, "mean"))
    best = trained.best_on_validation(everything)
    assert best.val_uar == max(m.val_uar for m in everything.members)


@pytest.mark.slow
def test_a_single_network_is_also_onnx_and_equal_to_torch(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert main(["export", str(run_of(here, "mean")), str(tmp_path / "m")]) == 0
    assert "from torch at most" in capsys.readouterr().out
    one = model_folder.read(tmp_path / "m", model="mean.py")
    shape = trained.input_shape(one.members[0].recipe)
    session = onnxruntime.InferenceSession(tmp_path / "m" / "model.onnx", providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(-40, 10, (7, *shape)).astype(np.float32)
    lengths = torch.tensor([shape[1]] * 6 + [9])
    (logits,) = session.run(None, {"features": x, "lengths": lengths.numpy()})
    network = trained.network_of(one, one.members[0], "cpu")
    with torch.no_grad():
        wanted = network(network.normaliser(torch.from_numpy(x), lengths), lengths).numpy()
    np.testing.assert_allclose(logits, wanted, atol=1e-4, rtol=1e-4)


def test_recording_is_written_without_loss(tmp_path: Path) -> None:
    wave = tone(900, 0.2).astype(np.float32) * 4  # beyond full scale too
    prediction.write(tmp_path / "x.wav", wave)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "x.wav", dtype="float32")[0], wave)
