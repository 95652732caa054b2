"""Stressing a finished run: frozen fits, the published predictions first, nothing twice, each way to get it wrong."""

from __future__ import annotations

import csv
import json
import shutil
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sertbench import estimators, files, run_details, stress_cell, stress_drawings, stress_kinds, stress_record
from sertbench.cli import main
from sertbench.errors import ConfigError
from sertbench.estimators import fit_estimator
from sertbench.results import Predictions
from sertbench.scores import score
from sertbench.statistics import jackknife
from sertbench.stress_kinds import CLEAN, Cell
from sertbench.stress_scores import row

ADAPTER = '''
from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.protocols import GroupFolds


class Tones(Corpus):
    """Tones: two labels told apart by pitch."""

    citation = licence = access = language = "none"
    layout = "wav files such as a_high_0.wav"
    labels = {"high": "high", "low": "low"}
    label_sets = (LabelSet("2class", {"high": "high", "low": "low"}, counts={"high": 16, "low": 16}),)
    protocols = (GroupFolds("speaker4", 1, "speaker", {s: (s,) for s in "abcd"}),)

    def utterances(self, root):
        for path in wav_files(root):
            speaker, code, _ = path.stem.split("_")
            gender = "female" if speaker in "ab" else "male"
            yield Utterance(path.stem, path, self.label_of(code, path), speaker, gender=gender)

    def ages(self, root):
        return {"a": 31, "b": 35, "c": 64}
'''

MODELS = '''
import numpy as np
from torch import nn

from sertbench.feature_spec import log_mel
from sertbench.model import Estimator, NeuralModel, Recipe


class Net(NeuralModel):
    """Linear on the mean log-mel spectrum."""

    paper = "none"
    recipe = Recipe(features=log_mel(16), window=0.4, hop=0.1, epochs=2, batch_size=8, learning_rate=0.05)

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.layers = nn.Linear(input_shape[0], n_classes)

    def forward(self, x):
        return self.layers(x.mean(2))


class Nearest(Estimator):
    """Nearest class mean; shorter utterances are less sure."""

    paper = "none"
    recipe = Recipe(features=log_mel(16))

    def fit(self, train, val):
        x, y = train.functionals, train.targets
        self.means = np.stack([x[y == c].mean(0) for c in range(self.n_classes)])

    def predict_proba(self, examples):
        distance = np.square(examples.functionals[:, None] - self.means).mean(2) * examples.seconds[:, None]
        p = np.exp(-(distance - distance.min(1, keepdims=True)))
        return p / p.sum(1, keepdims=True)
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a corpus of 32 tones, an adapter, two models and a finished run of each."""
    root = tmp_path_factory.mktemp("home")
    (root / "tones.py").write_text(ADAPTER)
    (root / "models.py").write_text(MODELS)
    (root / "data").mkdir()
    rng = np.random.default_rng(0)
    for speaker in "abcd":
        for code, hertz in (("high", 900), ("low", 300)):
            for i in range(4):
                t = np.arange(int(16_000 * rng.uniform(0.3, 0.6))) / 16_000
                wave = 0.1 * np.sin(2 * np.pi * hertz * rng.uniform(0.6, 1.6) * t) + 0.01 * rng.standard_normal(len(t))
                soundfile.write(root / "data" / f"{speaker}_{code}_{i}.wav", wave, 16_000)
    for name in ("Net", "Nearest"):
        arguments = ["run", "--model", f"{root / 'models.py'}:{name}", "--dataset", str(root / "tones.py")]
        arguments += ["--data", str(root / "data"), "--trials", "0", "--seeds", "2", "--workers", "1", "--quiet"]
        arguments += ["--runs", str(root / "runs"), "--leaderboards", str(root / "boards")]
        assert main(arguments) == 0
    return root


@pytest.fixture(autouse=True)
def only_one_draws(request, monkeypatch):
    """Curves take longer than all the rest: one test draws them."""
    if "curves" not in request.node.name:
        monkeypatch.setattr("sertbench.commands.stress.draw", lambda *_: None)


def bundle_of(home: Path, name: str) -> Path:
    """The run's folder of one of the models."""
    (found,) = [
        p.parent for p in (home / "runs").glob("*/run.json") if f":{name}" in (p.parent / "config.toml").read_text()
    ]
    return found


@pytest.fixture
def net(home: Path) -> Path:
    """The network's run, never stressed before."""
    folder = bundle_of(home, "Net")
    shutil.rmtree(folder / "stress", ignore_errors=True)
    return folder


def stress(folder: Path, *more: str) -> int:
    return main(["stress", str(folder), "--workers", "1", *more])


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "stress" / "stress.csv").open() as file:
        return list(csv.DictReader(file))


def cells(folder: Path) -> dict[str, Path]:
    return {p.stem: p for p in (folder / "stress" / "cells").glob("*/*.parquet")}


def test_a_network_is_stressed_with_its_frozen_fits(home, net, capsys):
    fits = {p: p.read_bytes() for p in (home / "runs" / "fits").rglob("*") if p.is_file()}
    published = (net / "predictions.parquet").read_bytes()

    assert stress(net, "--kinds", "white,gain", "--strengths", "white=30,-20", "--strengths", "gain=0,-20") == 0

    clean, mild, hard, soft, same = table(net)
    run = json.loads((net / "run.json").read_text())["figures"]
    assert (clean["kind"], clean["change"], clean["changed"]) == ("clean", "0.0", "0.0")
    assert float(clean["uar"]) == run["uar_pooled_mean"]
    assert (float(clean["uar_ci95_lo"]), float(clean["uar_ci95_hi"])) == (run["uar_ci95_lo"], run["uar_ci95_hi"])
    assert float(clean["ece"]) == run["ece"]
    assert [(r["kind"], r["strength"]) for r in (mild, hard)] == [("white", "30.0"), ("white", "-20.0")]
    assert [(r["kind"], r["strength"]) for r in (soft, same)] == [("gain", "-20.0"), ("gain", "0.0")]
    assert same["changed"] == "0.0"
    assert float(hard["uar"]) < float(clean["uar"])
    assert {p: p.read_bytes() for p in (home / "runs" / "fits").rglob("*") if p.is_file()} == fits
    assert (net / "predictions.parquet").read_bytes() == published
    assert not list((net / "stress").glob(".scratch"))
    printed = capsys.readouterr().out
    assert "the published predictions, number by number" in printed
    assert "nothing is trained" in printed
    assert main(["verify", str(net)]) == 0


def test_strength_zero_gives_the_published_predictions_bit_by_bit(home, capsys):
    for name in ("Net", "Nearest"):
        folder = bundle_of(home, name)
        assert (
            stress(
                folder,
                "--kinds",
                "gain,clip,loss",
                *(a for k in ("gain", "loss") for a in ("--strengths", f"{k}=0")),
            )
            == 0
        )
        published = pd.read_parquet(folder / "predictions.parquet")
        for stem in ("clean_0_0", "gain_0_0", "loss_0_0"):
            pd.testing.assert_frame_equal(pd.read_parquet(cells(folder)[stem]), published)


def test_what_is_done_is_not_done_again_and_cells_do_not_depend_on_each_other(net, capsys):
    assert stress(net, "--kinds", "white,pad", "--strengths", "white=10", "--strengths", "pad=0.2") == 0
    first = {stem: (p.stat().st_mtime_ns, p.read_bytes()) for stem, p in cells(net).items()}
    cells(net)["pad_0.2_0"].unlink()

    assert (
        stress(net, "--kinds", "pad,white", "--strengths", "white=10,0", "--strengths", "pad=0.2", "--seeds", "2") == 0
    )

    assert "already" in capsys.readouterr().out.partition("stress\n")[2].partition("stress\n")[2]
    again = {stem: (p.stat().st_mtime_ns, p.read_bytes()) for stem, p in cells(net).items()}
    assert again["white_10_0"] == first["white_10_0"]
    assert again["pad_0.2_0"][1] == first["pad_0.2_0"][1]
    assert set(again) == {"clean_0_0", "pad_0.2_0", "white_10_0", "white_10_1", "white_0_0", "white_0_1"}
    assert {(r["kind"], r["strength"]): r["draws"] for r in table(net)}["white", "10.0"] == "2"

    assert stress(net, "--kinds", "clip", "--strengths", "20") == 0
    assert {r["kind"] for r in table(net)} == {"clean", "white", "pad", "clip"}


def test_an_estimator_and_babble_and_noise_of_the_user(home, tmp_path, capsys):
    noise = tmp_path / "noise" / "street"
    noise.mkdir(parents=True)
    soundfile.write(noise / "car.wav", np.random.default_rng(1).standard_normal((8000, 2)) * 0.1, 8000)
    folder = bundle_of(home, "Nearest")

    assert stress(folder, "--kinds", "babble,own,pad", "--noise", str(noise.parent), "--strengths", "noise=-10") == 0

    found = {r["kind"]: r for r in table(folder)}
    assert {"babble", "own", "pad"} <= set(found)
    assert len(found["own"]["source"]) == 8
    assert float(found["babble"]["changed"]) > 0


def test_a_stored_estimator_is_loaded_and_one_that_was_not_stored_is_fitted_again(home, tmp_path, monkeypatch, capsys):
    shutil.copytree(home / "runs", tmp_path / "runs")
    folder = tmp_path / "runs" / bundle_of(home, "Nearest").name
    fitted = []

    def fit(*arguments):
        fitted.append(arguments)
        return fit_estimator(*arguments)

    def clean() -> str:
        monkeypatch.setattr(stress_cell, "_fitted", OrderedDict())
        shutil.rmtree(folder / "stress", ignore_errors=True)
        assert stress(folder, "--kinds", "gain", "--strengths", "0") == 0
        pd.testing.assert_frame_equal(
            pd.read_parquet(cells(folder)["clean_0_0"]), pd.read_parquet(folder / "predictions.parquet")
        )
        return " ".join(capsys.readouterr().out.split())

    monkeypatch.setattr(estimators, "fit_estimator", fit)
    assert "2 per fold; nothing is trained" in clean()
    assert fitted == []

    first, *others = sorted((tmp_path / "runs" / "fits").glob("*/estimator.npz"))
    assert len(others) == 7
    first.unlink()
    assert "1 were not stored and are fitted again on the same data" in clean()
    assert len(fitted) == 1
    assert "nothing is trained" in clean()

    others[0].write_bytes(others[0].read_bytes()[:50])
    shutil.rmtree(folder / "stress")
    said = refused(folder, capsys, "--kinds", "gain")
    assert f"{others[0].parent} was damaged (estimator.npz holds no fitted estimator)" in said
    assert f"Delete {folder / 'run.json'} and run `sertbench run --config" in said


def test_drawings_show_the_figures_of_all_kinds(made_bundle, tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'sertbench[report]'")
    folder = made_bundle(tmp_path)
    clean = Predictions(pd.read_parquet(folder / "predictions.parquet"), ("angry", "happy", "sad"))
    first = row(CLEAN, [clean], clean)
    made = [replace(first, kind=k.name, strength=s, unit=k.unit, ece=50 - s / 10)
            for k in stress_kinds.KINDS.values() for s in k.strengths]  # fmt: skip
    details = replace(run_details.details(folder), stress=(first, *made))

    score_panels = [axes for axes in stress_drawings.score_curves(details).axes if axes.get_visible()]
    calibration = stress_drawings.calibration_curves(details).axes[0]

    assert len(score_panels) == len(stress_kinds.GROUPS)
    noise = score_panels[0]
    assert [line.get_label() for line in noise.lines[2:]] == ["white", "pink", "babble", "hum", "own"]
    assert list(noise.lines[2].get_xdata()) == [0, 10, 20]
    assert list(calibration.lines[1].get_ydata()) == [50, 49, 48]
    assert len(stress_drawings.reliability_diagrams(details).axes) >= len(stress_kinds.GROUPS)


@pytest.mark.slow
def test_the_curves_are_drawn_and_plotted_again(net, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="pip install 'sertbench[report]'")
    assert stress(net, "--kinds", "white,telephone,gain", "--strengths", "gain=-20,20") == 0
    drawn = {p.name: p.read_bytes() for p in (net / "stress").glob("stress-*")}

    assert {p.rpartition(".")[2] for p in drawn} == {"svg", "png"}
    assert len(drawn) == 6
    assert main(["plot", "--run", str(net), "--kind", "stress", "--format", "svg", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == drawn[path.name]


def test_a_run_that_was_not_stressed_has_no_curves(net, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="pip install 'sertbench[report]'")
    assert main(["plot", "--run", str(net), "--kind", "stress", "--out", str(tmp_path)]) == 1
    assert "`sertbench stress" in capsys.readouterr().out


def test_dry_run_writes_nothing(net, capsys):
    assert stress(net, "--dry-run") == 0
    assert not (net / "stress").exists()
    assert "cells" in capsys.readouterr().out


# --- each way to get it wrong


def refused(folder: Path, capsys, *more: str) -> str:
    assert stress(folder, *more) == 2
    return str(capsys.readouterr().err)


def test_a_run_across_corpora_is_refused(made_bundle, tmp_path, capsys):
    folder = made_bundle(tmp_path, kind="cross")
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "cross": {"kind": "cross"}}))
    assert "is a cross-corpus run" in refused(folder, capsys)


def test_a_model_that_does_not_listen_and_a_replay_are_refused(made_bundle, tmp_path, capsys):
    deaf = made_bundle(tmp_path, changes={"model": {"recipe": {"features": None}}})
    assert "nothing to disturb" in refused(deaf, capsys)
    assert "replayed claim" in refused(made_bundle(tmp_path, draw=1, kind="replay"), capsys)


def test_another_copy_of_the_audio_is_refused(home, net, tmp_path, capsys):
    shutil.copytree(home / "data", tmp_path / "data")
    wave, rate = soundfile.read(tmp_path / "data" / "a_high_0.wav")
    soundfile.write(tmp_path / "data" / "a_high_0.wav", wave * 0.99, rate)

    assert "is not the copy that was run" in refused(net, capsys, "--data", str(tmp_path / "data"))
    assert not cells(net)


def test_another_version_of_the_model_is_refused(home, net, capsys):
    text = (home / "models.py").read_text()
    (home / "models.py").write_text(text.replace("x.mean(2)", "x.amax(2)"))
    try:
        assert "another version of the model's code" in refused(net, capsys)
    finally:
        (home / "models.py").write_text(text)


def test_fits_that_are_gone_are_named(home, net, capsys):
    (home / "runs" / "fits").rename(home / "runs" / "elsewhere")
    try:
        assert "is not at hand" in refused(net, capsys)
    finally:
        (home / "runs" / "elsewhere").rename(home / "runs" / "fits")


def test_predictions_that_are_not_the_published_ones_are_refused(net, capsys):
    """As on another machine: the bundle is whole, its numbers are others."""
    kept = {name: (net / name).read_bytes() for name in ("predictions.parquet", "run.json")}
    frame, run = pd.read_parquet(net / "predictions.parquet"), json.loads(kept["run.json"])
    frame["p_high"] = np.nextafter(frame["p_high"].to_numpy(), np.float32(2))
    frame.to_parquet(net / "predictions.parquet", index=False)
    run["files"]["predictions.parquet"] = files.sha256(net / "predictions.parquet")
    (net / "run.json").write_text(json.dumps(run))
    try:
        assert "without any disturbance 64 of 64 predictions are not the published ones" in refused(net, capsys)
    finally:
        for name, content in kept.items():
            (net / name).write_bytes(content)


def test_an_altered_configuration_and_a_damaged_bundle_are_refused(home, net, tmp_path, capsys):
    for name in ("altered", "damaged"):
        shutil.copytree(net, tmp_path / name)
    (tmp_path / "altered" / "config.toml").write_text("model = 'cnn'\ndataset = 'demo'\n")
    run = json.loads((net / "run.json").read_text())
    del run["frozen"]
    (tmp_path / "damaged" / "run.json").write_text(json.dumps(run))

    assert "was altered" in refused(tmp_path / "altered", capsys)
    assert "is damaged" in refused(tmp_path / "damaged", capsys)


def test_two_at_once_are_refused(net, capsys):
    from filelock import FileLock

    (net / "stress").mkdir()
    with FileLock(net / "stress" / ".lock"):
        assert "written by another sertbench" in refused(net, capsys, "--kinds", "gain")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kinds", "whit"], "Did you mean 'white'"),
        (["--kinds", ","], "names nothing"),
        (["--kinds", "own"], "--noise FOLDER"),
        (["--strengths", "10"], "no common unit"),
        (["--kinds", "white", "--strengths", "loud"], "'loud' is not a number"),
        (["--kinds", "white", "--strengths", "nan"], "not possible"),
        (["--kinds", "white", "--strengths", "gain=3"], "not among the kinds"),
        (["--kinds", "loss", "--strengths", "120"], "from 0 to 100"),
        (["--noise", "nowhere"], "not a folder"),
        (["--seeds", "0"], "at least 1"),
    ],
)
def test_mistakes_in_the_command_line_say_what_is_accepted(net, capsys, arguments, said):
    assert said in refused(net, capsys, *arguments)


def test_a_folder_without_noise_and_silent_noise_are_refused(net, tmp_path, capsys):
    assert "holds no recordings" in refused(net, capsys, "--noise", str(tmp_path))
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 16_000)
    assert "silent" in refused(net, capsys, "--noise", str(tmp_path))


# --- figures


def test_figures_of_draws_are_means_and_the_change_is_paired(made_bundle, tmp_path):
    folder = made_bundle(tmp_path, accuracy=0.95)
    clean = Predictions(pd.read_parquet(folder / "predictions.parquet"), ("angry", "happy", "sad"))
    draws = []
    for k in (1, 2):
        other = made_bundle(tmp_path, accuracy=0.2, draw=k)
        draws.append(Predictions(pd.read_parquet(other / "predictions.parquet"), clean.classes))
    y, speakers = clean.column("target"), clean.column("speaker")

    found, same = row(Cell("white", 0.0), draws, clean), row(CLEAN, [clean], clean)

    uars = [score(y, labels, 3).uar for d in draws for labels in d.labels]
    assert found.uar == pytest.approx(100 * np.mean(uars), abs=0.01)
    assert found.change == pytest.approx(found.uar - same.uar, abs=0.02)
    assert found.change_ci95_lo < found.change < found.change_ci95_hi < 0
    assert found.changed == pytest.approx(100 * np.mean([(d.labels != clean.labels).mean() for d in draws]), abs=0.01)
    interval = jackknife(y, clean.labels, speakers, 3).interval()
    assert (same.uar_ci95_lo, same.uar_ci95_hi) == (round(100 * interval.low, 2), round(100 * interval.high, 2))
    assert (same.change_ci95_lo, same.change_ci95_hi) == (0, 0)
    assert sum(share for _, _, share in found.reliability) == pytest.approx(1)


def test_rows_are_read_as_they_were_written(made_bundle, tmp_path):
    folder = made_bundle(tmp_path)
    clean = Predictions(pd.read_parquet(folder / "predictions.parquet"), ("angry", "happy", "sad"))
    rows = (row(CLEAN, [clean], clean), row(Cell("own", 10.0, 0, "1a2b3c4d"), [clean], clean))
    stress_record.write(folder, rows, {})

    assert stress_record.read(folder) == rows
    (folder / "stress" / "stress.json").write_text("{")
    assert stress_record.read(folder) == ()


def test_cells_have_names_that_can_be_read_again():
    for cell in stress_kinds.cells({"gain": (-10.0, 2.5), "own": (10.0,)}, 2, "1a2b3c4d"):
        assert stress_kinds.parsed(cell.stem) == cell
    assert len(stress_kinds.cells({"gain": (1.0,), "white": (1.0,)}, 3)) == 4
    for stem in ("clean_0_0", "white", "white_x_0", "nothing_1_0", ".white_1_0.123.draft", "white_10.0_0"):
        assert stress_kinds.parsed(stem) is None


def test_groups_stand_for_their_kinds():
    assert stress_kinds.chosen("packets,white", own=False) == ["white", "loss", "repeat"]
    assert stress_kinds.chosen("noise", own=False) == ["white", "pink", "babble", "hum"]
    assert "own" in stress_kinds.chosen(None, own=True)
    assert stress_kinds.strengths(["white", "hum"], ["7,7"]) == {"white": (7.0,), "hum": (7.0,)}
    with pytest.raises(ConfigError):
        stress_kinds.strengths(["white"], ["white="])


def test_a_run_goes_by_its_name_or_its_row(net, capsys):
    for name in (net.name, net.name.rpartition("-")[2]):
        assert main(["stress", name, "--runs", str(net.parent), "--dry-run"]) == 0
    assert "white" in capsys.readouterr().out
    assert main(["stress", "nosuch", "--runs", str(net.parent), "--dry-run"]) == 2
    assert f"nosuch is not a finished run. In {net.parent} there are:" in capsys.readouterr().err


# --- the gaps of a real run


def test_gaps_take_gender_and_age_from_the_corpus(home, tmp_path, capsys):
    assert main(["gaps", str(bundle_of(home, "Net")), "--json", str(tmp_path / "gaps.json")]) == 0

    found = {gap["grouping"]: gap for gap in json.loads((tmp_path / "gaps.json").read_text())["gaps"]}
    assert {g["name"] for g in found["gender"]["groups"]} == {"female", "male"}
    assert {g["name"]: g["speakers"] for g in found["age"]["groups"]} == {"30-39": 2, "60-69": 1}
    assert found["age"]["left_out"] == 8
    assert "not known for 8 utterances" in capsys.readouterr().out


def test_gaps_with_a_wrong_data_folder_are_an_error(home, tmp_path, capsys):
    assert main(["gaps", str(bundle_of(home, "Net")), "--data", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err
