"""A corpus of the user's own: what its table may say, what is derived from it, and runs from the table to the row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sertbench.datasets.csv import Csv

from sertbench.cli import main
from sertbench.corpus import Utterance
from sertbench.errors import CorpusError, ProtocolError
from sertbench.protocol_rules import SpeakerFolds
from sertbench.selection import select

MODEL = '''
from torch import nn

from sertbench.feature_spec import log_mel
from sertbench.model import NeuralModel, Recipe


class Mean(NeuralModel):
    """Linear classifier on the mean log-mel spectrum."""

    paper = "none"
    recipe = Recipe(features=log_mel(16), window=0.4, hop=0.2, epochs=3, batch_size=8, learning_rate=0.05)

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.layer = nn.Linear(input_shape[0], n_classes)

    def forward(self, x):
        return self.layer(x.mean(2))
'''


def write(folder: Path, *lines: str, header: str = "path,label,speaker", name: str = "my.csv") -> Path:
    """A table, and an empty file for each first cell that names one."""
    for line in lines:
        path = folder / line.split(",")[0]
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    folder.mkdir(exist_ok=True)
    table = folder / name
    table.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return table


# --- the table


def test_every_column_is_read(tmp_path):
    header = "speaker,path,label,session,text,transcript,gender,style,partition"
    line = 'ann,a/1.FLAC,sad,s1,t7,"Oh, no",female,read,train'
    table = write(tmp_path, header=header)
    table.write_text(f"\ufeff{header}\r\n{line}\r\n\r\n", encoding="utf-8")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.FLAC").touch()

    assert list(Csv().utterances(table)) == [
        Utterance(
            id="a/1.FLAC",
            path=tmp_path / "a/1.FLAC",
            label="sad",
            speaker="ann",
            gender="female",
            session="s1",
            text="t7",
            transcript="Oh, no",
            style="read",
            partition="train",
        )
    ]


def test_what_is_left_empty_is_unknown(tmp_path):
    table = write(tmp_path, "1.wav,sad,ann,,", header="path,label,speaker,gender,style")

    (utterance,) = Csv().utterances(table)

    assert (utterance.gender, utterance.style, utterance.text) == (None, None, None)


def test_ids_do_not_depend_on_how_a_path_is_written(tmp_path):
    (tmp_path / "tables" / "x").mkdir(parents=True)
    table = write(tmp_path / "tables", "x/../a.mp3,sad,ann", f"{tmp_path}/b.ogg,sad,ann")

    assert [u.id for u in Csv().utterances(table)] == ["a.mp3", "../b.ogg"]


@pytest.mark.parametrize(
    ("header", "lines", "fault"),
    [
        (
            "path,label,speker",
            ["1.wav,sad,ann"],
            r"no column is called 'speker'\. Did you mean 'speaker' or",
        ),
        ("path,label,speaker,age", ["1.wav,sad,ann,9"], r"no column is called 'age'\..* Rename it, or leave it out"),
        ("path,label", ["1.wav,sad"], r"has no column speaker\. Expected: a table \(CSV\) with the columns path"),
        ("path,label,speaker,label", ["1.wav,sad,ann,sad"], "a column is there twice"),
        ("path;label;speaker", ["1.wav;sad;ann"], "separated by commas; the header is 'path;label;speaker'"),
        ("path,label,speaker", ["1.wav,sad"], "line 2: 2 cells for 3 columns"),
        ("path,label,speaker", ["1.wav,,ann"], "line 2: label is empty"),
        ("path,label,speaker", ["1.wav,sad,ann", "2.wav,sad, "], "line 3: speaker is empty"),
        ("path,label,speaker,gender", ["1.wav,sad,ann,femal"], "no gender is called 'femal'. Did you mean 'female'"),
        ("path,label,speaker,partition", ["1.wav,sad,ann,dev"], "no partition is called 'dev'.* Known: test, train"),
        ("path,label,speaker,partition", ["1.wav,sad,ann,"], "line 2: partition is empty"),
        ("path,label,speaker", ["1.mp4,sad,ann"], r"'1\.mp4' is no audio file; accepted: \.wav, \.flac"),
        (
            "path,label,speaker",
            ["1.wav,sad,ann", "./1.wav,sad,bob"],
            r"line 3: '\./1\.wav' is there already, in line 2",
        ),
        ("path,label,speaker", ["~nobody-here/1.wav,sad,ann"], "line 2: '~nobody-here/1.wav' begins with a user that"),
        ("path,label,speaker", [], "has no line below its header"),
        ("", [], "has no column path, label, speaker"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(tmp_path, header, lines, fault):
    table = write(tmp_path, *lines, header=header)

    with pytest.raises(CorpusError, match=fault):
        list(Csv().utterances(table))


def test_files_that_are_not_there_are_named_with_their_lines(tmp_path):
    table = write(tmp_path, "1.wav,sad,ann", "2.wav,sad,ann", "3.wav,sad,ann")
    (tmp_path / "1.wav").unlink()
    (tmp_path / "3.wav").unlink()

    with pytest.raises(CorpusError, match=r"names 2 files that cannot be found: 1\.wav \(line 2\), 3\.wav \(line 4\)"):
        list(Csv().utterances(table))


def test_one_file_is_no_files_and_a_folder_is_said_to_be_one(tmp_path):
    table = write(tmp_path, "1.wav,sad,ann")
    (tmp_path / "1.wav").unlink()
    with pytest.raises(CorpusError, match=r"names 1 file that cannot be found: 1\.wav"):
        list(Csv().utterances(table))
    (tmp_path / "1.wav").mkdir()
    with pytest.raises(CorpusError, match=r"line 2: '1\.wav' is a folder, not an audio file"):
        list(Csv().utterances(table))


@pytest.mark.parametrize(
    ("column", "first", "second", "said"),
    [
        ("speaker", "ann", "ANN", r"speaker 'ann' \(line 2\) and 'ANN' \(line 3\) differ only .* ann and ann2\.$"),
        ("speaker", "Ann Lee", "ann  lee", "speaker 'Ann Lee' .* and 'ann  lee'"),
        ("speaker", "ann lee", "ann\u00a0lee", r"'ann lee' .* and 'ann\\xa0lee'"),
        ("speaker", "ren\u00e9", "rene\u0301", r"'ren\\xe9' .* and 'rene\\u0301'"),
        ("speaker", "Strasse", "stra\u00dfe", "'Strasse' .* and 'stra\u00dfe'"),
        ("speaker", "ann", "\uff41nn", "'ann' .* and '\uff41nn'"),
        ("speaker", "ann", "a\u200bnn", r"and 'a\\u200bnn'"),
        ("label", "calm", "CALM", r"label 'calm' .* and 'CALM' .* two classes, name them differently, e\.g\. label1"),
        ("session", "s1", "S1", "session 's1' .* two sessions"),
        ("text", "Oh no", "oh no", "text 'Oh no' .* two texts"),
        ("style", "read", "Read", "style 'read' .* two styles"),
    ],
)
def test_one_name_in_two_spellings_is_refused_with_both_lines(tmp_path, column, first, second, said):
    header = "path,label,speaker,session,text,style"
    cells = dict(zip(header.split(","), ("", "calm", "ann", "s", "t", "read"), strict=True))
    lines = [
        ",".join({**cells, "path": f"{n}.wav", column: name}.values()) for n, name in enumerate((first, second, first))
    ]
    table = write(tmp_path, *lines, header=header)

    with pytest.raises(CorpusError, match=said):
        list(Csv().utterances(table))


def test_all_spellings_are_named_at_once_and_other_names_are_left_alone(tmp_path):
    table = write(tmp_path, "1.wav,calm,ann", "2.wav,Calm,Ann", "3.wav,sad,ann2", "4.wav,sad,a_nn", "5.wav,sad,an n")

    with pytest.raises(CorpusError, match=r"label 'calm' .* 'Calm' \(line 3\), speaker 'ann' .* 'Ann' \(line 3\) diff"):
        list(Csv().utterances(table))
    write(tmp_path, "1.wav,calm,ann", "3.wav,sad,ann2", "4.wav,sad,a_nn", "5.wav,sad,an n")
    assert len({u.speaker for u in Csv().utterances(table)}) == 4


@pytest.mark.parametrize("content", [b"\xff\xfe\x00path", b'path,label,speaker\n"1.wav,sad,ann\n'])
def test_a_file_that_is_no_table_is_refused(tmp_path, content):
    (tmp_path / "my.csv").write_bytes(content)

    with pytest.raises(CorpusError, match="cannot be read as a table"):
        list(Csv().utterances(tmp_path / "my.csv"))


# --- what is derived from it


def test_labels_styles_and_title_are_those_of_the_table(tmp_path):
    header = "path,label,speaker,style"
    table = write(tmp_path, "1.wav,up,a,read", "2.wav,down,b,", "3.wav,up,c,free", header=header, name="my calls.csv")

    corpus = Csv().at(table)

    assert corpus.title == "csv-my-calls"
    assert corpus.label_set(None).classes == ("down", "up")
    assert corpus.subsets == ("free", "read")
    assert [p.name for p in corpus.protocols] == ["speaker-folds"]
    assert len(select(corpus, corpus.title, table, corpus.label_set("all"), "all")) == 3
    assert [u.id for u in select(corpus, corpus.title, table, corpus.label_set("all"), "free")] == ["3.wav"]


def test_a_table_leaves_other_tables_alone(tmp_path):
    first = Csv().at(write(tmp_path, "1.wav,up,a", "2.wav,down,b", name="one.csv"))
    second = Csv().at(write(tmp_path, "1.wav,left,a", "2.wav,right,b", name="two.csv"))

    assert [c.label_set(None).classes for c in (first, second)] == [("down", "up"), ("left", "right")]
    assert Csv.title == ""


def test_a_partition_is_the_default_protocol_where_there_is_one(tmp_path):
    header = "path,label,speaker,partition"
    table = write(tmp_path, "1.wav,up,a,train", "2.wav,down,b,val", "3.wav,up,c,test", header=header)

    corpus = Csv().at(table)

    assert [p.name for p in corpus.protocols] == ["partition", "speaker-folds"]
    (fold,) = corpus.protocols[0].split(sorted(corpus.utterances(table), key=lambda u: u.id)).folds
    assert (fold.train, fold.val, fold.test) == ((0,), (1,), (2,))


def test_one_label_is_nothing_to_classify(tmp_path):
    with pytest.raises(CorpusError, match=r"my\.csv: every label is 'sad'\. Classification needs two"):
        Csv().at(write(tmp_path, "1.wav,sad,a", "2.wav,sad,b"))


# --- speaker folds


def spoken(**counts: int) -> list[Utterance]:
    return [
        Utterance(f"{speaker}{n}", Path(f"{speaker}{n}.wav"), "calm", speaker)
        for speaker, count in counts.items()
        for n in range(count)
    ]


def groups(rule: SpeakerFolds, utterances: list[Utterance]) -> list[set[str]]:
    return [{utterances[i].speaker for i in fold.test} for fold in rule.split(utterances).folds]


def test_speakers_are_grouped_into_alike_sizes():
    rule = SpeakerFolds("rule", 1, groups=3)

    # by size: d 9 | b 6 | a 5, then e 4 to a (5 < 6 < 9), c 3 to b (6 < 9, 9), f 1 to the first of 9, 9, 9
    assert groups(rule, spoken(a=5, b=6, c=3, d=9, e=4, f=1)) == [{"d", "f"}, {"b", "c"}, {"a", "e"}]


def test_with_few_speakers_each_is_a_fold_and_the_next_validates():
    utterances = spoken(a=2, b=3, c=1)

    folds = SpeakerFolds("rule", 1, groups=5).split(utterances).folds

    parts = [[{utterances[i].speaker for i in fold.part(role)} for role in ("train", "val", "test")] for fold in folds]
    assert parts == [[{"c"}, {"a"}, {"b"}], [{"b"}, {"c"}, {"a"}], [{"a"}, {"b"}, {"c"}]]


def test_equal_speakers_are_grouped_by_name_in_any_order():
    utterances = spoken(c=2, a=2, d=2, b=2)
    rule = SpeakerFolds("rule", 1, groups=3)

    assert groups(rule, utterances) == groups(rule, utterances[::-1]) == [{"a", "d"}, {"b"}, {"c"}]


def test_two_speakers_are_too_few():
    with pytest.raises(ProtocolError, match=r"needs at least three speakers.* there are 2: a, b"):
        SpeakerFolds("rule", 1, groups=5).split(spoken(a=3, b=3))


# --- whole runs


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in: a model, and a table of five speakers, two pitches and one file format per speaker."""
    rng = np.random.default_rng(0)
    lines = ["path,label,speaker"]
    for s, (speaker, ending) in enumerate(zip("abcde", ("wav", "flac", "ogg", "mp3", "wav"), strict=True)):
        for label, pitch in (("high", 900.0), ("low", 500.0)):
            for take in range(3):
                path = tmp_path / "audio" / f"{speaker}_{label}_{take}.{ending}"
                path.parent.mkdir(exist_ok=True)
                t = np.arange(int((0.5 + 0.2 * take) * 16000)) / 16000
                wave = 0.3 * np.sin(2 * np.pi * (pitch + 20 * s) * t) + 0.05 * rng.standard_normal(len(t))
                soundfile.write(path, np.stack([wave, wave], axis=1) if take == 2 else wave, 16000)
                lines.append(f"audio/{path.name},{label},{speaker}")
    (tmp_path / "calls.csv").write_text("\n".join(lines))
    (tmp_path / "mean.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERTBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run(*more: str) -> int:
    base = ("--model", "mean.py", "--dataset", "csv", "--trials", "0", "--seeds", "1", "--workers", "1")
    return main(["run", *base, *more])


def with_partition(place: Path, part_of: dict[str, str]) -> None:
    head, *lines = (place / "calls.csv").read_text().splitlines()
    split = [f"{line},{part_of[line[-1]]}" for line in lines]
    (place / "calls.csv").write_text("\n".join([f"{head},partition", *split]))


def test_a_table_is_run_from_end_to_end(place, capsys):
    assert run("--data", "calls.csv") == 0

    assert "classes high, low" in capsys.readouterr().out
    (row,) = pd.read_csv(place / "leaderboards" / "csv-calls.csv").to_dict("records")
    assert (row["corpus"], row["protocol"], row["n_folds"], row["n_utt_scored"]) == (
        "csv-calls",
        "speaker-folds/1",
        5,
        30,
    )
    assert (row["ranked"], row["speaker_independent"], row["rank"]) == (1, 1, 1)
    assert row["uar_pooled_mean"] > 80
    assert main(["verify", "leaderboards/csv-calls.csv"]) == 0
    capsys.readouterr()
    assert main(["status", "csv-calls-mean"]) == 0
    assert capsys.readouterr().out.startswith("csv-calls-mean: done")
    (kept,) = (place / "runs" / "status").iterdir()
    assert kept.name.startswith("csv-mean-")  # as before tables had names, so that known runs stay one


def test_a_plan_counts_once_and_warns_of_a_class_of_one_utterance(place, capsys):
    table = (place / "calls.csv").read_text()
    (place / "calls.csv").write_text(table.replace("a_high_0.wav,high", "a_high_0.wav,rare"))

    assert (
        main(["run", "--model", "majority", "--dataset", "csv", "--data", "calls.csv", "--trials", "1", "--dry-run"])
        == 0
    )

    out = " ".join(capsys.readouterr().out.split())
    assert "protocol speaker-folds/1. 5 folds of whole speakers" in out
    assert "1 Optuna trial per fold" in out
    assert "class rare: 1 utterance of 1 speaker, for 1/3 of the UAR; none in the training part of folds" in out


def test_two_tables_have_a_leaderboard_each(place):
    (place / "other.csv").write_text((place / "calls.csv").read_text())

    assert run("--data", "calls.csv", "--epochs", "1") == 0
    assert run("--data", "other.csv", "--epochs", "1") == 0

    assert sorted(p.name for p in (place / "leaderboards").glob("*.csv")) == ["csv-calls.csv", "csv-other.csv"]


def test_a_partition_is_run_as_one_fold(place, capsys):
    with_partition(place, {"a": "train", "b": "train", "c": "val", "d": "test", "e": "test"})

    assert run("--data", "calls.csv", "--epochs", "1") == 0

    assert "partition/1, 1 fold. The split of the column" in capsys.readouterr().out
    (row,) = pd.read_csv(place / "leaderboards" / "csv-calls.csv").to_dict("records")
    assert (row["protocol"], row["n_folds"], row["n_utt_scored"], row["ranked"]) == ("partition/1", 1, 12, 1)


def test_a_partition_that_shares_speakers_is_refused_before_training(place, capsys):
    with_partition(place, {"a": "train", "b": "train", "c": "val", "d": "test", "e": "test"})
    table = (place / "calls.csv").read_text()
    (place / "calls.csv").write_text(table.replace("a_high_0.wav,high,a,train", "a_high_0.wav,high,a,test"))

    assert run("--data", "calls.csv", "--dry-run") == 2

    err = capsys.readouterr().err
    assert "the folds leak" in err
    assert "speaker" in err


def shouted(place: Path) -> None:
    """Every second line of a speaker has the name in capitals."""
    head, *lines = (place / "calls.csv").read_text().splitlines()
    lines = [line[:-1] + line[-1].upper() if n % 2 else line for n, line in enumerate(lines)]
    (place / "calls.csv").write_text("\n".join([head, *lines]))


def two_speakers(place: Path) -> None:
    lines = (place / "calls.csv").read_text().splitlines()
    (place / "calls.csv").write_text("\n".join(line for line in lines if line[-1] not in "cde"))


def misspelt(place: Path) -> None:
    table = (place / "calls.csv").read_text()
    (place / "calls.csv").write_text(table.replace("speaker", "talker", 1))


@pytest.mark.parametrize(
    ("breaking", "flags", "said"),
    [
        (two_speakers, [], "needs at least three speakers"),
        (shouted, [], "speaker 'a' (line 2) and 'A' (line 3), speaker 'b'"),
        (misspelt, [], "no column is called 'talker'"),
        (None, ["--data", "audio"], "audio (--data) is a folder, not a table"),
        (None, ["--data", "cals.csv"], "cals.csv (--data) does not exist"),
        (None, ["--protocol", "partition"], "no protocol is called 'partition'"),
        (None, ["--labels", "4class"], "no label set is called '4class'"),
    ],
)
def test_bad_input_is_said_in_words_with_status_2(place, capsys, breaking, flags, said):
    if breaking:
        breaking(place)

    assert run(*(flags if "--data" in flags else ["--data", "calls.csv", *flags])) == 2

    err = capsys.readouterr().err
    assert err.startswith("sertbench: error: ")
    assert said in err
    assert "Traceback" not in err


def test_an_audit_of_a_refused_table_counts_nothing(place, capsys):
    shouted(place)

    assert main(["audit", "csv", "--data", "calls.csv"]) == 3

    out = capsys.readouterr().out
    assert "differ only in letter case" in out
    assert "neutral" not in out
    assert "classes" not in out


def test_what_is_wrong_with_own_audio_is_not_the_fault_of_an_archive(place, capsys):
    (place / "audio/a_high_0.wav").write_bytes((place / "audio/a_high_0.wav").read_bytes()[:2000])
    soundfile.write(place / "audio/e_high_0.wav", np.random.default_rng(1).standard_normal(9000) / 9, 8000)

    assert main(["audit", "csv", "--data", "calls.csv"]) == 3
    assert run("--data", "calls.csv", "--dry-run") == 2

    said = "".join(capsys.readouterr())
    assert said.count("from its original") + said.count("from the originals") == 3
    assert "archive" not in said


def test_without_a_table_it_is_told_what_to_write(place, capsys):
    assert run() == 2

    assert "one line per audio file, with the columns path, label and speaker" in capsys.readouterr().err


def test_the_lists_show_it_without_a_table(capsys):
    assert main(["list", "datasets"]) == 0
    assert main(["list", "protocols"]) == 0

    out = capsys.readouterr().out
    assert "csv" in out
    assert "speaker-folds/1" in out
