"""Whole runs on a corpus of tones: the flow, its result, its repetition, and each way to get it wrong."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sertbench import compute, crossval
from sertbench.cli import main
from sertbench.progress import Display

ADAPTER = '''
from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.protocols import GroupFolds


class Tones(Corpus):
    """Tones: two labels told apart by pitch."""

    citation = licence = access = language = "none"
    layout = "wav files such as a_high_0.wav"
    labels = {"high": "high", "low": "low"}
    label_sets = (LabelSet("2class", {"high": "high", "low": "low"}, counts={"high": 16, "low": 16}),)
    groups = {s: (s,) for s in "abcd"}
    protocols = (
        GroupFolds("speaker4", 1, "speaker", groups),
        GroupFolds("speaker4-refit", 1, "speaker", groups, refit=True),
    )

    def utterances(self, root):
        for path in wav_files(root):
            speaker, code, _ = path.stem.split("_")
            yield Utterance(path.stem, path, self.label_of(code, path), speaker)
'''

MODEL = '''
import torch
from torch import nn

from sertbench.feature_spec import log_mel
from sertbench.model import NeuralModel, Recipe


class Mean(NeuralModel):
    """Linear classifier on the mean log-mel spectrum."""

    paper = "none"
    recipe = Recipe(features=log_mel(16), window=0.4, hop=0.2, epochs=3, batch_size=8, learning_rate=0.05)

    def __init__(self, input_shape, n_classes, width=8):
        super().__init__(input_shape, n_classes)
        self.layers = nn.Sequential(nn.Linear(input_shape[0], width), nn.Tanh(), nn.Linear(width, n_classes))

    def forward(self, x):
        return self.layers(x.mean(2))

    @classmethod
    def search_space(cls, trial):
        rate = trial.suggest_float("learning_rate", 0.01, 0.1)
        return {"width": trial.suggest_int("width", 2, 16), "learning_rate": rate}
'''


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four speakers, two labels, four utterances each: 32 files, of which some are shorter than a window."""
    root = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    for s, speaker in enumerate("abcd"):
        for code, pitch in (("high", 900.0), ("low", 500.0)):
            for take in range(4):
                seconds = 0.3 + 0.2 * take
                t = np.arange(int(seconds * 16000)) / 16000
                wave = 0.3 * np.sin(2 * np.pi * (pitch + 20 * s) * t) + 0.05 * rng.standard_normal(len(t))
                soundfile.write(root / f"{speaker}_{code}_{take}.wav", wave, 16000)
    return root


@pytest.fixture
def place(tmp_path: Path, tones: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the adapter, the model and a copy of the corpus."""
    (tmp_path / "tones.py").write_text(ADAPTER)
    (tmp_path / "mean.py").write_text(MODEL)
    shutil.copytree(tones, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERTBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


BASE = (
    "--model",
    "mean.py",
    "--dataset",
    "tones.py",
    "--data",
    "data",
    "--trials",
    "0",
    "--seeds",
    "2",
    "--workers",
    "1",
)


def run(*more: str, base: Sequence[str] = BASE) -> int:
    return main(["run", *base, *more])


def bundle_of(place: Path) -> Path:
    (run_json,) = (place / "runs").glob("*/run.json")
    return run_json.parent


def test_a_run_ends_in_a_row_and_a_whole_bundle(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    out = capsys.readouterr().out
    assert "8 of at most 3 epochs each" in out  # the plan: 4 folds, 2 seeds
    (row,) = pd.read_csv(place / "leaderboards" / "tones.csv").to_dict("records")
    assert (row["model"], row["corpus"], row["protocol"], row["rank"]) == ("mean", "tones", "speaker4/1", 1)
    assert row["uar_pooled_mean"] > 80
    bundle = bundle_of(place)
    frame = pd.read_parquet(bundle / "predictions.parquet")
    assert frame.groupby("seed")["utterance"].agg(["count", "nunique"]).to_numpy().tolist() == [[32, 32], [32, 32]]
    assert np.allclose(frame[["p_high", "p_low"]].sum(axis=1), 1)
    written = json.loads((bundle / "run.json").read_text())
    assert len(written["test_reads"]) == 8
    frozen_at = {frozen["fold"]: frozen["frozen_at"] for frozen in written["frozen"]}  # folds run side by side
    assert all(read["read_at"] >= frozen_at[read["fold"]] for read in written["test_reads"])
    assert main(["verify", str(bundle)]) == 0
    assert main(["verify", "leaderboards/tones.csv"]) == 0


def test_the_same_run_again_finds_everything_done(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    before = (place / "leaderboards" / "tones.csv").read_text()
    written = {p: p.stat().st_mtime_ns for p in (place / "runs").rglob("*") if p.is_file()}
    capsys.readouterr()
    assert run() == 0
    assert "everything is done already" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in (place / "runs").rglob("*") if p.is_file()} == written
    assert (place / "leaderboards" / "tones.csv").read_text() == before


def test_twice_from_nothing_gives_the_same_predictions_bit_for_bit(place: Path) -> None:
    assert run("--trials", "3") == 0
    first = bundle_of(place)
    kept = (first / "predictions.parquet").read_bytes()
    shutil.rmtree(place / "runs")
    shutil.rmtree(place / "cache")
    assert run("--trials", "3") == 0
    assert bundle_of(place).name == first.name
    assert (bundle_of(place) / "predictions.parquet").read_bytes() == kept


def test_the_stored_configuration_gives_the_run_back(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--epochs", "2") == 0
    stored = bundle_of(place) / "config.toml"
    assert tomllib.loads(stored.read_text())["labels"] == "2class"
    capsys.readouterr()
    assert main(["run", "--config", str(stored)]) == 0
    assert "everything is done already" in capsys.readouterr().out
    assert main(["status"]) == 0
    assert capsys.readouterr().out.count("tones-mean-speaker4-") == 1  # two commands, one run


def test_the_stored_configuration_gives_the_run_back_where_auto_is_something_else(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "multiplies_bf16", lambda _device: False)
    assert run("--epochs", "2") == 0
    stored = bundle_of(place) / "config.toml"
    monkeypatch.setattr(compute, "multiplies_bf16", lambda _device: True)
    capsys.readouterr()
    assert main(["run", "--config", str(stored)]) == 0
    assert "everything is done already" in capsys.readouterr().out


def test_flags_go_before_the_file_and_the_file_before_defaults(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "run.toml").write_text('model = "mean.py"\ndataset = "tones.py"\ndata = "data"\ntrials = 0\nseeds = 3\n')
    assert main(["run", "--config", "run.toml", "--seeds", "1", "--dry-run"]) == 0
    assert "4 of at most 3 epochs each" in capsys.readouterr().out


def test_a_dry_run_shows_the_plan_and_writes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--dry-run") == 0
    assert "plan" in capsys.readouterr().out
    assert not (place / "runs").exists()
    assert not (place / "leaderboards").exists()


def test_tuning_is_nested_and_its_study_is_kept(place: Path) -> None:
    assert run("--trials", "3", "--seeds", "1") == 0
    bundle = bundle_of(place)
    written = json.loads((bundle / "run.json").read_text())
    assert [t["scope"] for t in written["tuning"]] == ["perfold"] * 4
    assert all(len(t["trials"]) == 3 and sum(row["chosen"] for row in t["trials"]) == 1 for t in written["tuning"])
    assert written["tuning"][0]["trials"][0]["width"] == 8  # the first trial is the recipe as published
    journals = list((bundle / "studies").glob("*.journal"))
    assert len(journals) == 4
    for journal in journals:  # each knows the fit that its scores go with
        (basis,) = re.findall(r'"sertbench:basis":"(\w+)"', journal.read_text())
        assert (place / "runs" / "fits" / basis / "fit.json").exists()
    assert pd.read_csv(place / "leaderboards" / "tones.csv")["hpo_scope"].tolist() == ["perfold"]


def test_a_study_is_of_the_code_that_makes_the_fits(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("--trials", "1", "--seeds", "1") == 0
    bundle = bundle_of(place)
    (bundle / "run.json").unlink()  # as if it had been stopped before its end
    monkeypatch.setattr("sertbench.tasks.FEATURES_VERSION", -1)  # of another version of sertbench
    assert run("--trials", "1", "--seeds", "1") == 0
    assert bundle_of(place) == bundle
    assert len(list((bundle / "studies").glob("*.outdated"))) == 4
    (bundle / "run.json").unlink()
    assert run("--trials", "1", "--seeds", "1") == 0
    written = json.loads((bundle / "run.json").read_text())
    assert [t["trials"][0]["val_uar"] for t in written["tuning"]] == [f["val_uar"] for f in written["fits"]]


def test_the_row_counts_the_parameters_of_what_was_chosen(place: Path) -> None:
    slow = (
        MODEL.replace("learning_rate=0.05", "learning_rate=1e-9")
        .replace("0.01, 0.1", "1e-9, 0.1")
        .replace("width=8", "width=2")
    )
    (place / "mean.py").write_text(slow)  # the published rate learns nothing
    assert run("--trials", "4", "--seeds", "1") == 0
    frozen = json.loads((bundle_of(place) / "run.json").read_text())["frozen"]
    (row,) = pd.read_csv(place / "leaderboards" / "tones.csv").to_dict("records")
    widths = [fold["choice"]["width"] for fold in frozen]
    assert max(widths) > 2
    assert row["n_params"] == max(16 * w + w + 2 * w + 2 for w in widths)


def test_finished_fits_are_not_run_again_by_a_run_with_more_seeds(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--seeds", "1") == 0
    assert "one seed: its luck is not in the interval" in capsys.readouterr().out
    assert run("--seeds", "2") == 0
    said = capsys.readouterr().out
    assert said.count("was done already") == 4
    assert "2 seeds: ranks are provisional" in said
    assert "* this run" in [line.strip() for line in said.splitlines()]


def test_worker_processes_give_the_numbers_of_one_process(place: Path) -> None:
    assert run("--seeds", "1") == 0
    alone = (bundle_of(place) / "predictions.parquet").read_bytes()
    shutil.rmtree(place / "runs")
    assert run("--seeds", "1", "--workers", "2") == 0
    assert (bundle_of(place) / "predictions.parquet").read_bytes() == alone


def test_a_profile_says_where_the_time_went_and_changes_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    plain = bundle_of(place)
    kept = {name: (plain / name).read_bytes() for name in ("predictions.parquet", "config.toml")}
    fits = {path.parent.name: path.read_bytes() for path in (place / "runs").glob("fits/*/weights.pt")}
    assert not (plain / "profile.json").exists()
    shutil.rmtree(place / "runs")
    capsys.readouterr()

    assert run("--profile") == 0

    out = capsys.readouterr().out
    assert "harness overhead" in out
    assert bundle_of(place).name == plain.name
    assert {name: (bundle_of(place) / name).read_bytes() for name in kept} == kept
    assert {path.parent.name: path.read_bytes() for path in (place / "runs").glob("fits/*/weights.pt")} == fits
    told = json.loads((bundle_of(place) / "profile.json").read_text())
    assert {"forward", "backward", "optimiser", "evaluation", "batches", "features"} <= told["seconds"].keys()
    assert sum(told["seconds"].values()) == pytest.approx(told["wall_seconds"] * told["workers"], rel=0.01)
    assert 0 < told["overhead"] < 1
    assert told["n_fits"] == 8
    assert len(told["fits"]) == 16  # and as many predictions
    assert main(["verify", str(bundle_of(place))]) == 0


def test_a_profile_of_a_run_that_was_done_already_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--seeds", "1") == 0
    capsys.readouterr()

    assert run("--seeds", "1", "--profile") == 0

    assert "no fit was run, so there is no profile" in capsys.readouterr().out


def test_test_audio_changes_neither_weights_nor_choices(place: Path) -> None:
    """Replace the audio of speaker a: what the fold that tests a learnt and chose must be the same."""
    assert run("--trials", "2", "--seeds", "1") == 0
    before = json.loads((bundle_of(place) / "run.json").read_text())
    shutil.move(place / "runs", place / "runs-before")
    rng = np.random.default_rng(1)
    for path in (place / "data").glob("a_*.wav"):
        soundfile.write(path, 0.1 * rng.standard_normal(soundfile.info(path).frames), 16000)
    assert run("--trials", "2", "--seeds", "1") == 0
    after = json.loads((bundle_of(place) / "run.json").read_text())
    assert before["tuning"][0] == after["tuning"][0]  # fold a tests speaker a
    (fit_a,), (fit_b,) = ([f for f in r["fits"] if f["fold"] == "a"] for r in (before, after))
    assert fit_a["history"][-1]["loss"] == fit_b["history"][-1]["loss"]
    assert fit_a["val_uar"] == fit_b["val_uar"]
    fits = [
        place / folder / "fits" / fit["identity"] / "weights.pt"
        for folder, fit in (("runs-before", fit_a), ("runs", fit_b))
    ]
    import torch

    one, two = (torch.load(path, weights_only=True) for path in fits)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("when", "old", "new", "status"),
    [
        ((crossval, "features"), "nn.Tanh()", "nn.ReLU()", 2),
        ((Display, "fitted"), "nn.Tanh()", "nn.Tanh(", 2),  # as it is for a moment while somebody types
        ((Display, "fitted"), "import torch\n", "import torch  # a remark\n", 0),
    ],
    ids=["before the first fit", "between fits, and broken", "a remark"],
)
def test_a_model_that_is_edited_while_it_is_run_makes_no_row_of_two_models(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], when: tuple[object, str],
    old: str, new: str, status: int,
) -> None:  # fmt: skip
    plain = getattr(*when)

    def edit(*given: object) -> object:
        draft = place / f"{threading.get_ident()}.new"
        draft.write_text(MODEL.replace(old, new))
        draft.rename(place / "mean.py")  # in one step, as editors do it
        return plain(*given)

    monkeypatch.setattr(*when, edit)
    assert run("--workers", "2") == status
    assert bool(list((place / "runs").glob("*/run.json"))) == (status == 0)
    if status:
        assert "mean.py was edited while it was run" in capsys.readouterr().err
        (place / "mean.py").write_text(MODEL)
        monkeypatch.setattr(*when, plain)
        assert run() == 0


CENTROIDS = '''
import numpy as np

from sertbench.feature_spec import log_mel
from sertbench.model import Estimator, Recipe


class Centroids(Estimator):
    """The nearest mean."""

    recipe = Recipe(features=log_mel(8))

    def fit(self, train, val):
        self.means = np.stack([train.functionals[train.targets == k].mean(0) for k in range(self.n_classes)])

    def predict_proba(self, examples):
        gaps = np.abs(examples.functionals[:, None] - self.means).sum(2)
        return np.exp(-gaps) / np.exp(-gaps).sum(1, keepdims=True)
'''


def test_an_estimator_that_is_edited_before_its_first_fit_makes_no_row(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "mean.py").write_text(CENTROIDS)
    plain = crossval.features

    def edit(*given: object) -> object:
        (place / "mean.py").write_text(CENTROIDS.replace("np.abs", "np.square"))
        return plain(*given)

    monkeypatch.setattr(crossval, "features", edit)
    assert run() == 2
    assert "mean.py was edited while it was run" in capsys.readouterr().err


def test_a_refit_learns_from_the_validation_part_too_for_the_epochs_that_it_chose(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--protocol", "speaker4-refit", "--seeds", "1") == 0
    assert "[8/8]" in capsys.readouterr().out  # four folds: fits that choose the epoch, and refits
    refit = json.loads((bundle_of(place) / "run.json").read_text())
    shutil.move(place / "runs", place / "refit")
    assert run("--seeds", "1") == 0
    plain = json.loads((bundle_of(place) / "run.json").read_text())
    assert refit["val_uar"] == plain["val_uar"]
    assert [f["epochs"] for f in refit["frozen"]] == [f["epochs"] for f in plain["frozen"]]
    assert [f["fits"] for f in refit["frozen"]] != [f["fits"] for f in plain["frozen"]]
    protocols = pd.read_csv(place / "leaderboards" / "tones.csv").set_index("protocol")["refit"].to_dict()
    assert protocols == {"speaker4/1": 0, "speaker4-refit/1": 1}


def test_shuffled_labels_score_at_chance_and_are_not_ranked(place: Path) -> None:
    assert run("--seeds", "4") == 0
    assert run("--seeds", "4", "--shuffle-labels") == 0
    rows = pd.read_csv(place / "leaderboards" / "tones.csv").set_index("shuffled_labels")
    assert rows.loc[0, "uar_pooled_mean"] > 80
    assert rows.loc[1, "uar_ci95_lo"] <= 50 <= rows.loc[1, "uar_ci95_hi"]
    assert (rows.loc[1, "board"], rows.loc[1, "unranked_reason"]) == ("diagnostic", "shuffled labels")


def test_the_optimism_meter_stands_beside_the_honest_score_and_changes_nothing(place: Path) -> None:
    assert run("--seeds", "1") == 0
    honest = pd.read_csv(place / "leaderboards" / "tones.csv").to_dict("records")[0]
    predictions = (bundle_of(place) / "predictions.parquet").read_bytes()
    assert run("--seeds", "1", "--optimism") == 0
    (row,) = pd.read_csv(place / "leaderboards" / "tones.csv").to_dict("records")
    assert row["uar_pooled_mean"] == honest["uar_pooled_mean"]
    assert (bundle_of(place) / "predictions.parquet").read_bytes() == predictions
    assert row["optimism_test_epoch"] == pytest.approx(row["uar_pooled_mean"] + row["oracle_gap"], abs=0.02)
    assert {"optimism_random_split", "optimism_speaker_norm"} <= set(row)
    assert main(["verify", "leaderboards/tones.csv"]) == 0


def test_the_optimism_meter_compares_no_two_versions(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--seeds", "1", "--protocol", "speaker4-refit") == 0
    monkeypatch.setattr("sertbench.tasks.FEATURES_VERSION", -1)  # of another version of sertbench
    assert run("--seeds", "1", "--protocol", "speaker4-refit", "--optimism") == 2
    assert "was fitted by another version" in capsys.readouterr().err
    assert "optimism" not in json.loads((bundle_of(place) / "run.json").read_text())


# Each case: what is broken, the flags, and what the message must say.


def test_features_are_chosen_on_the_command_line_and_are_rows_of_their_own(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """openSMILE is replaced at its border: an extractor of 88 values that gives the loudness of 88 stretches."""
    monkeypatch.setattr("sertbench.opensmile_features.version", lambda: "9.9")
    monkeypatch.setattr(
        "sertbench.opensmile_features.compute",
        lambda _, wave: np.array([np.abs(s).mean() for s in np.array_split(wave, 88)], np.float32),
    )
    svm = ("--model", "svm", *BASE[2:])
    assert run(base=svm) == 0
    assert run("--features", "functionals", base=svm) == 0
    assert "everything is done already" in capsys.readouterr().out
    assert run("--features", "egemaps", base=svm) == 0
    out = capsys.readouterr().out
    assert "88 values per utterance (opensmile 9.9)" in out
    assert "no commercial use" in out

    rows = pd.read_csv(place / "leaderboards" / "tones.csv").set_index("features")
    assert sorted(rows.index) == ["egemaps", "functionals"]
    assert rows.loc["functionals", "uar_pooled_mean"] > 90
    assert rows.loc["functionals", "uar_pooled_seed_sd"] == 0
    assert rows["features_version"].str.split().str[0].to_dict() == {
        "egemaps": "opensmile",
        "functionals": "functionals",
    }
    assert "no commercial use" in rows.loc["egemaps", "features_licence"]
    assert main(["compare", *rows["row_id"]]) == 0
    assert "svm on egemaps" in capsys.readouterr().out
    assert pd.isna(rows.loc["functionals", "features_licence"])
    assert main(["verify", "leaderboards/tones.csv"]) == 0


@pytest.mark.parametrize(
    ("model", "features", "said"),
    [
        ("mean.py", "egemaps", "model mean takes log_mel. Leave --features out"),
        ("majority", "functionals", "model majority takes no audio features"),
        ("svm", "egemap", "Did you mean 'egemaps'"),
        ("svm", "mfcc", "Known: compare2016, egemaps, functionals"),
    ],
)
def test_features_that_a_model_does_not_take_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str], model: str, features: str, said: str
) -> None:
    assert run("--features", features, base=("--model", model, *BASE[2:])) == 2
    assert said in capsys.readouterr().err


def test_a_refit_keeps_the_candidate_that_the_validation_part_chose(place: Path) -> None:
    assert run("--protocol", "speaker4-refit", base=("--model", "svm", *BASE[2:])) == 0
    fits = json.loads((bundle_of(place) / "run.json").read_text())["fits"]
    stored = [json.loads(p.read_text()) for p in (place / "runs" / "fits").glob("*/fit.json")]
    assert len(stored) == 2 * len(fits)
    assert {f["identity"] for f in fits} < {f["identity"] for f in stored}
    assert sorted([f["best_epoch"] for f in fits] * 2) == sorted(f["best_epoch"] for f in stored)


def drop(place: Path) -> None:
    (place / "data" / "a_high_0.wav").unlink()


def truncate(place: Path) -> None:
    path = place / "data" / "a_high_0.wav"
    path.write_bytes(path.read_bytes()[:2000])


def text(place: Path) -> None:
    (place / "data" / "a_high_0.wav").write_text("hello, this is no audio" * 10)


def silence(place: Path) -> None:
    soundfile.write(place / "data" / "a_high_0.wav", np.zeros(0), 16000)


def relabel(place: Path) -> None:
    (place / "data" / "a_high_0.wav").rename(place / "data" / "a_medium_0.wav")


def empty(place: Path) -> None:
    shutil.rmtree(place / "data")
    (place / "data").mkdir()


def toml(place: Path) -> None:
    (place / "bad.toml").write_text("trails = 3\n")


def nothing(place: Path) -> None:
    del place


@pytest.mark.parametrize(
    ("breaking", "flags", "said"),
    [
        (nothing, ["--model", "galm"], "Did you mean 'glam'"),
        (nothing, ["--dataset", "emobd"], "Did you mean 'emodb'"),
        (nothing, ["--model", "nowhere.py"], "nowhere.py"),
        (nothing, ["--data", "nowhere"], "does not exist"),
        (nothing, ["--protocol", "speaker5"], "Did you mean 'speaker4'"),
        (nothing, ["--labels", "3class"], "Did you mean '2class'"),
        (nothing, ["--subset", "improvised"], "no subset is called 'improvised'"),
        (nothing, ["--epochs", "-3"], "epochs = -3 is not accepted: expected a whole number of at least 1"),
        (nothing, ["--seeds", "0"], "at least 1"),
        (nothing, ["--device", "tpu"], "no device is called 'tpu'"),
        (nothing, ["--precision", "fp8"], "no precision is called 'fp8'"),
        (nothing, ["--config", "nowhere.toml"], "nowhere.toml: No such file"),
        (nothing, ["--runs", "/proc/nowhere"], "cannot write to"),
        (nothing, ["--leaderboards", "/proc/nowhere"], "cannot write to"),
        (empty, [], "is empty"),
        (drop, [], "high: 15 instead of 16"),
        (truncate, [], "a_high_0.wav"),
        (text, [], "a_high_0.wav"),
        (silence, [], "a_high_0.wav"),
        (relabel, [], "unknown label code 'medium'"),
        (toml, ["--config", "bad.toml"], "Did you mean 'trials'"),
    ],
)
def test_bad_input_is_said_in_words_with_status_2(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    breaking: object,
    flags: list[str],
    said: str,
) -> None:
    breaking(place)  # type: ignore[operator]
    assert run(*flags) == 2
    err = capsys.readouterr().err
    assert err.startswith("sertbench: error: ")
    assert said in err
    assert "Traceback" not in err


def test_flags_that_are_no_numbers_are_refused_by_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--epochs", "many"])
    assert stopped.value.code == 2
    assert "'many' is not a whole number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "replacement", "said"),
    [
        ("return self.layers(x.mean(2))", "return self.layers(x)", r"mean.py, line \d+: RuntimeError"),
        (
            "return self.layers(x.mean(2))",
            "raise SystemExit(3)",
            r"mean.py, line \d+: SystemExit: 3 \(a plug-in must not",
        ),
        ("return self.layers(x.mean(2))", "return self.layers(x.mean(2))[:, :1]", r"gives the shape \(2, 1\)"),
        ("return self.layers(x.mean(2))", "return self.layers(x.mean(2)) * float('nan')", "loss became"),
        ("features=log_mel(16), ", "", "names no features"),
    ],
)
def test_a_faulty_model_is_told_in_words(
    place: Path, capsys: pytest.CaptureFixture[str], line: str, replacement: str, said: str
) -> None:
    (place / "mean.py").write_text(MODEL.replace(line, replacement))
    assert run() == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_published_value_that_cannot_be_drawn_is_told_before_anything_else(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = 'return {"mixup": trial.suggest_categorical("mixup", [0.2, 0.4]), '
    (place / "mean.py").write_text(MODEL.replace("return {", narrow))
    assert run("--trials", "2", "--dry-run") == 2
    said = capsys.readouterr().err
    assert "Mean: the search space cannot draw the published mixup = 0.0, only 0.2, 0.4" in said
    assert "suggest_categorical('mixup'" in said
    assert run("--trials", "0", "--dry-run") == 0


def test_a_full_disk_is_an_error_and_the_run_goes_on_later(place: Path) -> None:
    """A limit on the size of files stands for a full disk: features fit, weights do not."""
    command = [sys.executable, "-P", "-m", "sertbench", "run", *BASE]
    assert run("--dry-run") == 0  # the audio index is there

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))

    stopped = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files, check=False)
    assert stopped.returncode == 2, stopped.stderr
    assert "Free some space" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not list((place / "runs").glob("*/run.json"))
    assert run() == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders too")
def test_a_read_only_folder_is_an_error_before_any_work(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "runs").mkdir(mode=0o500)
    assert run() == 2
    assert "cannot write to" in capsys.readouterr().err


def test_what_is_accepted_as_missing_is_left_out_on_a_table_of_its_own(place: Path, capsys) -> None:
    assert run() == 0
    (place / "data" / "a_high_0.wav").write_bytes(b"")
    (place / "data" / "b_low_1.wav").unlink()
    assert run() == 2
    assert "31 utterances instead of 32" in capsys.readouterr().err
    (place / "names.txt").write_text("# broken\na_high_0\nb_low_1.wav\n")
    assert run("--accept-missing", "names.txt") == 2  # this corpus does not know which ids were published
    assert "names b_low_1.wav, which the corpus" in capsys.readouterr().err
    adapter = place / "tones.py"
    ids = 'frozenset(f"{s}_{c}_{n}" for s in "abcd" for c in ("high", "low") for n in range(4))'
    adapter.write_text(ADAPTER + f"\n    def expected_ids(self):\n        return {ids}\n")
    assert run("--accept-missing", "names.txt") == 0
    out = capsys.readouterr().out
    assert "2 named by --accept-missing: a_high_0, b_low_1.wav" in out
    assert "30 utterances, without the 2 of --accept-missing" in out
    old, new = sorted(pd.read_csv("leaderboards/tones.csv").to_dict("records"), key=lambda r: r["n_excluded"])
    assert (old["rank"], old["n_utt_scored"], old["n_excluded"]) == (1, 32, 0)
    assert (new["rank"], new["n_utt_scored"], new["n_excluded"]) == (1, 30, 2)  # first on its own table
    (written,) = [p for p in (place / "runs").glob("*/run.json") if new["row_id"] in p.parent.name]
    record = json.loads(written.read_text())
    assert record["corpus"]["excluded"] == ["a_high_0", "b_low_1.wav"]
    assert record["corpus"]["excluded_sha256"] == new["excluded_sha256"]
    assert main(["verify", str(written.parent)]) == 0
    (place / "names.txt").unlink()
    shutil.move(written.parent, place / "moved")
    assert main(["run", "--config", "moved/config.toml"]) == 0
    assert (written.parent / "run.json").exists()  # the same row id
    assert len(pd.read_csv("leaderboards/tones.csv")) == 2
    (place / "data" / "c_low_1.wav").unlink()
    assert main(["run", "--config", "moved/config.toml"]) == 2
    assert "1 missing: c_low_1" in capsys.readouterr().err


def test_a_corpus_cannot_take_the_name_of_the_cross_corpus_board(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(place / "tones.py", place / "cross.py")
    assert run("--dataset", "cross.py") == 2
    assert "a corpus cannot be called cross" in capsys.readouterr().err


def test_exclusions_that_touch_no_class_of_the_label_set_still_make_a_table_of_their_own(place: Path) -> None:
    adapter = place / "tones.py"
    adapter.write_text(ADAPTER.replace('"low": "low"}\n', '"low": "low", "odd": "odd"}\n', 1))
    shutil.copy(place / "data" / "a_high_0.wav", place / "data" / "a_odd_0.wav")
    (place / "names.txt").write_text("a_odd_0\n")
    assert run() == 0
    assert run("--accept-missing", "names.txt") == 0
    rows = pd.read_csv("leaderboards/tones.csv")
    assert rows["corpus_manifest_sha256"].nunique() == 1
    assert rows["rank"].tolist() == [1, 1]
    assert sorted(rows["excluded_sha256"].fillna("").str.len()) == [0, 64]
