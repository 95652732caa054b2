"""Cross-corpus runs: which emotions are shared, who validates, what the gate sees, and a board of their own."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from sertbench import board_files, bundle, cross, cross_board, cross_corpus, crossval, files, plugins, verify
from sertbench.bundles import Bundles
from sertbench.cli import main
from sertbench.corpus import LabelSet, Manifest, Utterance
from sertbench.cross_corpus import CrossCorpus, Part
from sertbench.errors import ConfigError, CorpusError, ProtocolError

ADAPTER = '''
from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.protocols import GroupFolds

LABELS = {labels}


class Tones(Corpus):
    """Tones: labels told apart by pitch."""

    citation = licence = access = language = "none"
    layout = "wav files such as a_high_0.wav"
    labels = {{label: label for label in LABELS}}
    label_sets = (LabelSet("all", labels), LabelSet("first", {{LABELS[0]: LABELS[0]}}))
    protocols = (GroupFolds("speaker3", 1, "speaker", {{s: (s,) for s in "abc"}}),)
    speaker_pool = "{pool}"

    def utterances(self, root):
        for path in wav_files(root):
            speaker, code, _ = path.stem.split("_")
            yield Utterance(path.stem, path, self.label_of(code, path), speaker, text="s1")
'''

MODEL = '''
from torch import nn

from sertbench.feature_spec import log_mel
from sertbench.model import NeuralModel, Recipe


class Mean(NeuralModel):
    """Linear classifier on the mean log-mel spectrum."""

    paper = "none"
    recipe = Recipe(features=log_mel(8), window=0.4, hop=0.2, epochs=3, batch_size=8, learning_rate=0.05)

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.layers = nn.Linear(input_shape[0], n_classes)

    def forward(self, x):
        return self.layers(x.mean(2))
'''
PITCHES = {"anger": 1200.0, "angry": 1200.0, "joy": 700.0, "happy": 700.0, "neutral": 300.0, "calm": 200.0}
COMMON = ("--model", "mean.py", "--trials", "0", "--seeds", "1", "--workers", "1")


def write_corpus(here: Path, name: str, labels: tuple[str, ...], seed: int, pool: str = "") -> None:
    (here / f"{name}.py").write_text(ADAPTER.format(labels=repr(labels), pool=pool))
    (here / name).mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for speaker in "abc":
        for label in labels:
            for take in range(2):
                t = np.arange(9600) / 16000
                pitch = PITCHES[label] * rng.uniform(0.97, 1.03)
                wave = 0.3 * np.sin(2 * np.pi * pitch * t) + 0.05 * rng.standard_normal(len(t))
                soundfile.write(here / name / f"{speaker}_{label}_{take}.wav", wave, 16000)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two corpora that call two shared emotions by other names, and a matrix that was run on them."""
    here = tmp_path_factory.mktemp("cross")
    (here / "mean.py").write_text(MODEL)
    write_corpus(here, "one", ("anger", "joy", "calm"), 0)
    write_corpus(here, "two", ("angry", "happy", "neutral"), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("SERTBENCH_CACHE", str(here / "cache"))
        assert main(["cross", "--matrix", "one.py,two.py", *DATA, *COMMON]) == 0
    return here


DATA = ("--data", "one.py=one", "--data", "two.py=two")


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    monkeypatch.setenv("SERTBENCH_CACHE", str(place / "cache"))
    return place


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["cross", *arguments]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


ESTIMATOR = '''
import numpy as np

from sertbench.feature_spec import log_mel
from sertbench.model import Estimator, Recipe


class Centroids(Estimator):
    """The nearest mean."""

    paper = "none"
    recipe = Recipe(features=log_mel(8))

    def fit(self, train, val):
        self.means = np.stack([train.functionals[train.targets == k].mean(0) for k in range(self.n_classes)])

    def predict_proba(self, examples):
        gaps = np.abs(examples.functionals[:, None] - self.means).mean(2)
        return np.exp(-gaps) / np.exp(-gaps).sum(1, keepdims=True)
'''


def test_an_estimator_that_is_edited_before_its_first_fit_makes_no_row(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, plain = tmp_path / "nearest.py", crossval.features
    model.write_text(ESTIMATOR)

    def edit(*given: Any) -> Any:
        model.write_text(ESTIMATOR.replace("np.abs", "np.square"))
        return plain(*given)

    monkeypatch.setattr(crossval, "features", edit)
    places = ("--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards"))
    own = ("--model", str(model), "--trials", "0", "--seeds", "1", "--workers", "1")
    assert "nearest.py was edited while it was run" in refused(
        capsys, "--train", "one.py", "--test", "two.py", *DATA, *own, *places
    )
    assert not (tmp_path / "boards" / "cross.csv").exists()


def part(name: str, classes: tuple[str, ...]) -> Part:
    label_set = LabelSet("own", {c: c for c in classes})
    empty = Manifest(name, "own", "all", classes, (), (), (), ())
    return Part(name, name, plugins.load_corpus("demo").corpus, label_set, empty)


def test_names_of_an_emotion_are_one_class_in_a_fixed_order() -> None:
    parts = [part("a", ("sadness", "joy", "anger", "boredom")), part("b", ("angry", "sad", "happiness", "fear"))]
    assert cross_corpus.shared_classes(parts, {}) == ("angry", "happy", "sad")
    said = cross_corpus.describe_mapping(parts, ("angry", "happy", "sad"), {})
    assert said["a"] == {
        "label_set": "own",
        "classes": {"angry": ["anger"], "happy": ["joy"], "sad": ["sadness"]},
        "left_out": ["boredom"],
    }


def test_calm_is_not_neutral_and_excited_is_not_happy_unless_the_user_says_so() -> None:
    parts = [part("a", ("angry", "calm", "excited")), part("b", ("angry", "neutral", "happy"))]
    with pytest.raises(ConfigError, match="share 1 emotions, and two is the least") as error:
        cross_corpus.shared_classes(parts, {})
    assert "--merge calm=neutral" in str(error.value)
    merged = cross_corpus.read_merges(["calm=neutral"], [p.label_set for p in parts])
    assert cross_corpus.shared_classes(parts, merged) == ("angry", "neutral")
    with pytest.raises(ConfigError, match="no emotion of these corpora is called 'clam'"):
        cross_corpus.read_merges(["clam=neutral"], [p.label_set for p in parts])
    with pytest.raises(ConfigError, match="expected ONE=OTHER"):
        cross_corpus.read_merges(["calm"], [p.label_set for p in parts])
    for chain in (["calm=neutral", "neutral=angry"], ["calm=neutral", "neutral=calm"], ["calm=calm"]):
        with pytest.raises(ConfigError, match="Name the emotion"):
            cross_corpus.read_merges(chain, [p.label_set for p in parts])


def test_every_class_of_every_built_in_corpus_stands_for_itself_or_a_known_name() -> None:
    for name, loaded in plugins.load_corpora().items():
        for label_set in loaded.corpus.label_sets:
            for c in label_set.classes:
                once = cross_corpus.canonical(c, {})
                assert cross_corpus.canonical(once, {}) == once, (name, c)


def people(corpus: str, genders: str) -> list[Utterance]:
    return [
        Utterance(f"{corpus}/{i}{take}", Path(), "angry", f"{corpus}/{i}", gender={"w": "female", "m": "male"}[g])
        for i, g in enumerate(genders)
        for take in "xy"
    ]


def test_a_fifth_of_the_speakers_of_each_training_corpus_validates_women_and_men() -> None:
    everybody = sorted(people("a", "wwwwwmmmmm") + people("b", "mw") + people("c", "wm"), key=lambda u: u.id)
    (fold,) = CrossCorpus(("a", "b"), ("c",)).split(everybody).folds
    speakers = {role: {everybody[i].speaker for i in fold.part(role)} for role in ("train", "val", "test")}
    assert speakers["test"] == {"c/0", "c/1"}
    assert not speakers["train"] & speakers["val"]
    assert len({s for s in speakers["val"] if s.startswith("a/")}) == 2
    assert {next(u.gender for u in everybody if u.speaker == s) for s in speakers["val"] if s[0] == "a"} == {
        "female",
        "male",
    }
    assert sum(s.startswith("b/") for s in speakers["val"]) == 1
    assert (
        CrossCorpus(("a", "b"), ("c",)).split(everybody).sha256
        == CrossCorpus(("a", "b"), ("c",)).split(everybody).sha256
    )


def test_a_corpus_of_one_speaker_trains_only() -> None:
    everybody = sorted(people("a", "w") + people("b", "mw") + people("c", "wm"), key=lambda u: u.id)
    (fold,) = CrossCorpus(("a", "b"), ("c",)).split(everybody).folds
    assert {everybody[i].speaker for i in fold.train} >= {"a/0"}
    with pytest.raises(ProtocolError, match="Train on a corpus of two speakers"):
        CrossCorpus(("a",), ("c",)).split([u for u in everybody if u.id[0] != "b"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say which corpora"),
        (["--train", "one.py"], "say which corpora"),
        (["--matrix", "one.py,two.py", "--train", "one.py", "--test", "two.py"], "say which corpora"),
        (["--matrix", "one.py"], "name two corpora or more"),
        (["--matrix", "one.py,one.py"], "named more than once"),
        (["--train", "one.py", "--test", "one.py"], "cannot train and be tested"),
        (["--train", "one.py", "--test", "nowhere"], "no dataset is called 'nowhere'"),
        (["--train", "one.py", "--test", "two.py", "--data", "three=3"], "no corpus of this command is called 'three'"),
        (["--train", "one.py", "--test", "two.py", "--data", "one"], "expected NAME=VALUE"),
        (["--train", "one.py", "--test", "two.py", *DATA, "--labels", "one.py=x"], "no label set is called 'x'"),
        (["--train", "one.py", "--test", "two.py", *DATA, "--labels", "one.py=first"], "share 1 emotions"),
        (["--train", "one.py", "--test", "two.py", *DATA, "--model", "galm"], "no model is called 'galm'"),
    ],
)
def test_what_a_user_gets_wrong(
    here: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, *arguments)


def test_leave_one_out_trains_on_all_others() -> None:
    assert cross.pairs((), (), (), ("a", "b", "c")) == (
        (("b", "c"), ("a",)),
        (("a", "c"), ("b",)),
        (("a", "b"), ("c",)),
    )


def test_a_copy_of_a_test_file_among_the_training_corpora_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERTBENCH_CACHE", str(tmp_path / "cache"))
    write_corpus(tmp_path, "one", ("anger", "joy"), 0)
    write_corpus(tmp_path, "two", ("angry", "happy"), 1)
    (tmp_path / "mean.py").write_text(MODEL)
    (tmp_path / "two" / "a_angry_0.wav").write_bytes((tmp_path / "one" / "b_anger_1.wav").read_bytes())
    arguments = ("--train", "one.py", "--test", "two.py", *DATA, *COMMON)
    said = refused(capsys, *arguments)
    assert "the folds leak" in said
    assert "one/b_anger_1 = two/a_angry_0" in said
    assert not (tmp_path / "runs").exists()


def test_corpora_that_share_speakers_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERTBENCH_CACHE", str(tmp_path / "cache"))
    write_corpus(tmp_path, "one", ("anger", "joy"), 0, pool="studio")
    write_corpus(tmp_path, "two", ("angry", "happy"), 1, pool="studio")
    (tmp_path / "mean.py").write_text(MODEL)
    said = refused(capsys, "--train", "one.py", "--test", "two.py", *DATA, *COMMON)
    assert "speaker" in said
    assert "studio/a" in said


def test_two_corpora_with_several_channels_need_the_same_rule() -> None:
    parts = [part("a", ("angry",)), part("b", ("angry",)), part("c", ("angry",))]
    for one, rule in zip(parts, ("mono", "left", "mean"), strict=True):
        object.__setattr__(one, "corpus", type("Other", (type(one.corpus),), {"channel": rule})())
    assert cross_corpus.channel_of(parts[:2]) == "left"
    with pytest.raises(CorpusError, match="take different channels"):
        cross_corpus.channel_of(parts)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_matrix_has_a_row_per_cell_on_a_board_of_its_own(here: Path) -> None:
    assert [p.name for p in (here / "leaderboards").glob("*.csv")] == ["cross.csv"]
    found = {(r["train"], r["test"]): r for r in rows(here / "leaderboards" / "cross.csv")}
    assert set(found) == {("one", "one"), ("one", "two"), ("two", "one"), ("two", "two")}
    assert {r["classes"] for r in found.values()} == {"angry happy"}
    assert {r["ranked"] for r in found.values()} == {"0"}
    across = found["one", "two"]
    assert across["label_mapping"] == (
        "one (all): angry = anger, happy = joy; without calm | two (all): angry = angry, happy = happy; without neutral"
    )
    assert (across["kind"], across["n_utt_scored"], across["n_utt_train"], across["n_utt_val"]) == (
        "cross",
        "12",
        "8",
        "4",
    )
    within = found["one", "one"]
    assert (within["kind"], within["protocol"], within["n_utt_scored"]) == ("within", "speaker3/1", "12")
    assert board_files.tables(here / "leaderboards") == {}


def test_the_test_corpus_had_no_part_in_any_choice(here: Path) -> None:
    for folder in Bundles.of(here / "runs", here).crossed:
        run = bundle.load_run(folder)
        if run["cross"]["kind"] == "cross":
            split = json.loads(pd.read_parquet(folder / "split.parquet").to_json(orient="records"))
            corpora = {
                role: {r["utterance"].split("/")[0] for r in split if r["role"] == role}
                for role in ("train", "val", "test")
            }
            assert corpora["test"] == set(run["cross"]["test"])
            assert corpora["train"] == corpora["val"] == set(run["cross"]["train"])
            assert run["frozen"][0]["frozen_at"] <= run["test_reads"][0]["read_at"]


def test_the_time_of_a_prediction_is_told_beside_what_was_predicted(here: Path) -> None:
    """Of the union of both corpora, 12 utterances of 0.6 s train and validate: nobody predicted them."""
    (folder,) = (p for p in (here / "runs" / "cross").glob("one+two-*") if "one-to-two" in p.name)
    run = json.loads((folder / "run.json").read_text())
    (kept,) = (here / "runs" / "fits" / run["frozen"][0]["fits"]["0"]).glob("test-*.npz")
    assert run["timing"]["predict_rtf"] == round(float(np.load(kept)["seconds"]) / (12 * 0.6), 6)


def test_every_cell_can_be_verified_and_an_edited_one_is_named(here: Path, tmp_path: Path) -> None:
    board = here / "leaderboards" / "cross.csv"
    assert verify.verify_table(board, here / "runs") == ([], [])
    text = board.read_text()
    first = rows(board)[0]
    assert first["uar_pooled_mean"] in text
    edited = tmp_path / "cross.csv"
    edited.write_text(text.replace(f",{first['n_utt_scored']},", ",999,"))
    findings, missing = verify.verify_table(edited, here / "runs")
    assert not missing
    assert {f.what for f in findings} == {"n_utt_scored"}
    _, missing = verify.verify_table(board, tmp_path)
    assert len(missing) == 4


def test_the_board_is_rebuilt_and_checked_from_its_bundles(here: Path, tmp_path: Path) -> None:
    board = here / "leaderboards" / "cross.csv"
    bundles = Bundles.of(here / "runs", tmp_path)
    paths, notes = cross_board.rebuild(tmp_path, bundles)
    assert (paths, notes) == ([tmp_path / "cross.csv"], [])
    assert (tmp_path / "cross.csv").read_bytes() == board.read_bytes()
    assert list(cross_board.check(tmp_path, bundles)) == []
    (tmp_path / "cross.csv").write_text("\n".join(board.read_text().splitlines()[:-1]) + "\n")
    assert [line for line in cross_board.check(tmp_path, bundles) if "is missing" in line]
    none = Bundles.of(tmp_path / "nothing", tmp_path)
    assert len([line for line in cross_board.check(here / "leaderboards", none) if "not at hand" in line]) == 4


@pytest.fixture
def copied(here: Path, tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """A copy of the runs and the board that may be spoilt, and the options that name it."""
    for name in ("runs", "leaderboards"):
        shutil.copytree(here / name, tmp_path / name, ignore=shutil.ignore_patterns("fits"))
    return tmp_path, ("--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "leaderboards"))


def test_an_invented_row_is_named_and_gone_from_the_board_that_is_made_anew(copied, capsys) -> None:
    place, options = copied
    path = place / "leaderboards" / "cross.csv"
    whole = path.read_bytes()
    found = rows(path)
    invented = {**found[0], "row_id": "invented", "model": "mine", "uar_pooled_mean": "99.00"}
    board_files.write(path, [*found, invented, found[1]], cross_board.COLUMNS)

    assert main(["leaderboard", "--check", *options]) == 1
    said = capsys.readouterr().out
    assert "cross.csv: the row invented (mine) is not what the bundles give" in said
    assert f"cross.csv: the number of rows {found[1]['row_id']} is '2'" in said
    assert main(["leaderboard", *options]) == 0
    assert path.read_bytes() == whole
    assert main(["leaderboard", "--check", *options]) == 0


def test_the_check_looks_at_the_predictions_and_the_log_of_each_run(copied, capsys) -> None:
    place, options = copied
    folder = next((place / "runs" / "cross").glob("one+two-*"))
    run = bundle.load_run(folder)
    frame = pd.read_parquet(folder / "predictions.parquet").iloc[1:]
    frame.to_parquet(folder / "predictions.parquet", index=False)
    run["files"]["predictions.parquet"] = files.sha256(folder / "predictions.parquet")
    bundle.save_run(folder, run)
    assert main(["leaderboard", *options]) == 0
    assert main(["leaderboard", "--check", *options]) == 1
    assert "utterances scored with seed 0 is '11'" in capsys.readouterr().out


def test_a_completed_run_takes_the_place_of_its_incomplete_row(copied) -> None:
    place, _ = copied
    folder = next((place / "runs" / "cross").glob("one+two-*"))
    run, path = bundle.load_run(folder), place / "leaderboards" / "cross.csv"
    path.unlink()
    run["config"]["seeds"] = 2
    failed = {**run, "failures": [{"fold": "cross", "seed": 1, "reason": "made to fail"}]}
    cross_board.add(path.parent, cross_board.rows_of(failed, folder))
    assert [(r["n_seeds"], r["unranked_reason"]) for r in rows(path)] == [
        ("1", "cross-corpus; incomplete: 1 fits failed")
    ]
    frame = pd.read_parquet(folder / "predictions.parquet")
    pd.concat([frame, frame.assign(seed=1)]).to_parquet(folder / "predictions.parquet", index=False)
    run["files"]["predictions.parquet"] = files.sha256(folder / "predictions.parquet")
    cross_board.add(path.parent, cross_board.rows_of(run, folder))
    assert [(r["n_seeds"], r["unranked_reason"]) for r in rows(path)] == [("2", "cross-corpus")]


def test_a_cross_corpus_run_is_published_by_its_name(copied, capsys) -> None:
    place, options = copied
    folder = next((place / "runs" / "cross").glob("one+two-*"))
    run = bundle.load_run(folder)
    run["model"]["origin"] = "built in"  # a file's folder would not be published
    bundle.save_run(folder, run)
    assert main(["publish", folder.name, *options]) == 0
    assert (place / "leaderboards" / "bundles" / "cross" / folder.name / "run.json").exists()


def test_the_same_command_again_takes_what_is_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = here / "leaderboards" / "cross.csv"
    before = board.read_bytes()
    assert main(["cross", "--train", "one.py", "--test", "two.py", *DATA, *COMMON]) == 0
    assert "everything is done already" in capsys.readouterr().out
    assert board.read_bytes() == before


def test_a_cross_corpus_run_predicts(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = next((here / "runs" / "cross").glob("one+two-*"))
    assert main(["predict", str(folder), "one/a_joy_0.wav", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["classes"] == ["angry", "happy"]
    assert said["files"][0]["in_corpus"].startswith("was in ")
    alone = tmp_path / "cross" / folder.name  # as published: without its fits, and no configuration that `run` takes
    shutil.copytree(folder, alone)
    assert main(["predict", str(alone), "one/a_joy_0.wav"]) == 2
    assert "To train them, the same `sertbench cross` again" in capsys.readouterr().err


def test_each_checkpoint_has_a_row_that_says_whether_it_heard_the_test_corpus(
    here: Path, tmp_path: Path, tiny_checkpoint: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    board = ("--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path))
    common = ("--train", "one.py", "--test", "two.py", *DATA, "--model", "svm", *COMMON[2:], *board)
    for family, heard in (("wav2vec2", "two"), ("hubert", "one"), ("wav2vec2", "two")):
        folder = shutil.copytree(tiny_checkpoint(family), tmp_path / family, dirs_exist_ok=True)
        (folder / "exposure.toml").write_text(f'corpora = ["{heard}"]\nsource = "our own training"')
        assert main(["cross", *common, "--features", f"ssl:{folder}"]) == 0
    board = rows(tmp_path / "cross.csv")
    found = {row["features"].partition("@")[0]: (row["exposure"], row["unranked_reason"]) for row in board}
    assert found == {
        "ssl:wav2vec2": ("exposed", "cross-corpus; pre-training exposure: the checkpoint was trained on this corpus"),
        "ssl:hubert": ("none", "cross-corpus"),
    }
    assert len(rows(tmp_path / "cross.csv")) == 2
    assert "exposed (declared): wav2vec2 was trained on two" in " ".join(capsys.readouterr().out.split())
    assert verify.verify_table(tmp_path / "cross.csv", tmp_path / "runs") == ([], [])
