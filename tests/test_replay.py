"""Replays on a small corpus of tones: counts, drops, epochs, resumption, the table, and each way to ask wrongly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sertbench import claim_file, replay, replay_fits
from sertbench.claim import SplitRule
from sertbench.cli import main

ADAPTER = '''
from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.protocol_rules import SharedValidation
from sertbench.protocols import GroupFolds


class Tones(Corpus):
    """Tones: two labels told apart by pitch."""

    citation = licence = access = language = "none"
    layout = "wav files such as a_high_0.wav"
    labels = {"high": "high", "low": "low"}
    label_sets = (LabelSet("2class", {"high": "high", "low": "low"}),)
    groups = {s: (s,) for s in "abc"}
    protocols = (GroupFolds("speaker3", 1, "speaker", groups), SharedValidation("shared", 1, "speaker", groups))
    subsets = ("loud",)

    def utterances(self, root):
        for path in wav_files(root):
            speaker, code, take = path.stem.split("_")
            yield Utterance(path.stem, path, code, speaker, style="loud" if int(take) < 3 else "soft")
'''

MODEL = '''
from torch import nn

from sertbench.feature_spec import log_mel
from sertbench.model import NeuralModel, Recipe


class Mean(NeuralModel):
    """Linear classifier on the mean log-mel spectrum."""

    paper = "none"
    recipe = Recipe(features=log_mel(8), window=0.3, hop=0.2, epochs=4, patience=1, batch_size=8, learning_rate=0.3)

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.layer = nn.Linear(input_shape[0], n_classes)

    def forward(self, x):
        return self.layer(x.mean(2))
'''

CLAIM = """
title = "Tones"
paper = "Nobody, Nowhere 2026"
sources = ["https://example.org"]
differs = ["speakers on both sides"]
not_known = ["why"]
drop_shorter_than = 0.3
names = { weighted_f1 = "micro F1" }
[seeds]
list = [7, 2600000001, 9]
[[corpora]]
dataset = "tones.py"
labels = "2class"
subsets = { all = [24, 18], loud = [18, 12] }
[[splits]]
name = "80-20"
rule = "random"
train = 0.7
epoch = "best on test"
by = ["wa", "ua"]
[[splits]]
name = "folds-last"
rule = "kfold"
folds = 3
epoch = "last"
score = "mean of folds"
[[splits]]
name = "shared"
rule = "protocol"
protocol = "shared"
epoch = "best on validation"
[[models]]
name = "mean.py"
recipe = { hop = 0.1999375 }
differs = ["a hop of 3199 samples"]
[[models]]
name = "unwritten"
[[variants]]
name = "mixed"
models = ["mean.py"]
subsets = ["all"]
splits = ["80-20"]
recipe = { mixup = 1 }
[[published]]
model = "mean.py"
split = "80-20"
wa = [99.5, 0.5]
weighted_f1 = [99.4]
source = "table 1"
[[published]]
model = "unwritten"
split = "80-20"
ua = [90]
source = "table 2"
"""


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three speakers, two labels, four takes each: 24 files, of which a quarter is shorter than 0.3 s."""
    root = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    for s, speaker in enumerate("abc"):
        for code, pitch in (("high", 900.0), ("low", 500.0)):
            for take in range(4):
                n = 4799 if take == 0 else 4800 + 3199 * (take - 1)
                wave = 0.1 * np.sin(2 * np.pi * (pitch + 20 * s) * np.arange(n) / 16000) + rng.standard_normal(n)
                soundfile.write(root / f"{speaker}_{code}_{take}.wav", 0.2 * wave, 16000)
    return root


@pytest.fixture
def place(tmp_path: Path, tones: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the adapter, the model, the claim and a copy of the corpus."""
    for name, text in (("tones.py", ADAPTER), ("mean.py", MODEL), ("mine.toml", CLAIM)):
        (tmp_path / name).write_text(text)
    shutil.copytree(tones, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def run(*more: str) -> int:
    return main(["replay", "mine.toml", "--data", "data", "--workers", "1", *more])


def small(*more: str) -> int:
    return run("--models", "mean.py", "--splits", "80-20", "--subsets", "all", *more)


def test_a_model_that_is_edited_while_it_is_replayed_makes_no_row(place, monkeypatch, capsys):
    plain = replay.features

    def edit(*given):
        (place / "mean.py").write_text(MODEL.replace("x.mean(2)", "x.amax(2)"))
        return plain(*given)

    monkeypatch.setattr(replay, "features", edit)
    assert small("--seeds", "1", "--epochs", "1") == 2
    assert "mean.py was edited while it was run" in capsys.readouterr().err
    assert not (place / "leaderboards" / "replication").exists()


def table(place: Path) -> pd.DataFrame:
    return pd.read_csv(place / "leaderboards" / "replication" / "mine.csv", keep_default_na=False)


def bundle_of(place: Path) -> Path:
    (run_json,) = (place / "runs" / "replays").glob("*/run.json")
    return run_json.parent


def test_the_plan_tells_counts_seeds_and_what_is_optimistic_and_trains_nothing(place, capsys):
    assert run("--dry-run", "--seeds", "2") == 0

    out = " ".join(capsys.readouterr().out.split())
    assert "all: 24 utterances, 18 of them at least 0.3 s (as the claim says)" in out
    assert "loud: 18 utterances, 12 of them at least 0.3 s (as the claim says)" in out
    assert (
        "80-20, all: 100 % of the test speakers are in training; the epoch is chosen on the test part; 6 of 24" in out
    )
    assert "shared, all: validation shares speakers with training; 6 of 24 utterances are dropped" in out
    # per subset 2 + 2 x 3 + 2 x 3; the last of three random folds trains on what the random 70 % do: 2 less
    assert "24 for 6 settings; seeds: 7, 2600000001" in out
    assert "not in the registry, so not replayed: unwritten" in out
    assert not (place / "runs").exists()
    assert not (place / "leaderboards").exists()


def test_a_whole_replay_ends_in_a_table_a_board_and_verifiable_bundles(place, capsys):
    assert run("--seeds", "2", "--epochs", "2") == 0

    out = capsys.readouterr().out
    assert "99.50 ± 0.50" in out
    assert "weighted F1 ('micro F1' there)" in out
    assert "not in the registry" in out
    assert "90.00" in out
    assert "differs: mean: a hop of 3199 samples" in out
    assert "not known: why" in out
    assert "no honest row yet: sertbench run --model " in out
    rows = table(place)
    assert len(rows) == 6
    assert set(rows["board"]) == {"replication"}
    assert set(rows["ranked"]) == {0}
    first = rows[(rows["split"] == "80-20") & (rows["subset"] == "all")].iloc[0]
    assert (first["n_utt_before"], first["n_utt_kept"], first["counts_asserted"]) == (24, 18, 1)
    assert (first["published_wa"], first["published_wa_sd"], first["published_ua"]) == ("99.50", "0.50", "")
    assert (first["seeds"], first["max_epochs"], first["hop_seconds"]) == ("7 2600000001", 2, 0.1999375)
    assert "the epoch is chosen on the test part" in first["dishonest"]
    shared = rows[(rows["split"] == "shared") & (rows["subset"] == "all")].iloc[0]
    assert (shared["n_folds"], shared["n_utt_scored"]) == (3, 18)
    assert main(["verify", "leaderboards/replication/mine.csv"]) == 0
    assert main(["verify", str(next((place / "runs" / "replays").glob("mine-folds-last*all*")))]) == 0


def test_the_bundle_holds_what_was_dropped_drawn_and_reported(place):
    assert small("--seeds", "2") == 0

    folder = bundle_of(place)
    written = json.loads((folder / "run.json").read_text())
    split = pd.read_parquet(folder / "split.parquet")
    frame = pd.read_parquet(folder / "predictions.parquet")
    assert written["corpus"]["dropped"] == [f"{s}_{c}_0" for s in "abc" for c in ("high", "low")]
    assert not set(split["utterance"]) & set(written["corpus"]["dropped"])
    parts = {fold: part[part["role"] == "train"]["utterance"].to_list() for fold, part in split.groupby("fold")}
    ids = sorted(set(split["utterance"]))
    for seed in (7, 2600000001):
        np.random.seed(seed)
        drawn = np.random.choice(range(18), int(18 * 0.7), replace=False)
        assert sorted(parts[f"{seed}/1"]) == sorted(ids[i] for i in drawn)
    assert [f["seed"] for f in written["fits"]] == [7, 2600000001]
    for fit in written["fits"]:
        part = frame[frame["seed"] == fit["seed"]]
        assert set(part["epoch"]) == {fit["reported_epoch"]}
        assert len(fit["history"]) == 4, "a replay does not stop early, although the recipe's patience is 1"
        wa = (part[["p_high", "p_low"]].to_numpy().argmax(1) == part["target"]).mean()
        last = (part[["last_high", "last_low"]].to_numpy().argmax(1) == part["target"]).mean()
        assert wa >= last


def test_windows_of_the_claims_hop_are_3199_samples_apart(place):
    assert small("--seeds", "1", "--dry-run") == 0
    plan_of = claim_file.load("mine.toml")
    from sertbench.commands import console
    from sertbench.cost import items_per_utterance
    from sertbench.progress import Display
    from sertbench.replay_choice import ReplayConfig
    from sertbench.replay_plan import make

    asked = ReplayConfig(models=("mean.py",), splits=("80-20",), subsets=("all",), seeds=1, data="data")
    (setting,) = make(plan_of, asked, Display(console())).settings

    assert sorted(set(items_per_utterance(setting.plan).tolist())) == [1, 2, 3]  # takes 1, 2 and 3 fit to the sample
    assert setting.plan.recipe.hop * 16000 == 3199


def test_the_same_command_does_nothing_twice_and_more_seeds_reuse_the_finished_fits(place, capsys):
    assert small("--seeds", "1") == 0
    once = table(place)
    capsys.readouterr()

    assert small("--seeds", "1") == 0
    assert "1 of 1 settings are done already" in capsys.readouterr().out
    assert table(place).equals(once)

    assert small("--seeds", "2") == 0
    out = capsys.readouterr().out
    assert out.count("was done already") == 1
    assert list(table(place)["n_seeds"]) == [1, 2]
    shutil.rmtree(place / "runs" / "replays")
    assert small("--seeds", "2") == 0
    assert capsys.readouterr().out.count("was done already") == 2
    numbers = [c for c in once if c.startswith(("replayed", "last_epoch"))]
    assert table(place).iloc[0][numbers].equals(once.iloc[0][numbers])


def test_a_replay_that_was_interrupted_goes_on_where_it_was(place, monkeypatch, capsys):
    saved = replay.save

    def power_cut(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(replay, "save", power_cut)
    assert small("--seeds", "2") == 130
    monkeypatch.setattr(replay, "save", saved)
    assert not list((place / "runs" / "replays").glob("*/run.json"))
    capsys.readouterr()

    assert small("--seeds", "2") == 0
    assert capsys.readouterr().out.count("was done already") == 2


def test_two_splits_that_differ_in_the_reported_epoch_alone_share_their_fits(place, capsys):
    text = CLAIM.replace('name = "80-20"', 'name = "80-20-last"').replace("best on test", "last")
    both = CLAIM + text[text.index("[[splits]]") : text.index('name = "folds-last"')].rpartition("[[splits]]")[0]
    (place / "mine.toml").write_text(both)

    assert run("--models", "mean.py", "--splits", "80-20", "80-20-last", "--subsets", "all", "--seeds", "1") == 0

    out = capsys.readouterr().out
    assert "1 for 2 settings" in out
    assert out.count("val UAR") == 1
    rows = table(place).set_index("split")
    assert rows.loc["80-20-last", "replayed_wa"] == rows.loc["80-20", "last_epoch_wa"]


def test_two_splits_with_one_training_part_share_their_fits(place, capsys):
    three = """[[splits]]
name = "three"
rule = "random"
train = 0.7
validation = 0.15
epoch = "best on validation"
"""
    (place / "mine.toml").write_text(CLAIM + three)

    assert run("--models", "mean.py", "--splits", "80-20", "three", "--subsets", "all", "--seeds", "2") == 0

    assert capsys.readouterr().out.count("val UAR") == 2, "one fit for each seed"
    rows = table(place).set_index("split")
    assert list(rows.loc[["80-20", "three"], "n_utt_scored"]) == [6, 4]
    assert main(["verify", "leaderboards/replication/mine.csv"]) == 0


def test_variants_stand_beside_the_model_as_published(place, capsys):
    assert small("--seeds", "1", "--epochs", "1", "--variants", "all") == 0

    assert [(r["variant"], r["mixup"], r["published_wa"]) for _, r in table(place).iterrows()] == [
        ("", 0.0, "99.50"),
        ("mixed", 1.0, ""),
    ]
    assert "mean mixed" in capsys.readouterr().out


def test_the_honest_row_of_the_same_model_stands_beside_and_gives_the_optimism(place, capsys):
    honest = ["run", "--model", "mean.py", "--dataset", "tones.py", "--data", "data", "--trials", "0", "--seeds", "1"]
    assert main([*honest, "--epochs", "1", "--workers", "1"]) == 0

    assert small("--seeds", "1") == 0

    (row,) = table(place).to_dict("records")
    (ranked,) = pd.read_csv(place / "leaderboards" / "tones.csv").to_dict("records")
    assert float(row["honest_ua"]) == ranked["uar_pooled_mean"]
    assert row["honest_bundle"] == ranked["bundle"]
    assert float(row["optimism_ua"]) == pytest.approx(float(row["replayed_ua"]) - ranked["uar_pooled_mean"], abs=0.006)
    assert "no honest row yet" not in capsys.readouterr().out
    assert main(["verify", "leaderboards/replication/mine.csv"]) == 0
    shutil.rmtree(place / "leaderboards")
    assert small("--seeds", "1") == 0, "the bundle is enough"
    assert table(place).iloc[0]["honest_bundle"] == ranked["bundle"]


@pytest.mark.parametrize("other", [{"features": "mfcc"}, {"corpus_manifest_sha256": "0" * 64}])
def test_a_newer_row_on_other_features_or_utterances_is_no_honest_row_of_it(other, place, capsys):
    honest = ["run", "--model", "mean.py", "--dataset", "tones.py", "--data", "data", "--trials", "0", "--seeds", "1"]
    assert main([*honest, "--epochs", "1", "--workers", "1"]) == 0
    board = place / "leaderboards" / "tones.csv"
    ranked = pd.read_csv(board, dtype=str, keep_default_na=False)
    newer = ranked.assign(**other, date_utc="9999-01-01T00:00:00+00:00", row_id="ffffffffff", uar_pooled_mean="1.00")
    pd.concat([ranked, newer]).to_csv(board, index=False)

    assert small("--seeds", "1") == 0

    assert table(place).iloc[0]["honest_row_id"] == ranked["row_id"][0]
    shutil.rmtree(place / "runs")
    newer.to_csv(board, index=False)
    (place / "leaderboards" / "replication" / "mine.csv").unlink()
    assert small("--seeds", "1") == 0
    assert "no honest row yet: sertbench run --model" in capsys.readouterr().out


def test_verify_names_a_replayed_figure_that_was_edited(place, capsys):
    assert small("--seeds", "1") == 0
    board = place / "leaderboards" / "replication" / "mine.csv"
    assert main(["leaderboard", "--check"]) == 0
    board.write_text(board.read_text().replace(",99.50,0.50,", ",66.66,0.50,"))
    assert main(["verify", str(board)]) == 1
    assert "published_wa is '66.66'" in capsys.readouterr().out
    assert main(["leaderboard", "--check"]) == 1
    assert "published_wa is '66.66'" in capsys.readouterr().out

    folder = bundle_of(place)
    frame = pd.read_parquet(folder / "predictions.parquet")
    frame.iloc[1:].to_parquet(folder / "predictions.parquet", index=False)
    assert main(["verify", str(folder)]) == 1
    assert "utterances scored with seed 7" in capsys.readouterr().out


def test_on_another_label_set_or_corpus_nothing_is_published_and_no_count_asserted(place, capsys):
    (place / "mine.toml").write_text(
        CLAIM.replace('dataset = "tones.py"', 'dataset = "demo"').replace("2class", "4class")
    )

    assert small("--dataset", "tones.py", "--seeds", "1", "--epochs", "1") == 0

    (row,) = table(place).to_dict("records")
    assert (row["corpus"], row["published_wa"], row["counts_asserted"], row["n_utt_kept"]) == ("tones", "", 0, 18)
    assert "no count is claimed" in capsys.readouterr().out


def test_an_estimator_is_replayed_in_one_epoch(place, capsys):
    assert run("--models", "majority", "--splits", "80-20", "--subsets", "all", "--seeds", "1") == 0

    (row,) = table(place).to_dict("records")
    assert float(row["replayed_ua"]) == float(row["last_epoch_ua"]) == 50
    assert "not a model of the paper" in row["differs"]
    assert "no honest row: majority on tones is never ranked (diagnostic)" in capsys.readouterr().out


def test_features_of_another_version_are_another_replay(place, monkeypatch, capsys):
    once = "--models", "majority", "--splits", "80-20", "--subsets", "all", "--seeds", "1"
    assert run(*once) == 0
    monkeypatch.setattr("sertbench.utterance_features.versions", lambda _: {"librosa": "99"})

    assert run(*once) == 0

    assert "are done already" not in capsys.readouterr().out
    assert len(list((place / "runs" / "replays").glob("*/run.json"))) == 2


@pytest.mark.slow
def test_worker_processes_give_the_same_figures(place):
    assert small("--seeds", "2") == 0
    alone = table(place)
    shutil.rmtree(place / "runs")
    shutil.rmtree(place / "leaderboards")

    assert small("--seeds", "2", "--workers", "2") == 0

    numbers = [c for c in alone if c.startswith(("replayed", "last_epoch"))]
    assert table(place)[numbers].equals(alone[numbers])


WRONG = {
    "seeds": (("--seeds", "4"), "--seeds 4 is not accepted: the claim mine has 1 to 3 seeds"),
    "no seeds": (("--seeds", "0"), "--seeds 0 is not accepted"),
    "subset": (("--subsets", "quiet"), "no subset is called 'quiet'. Known: all, loud"),
    "split": (("--splits", "80-2"), "no split is called '80-2'. Did you mean '80-20'"),
    "variant": (("--variants", "mixd"), "no variant is called 'mixd'. Did you mean 'mixed'"),
    "model": (("--models", "glamm"), "no model is called 'glamm'. Did you mean 'glam'"),
    "dataset": (("--dataset", "emo"), "no dataset is called 'emo'"),
    "label set": (("--labels", "9class"), "no label set is called '9class'"),
    "device": (("--device", "tpu"), "no device is called 'tpu'"),
    "epochs": (("--epochs", "0"), "epochs = 0 is not accepted"),
}


@pytest.mark.parametrize(("options", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_replayed_is_refused_before_any_training(options, said, place, capsys):
    assert run(*options) == 2

    assert said in " ".join(capsys.readouterr().err.split())
    assert not (place / "runs").exists()


BROKEN = {
    "another count": (
        "all = [24, 18]",
        "all = [25, 18]",
        "25 utterances, 18 of at least 0.3 s. This copy has 24 and 18",
    ),
    "a recipe setting": ("hop = 0.1999375", "hops = 1", "no recipe setting is called 'hops'. Did you mean 'hop'"),
    "its value": ("hop = 0.1999375", 'hop = "3199"', "recipe.hop = '3199' is not accepted"),
    "no epochs": ("hop = 0.1999375", "epochs = 0", "recipe.epochs and batch_size must be 1 or more"),
    "no step": ("hop = 0.1999375", "hop = -1", "both must be positive"),
    "its features": ("hop = 0.1999375", 'features = "mfcc"', "no recipe setting is called 'features'"),
    "too long": ("drop_shorter_than = 0.3", "drop_shorter_than = 30", "are shorter than 30.0 s"),
    "a protocol": ('protocol = "shared"', 'protocol = "sharde"', "no protocol of this corpus is called 'sharde'"),
}


@pytest.mark.parametrize(("old", "new", "said"), BROKEN.values(), ids=BROKEN)
def test_a_claim_that_does_not_fit_the_corpus_or_the_model_is_refused(old, new, said, place, capsys):
    assert old in CLAIM
    (place / "mine.toml").write_text(CLAIM.replace(old, new))

    assert run("--models", "mean.py") == 2

    assert said in " ".join(capsys.readouterr().err.split())
    assert not (place / "runs").exists()


def test_a_claim_about_several_corpora_asks_which(capsys):
    assert main(["replay", "timnet-2023", "--models", "cnn"]) == 2

    assert "choose one with --dataset: casia, emodb, emovo, iemocap" in " ".join(capsys.readouterr().err.split())


def test_a_split_that_is_about_another_corpus_is_refused(capsys):
    assert main(["replay", "emobox", "--models", "cnn", "--dataset", "ravdess"]) == 2

    assert "has no split sessions, emodb-folds for ravdess, only for emodb, iemocap" in capsys.readouterr().err


def test_claims_are_listed_without_torch(capsys):
    assert main(["list", "claims"]) == 0

    out = capsys.readouterr().out
    assert all(name in out for name in ("glam-icassp22", "superb-er", "emobox", "timnet-2023"))


# --- the epoch that is reported


def epochs(*right: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of as many epochs, each with so many of four predictions right, and the targets."""
    targets = np.array([0, 0, 0, 1])
    stack = []
    for n in right:
        answers = np.where(np.arange(4) < n, targets, 1 - targets)
        stack.append(np.eye(2)[answers])
    return np.stack(stack), targets


@pytest.mark.parametrize(
    ("rule", "by", "chosen"),
    [
        ("last", ("wa",), 3),
        ("best on test", ("wa",), 1),  # of equals the first
        ("best on test", ("wa", "ua"), 1),
        ("best on validation", ("ua",), 2),
    ],
)
def test_the_reported_epoch_follows_the_rule(rule, by, chosen):
    given = SplitRule("x", "random", rule, train=0.5, by=by)

    assert replay_fits.epoch_of(given, epochs(1, 3, 3, 2), epochs(1, 2, 4, 4), 2) == chosen


def test_the_best_epoch_depends_on_the_score_that_chooses():
    targets = np.array([0, 0, 0, 1])
    majority, balanced = np.array([0, 0, 0, 0]), np.array([0, 1, 1, 1])
    stack = np.stack([np.eye(2)[majority], np.eye(2)[balanced]]), targets

    def best(*by: str) -> int:
        return replay_fits.epoch_of(SplitRule("x", "random", "best on test", by=by), stack, stack, 2)

    assert (best("wa"), best("ua")) == (0, 1)  # WA 75 and 50, UA 50 and 67
