"""MELD: turns from tables and names, splits from folders, and what the published archive lacks or has too much of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sertbench.datasets import meld

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError
from sertbench.selection import select

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
ROWS = {
    "train": ('1,"also I was the point person, ok",Chandler,neutral,neutral,0,0,8,21,"0:16:16,059","0:16:21,731"',),
    "dev": ("1,What?,Richard’s Date,surprise,negative,0,0,4,7,0,1", "2,Yes,All,joy,positive,110,7,4,7,0,1"),
    "test": ("1,Why?,Rachel,sadness,negative,0,0,3,19,0,1",),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small MELD: four annotated turns, of which one has no sound, as in the published archive."""
    monkeypatch.setattr(meld, "ROWS", {split: len(rows) for split, rows in ROWS.items()})
    for split, rows in ROWS.items():
        (tmp_path / split).mkdir()
        (tmp_path / split / "dia0_utt0.wav").touch()
        (tmp_path / f"{split}_sent_emo.csv").write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    return tmp_path


def read(root: Path) -> dict[str, Utterance]:
    return {u.id: u for u in meld.Meld().utterances(root)}


def test_a_turn_is_told_by_its_split_and_its_row(root):
    assert read(root)["train_dia0_utt0"] == Utterance(
        id="train_dia0_utt0",
        path=root / "train" / "dia0_utt0.wav",
        label="neutral",
        speaker="Chandler",
        gender="male",
        session="s08e21",
        dialogue="train_dia0",
        text="also I was the point person, ok",
        transcript="also I was the point person, ok",
        partition="train",
        language="en",
    )


def test_dialogues_are_numbered_anew_in_each_split(root):
    found = read(root)

    assert {u.id: (u.label, u.partition, u.gender) for u in found.values()} == {
        "train_dia0_utt0": ("neutral", "train", "male"),
        "dev_dia0_utt0": ("surprise", "val", None),
        "test_dia0_utt0": ("sad", "test", "female"),
    }
    assert len({u.dialogue for u in found.values()}) == 3
    assert found["dev_dia0_utt0"].speaker == "Richard’s Date"


def test_splits_are_found_in_the_archives_own_folders_and_as_flac(root):
    for split, name in (
        ("train", "train_splits"),
        ("dev", "dev_splits_complete"),
        ("test", "output_repeated_splits_test"),
    ):
        (root / "MELD.Raw" / name).mkdir(parents=True)
        (root / split / "dia0_utt0.wav").rename(root / "MELD.Raw" / name / "dia0_utt0.flac")

    assert {u.id: u.path.parent.name for u in read(root).values()} == {
        "train_dia0_utt0": "train_splits",
        "dev_dia0_utt0": "dev_splits_complete",
        "test_dia0_utt0": "output_repeated_splits_test",
    }


def test_the_turn_without_sound_is_left_out_even_where_a_file_is_there(root):
    (root / "dev" / "dia110_utt7.wav").touch()

    assert "dev_dia110_utt7" not in read(root)


def test_sound_without_annotation_is_not_used(root):
    before = read(root)
    for name in ("dia108_utt2", "final_videos_testdia101_utt0", "._dia0_utt0"):
        (root / "test" / f"{name}.wav").touch()

    assert read(root) == before


def test_videos_alone_give_the_command_that_extracts_the_sound(root):
    for split in ROWS:
        (root / split / "dia0_utt0.wav").rename(root / split / "dia0_utt0.mp4")

    with pytest.raises(CorpusError) as caught:
        read(root)

    said = str(caught.value)
    assert "3 turns of MELD have no audio file: train_dia0_utt0, dev_dia0_utt0, test_dia0_utt0." in said
    assert f"3 videos (ffmpeg fails on one): find {root} -name '*.mp4' ! -name '._*' -exec sh -c '" in said
    assert said.endswith('-i "$1" -vn -ac 1 -ar 16000 "${1%.mp4}.wav"\' _ {} \\;')


def test_a_missing_turn_is_named(root):
    (root / "test" / "dia0_utt0.wav").unlink()

    with pytest.raises(CorpusError, match=r"1 turns of MELD have no audio file: test_dia0_utt0\.$"):
        read(root)


@pytest.mark.parametrize("name", ["test/dia0-utt0.wav", "music/dia0_utt0.wav", "dia0_utt0.wav"])
def test_a_misnamed_file_and_one_of_no_split_are_refused(root, name):
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).touch()

    with pytest.raises(CorpusError, match=r"is no turn of a split of MELD\. Expected: "):
        read(root)


def test_one_turn_in_two_files_is_refused(root):
    (root / "test" / "dia0_utt0.flac").touch()
    corpus = meld.Meld()

    with pytest.raises(CorpusError, match="1 utterance found more than once"):
        select(corpus, "meld", root, corpus.label_set(None), "all")


def test_tables_that_are_not_the_published_ones_are_refused(root):
    table = root / "test_sent_emo.csv"
    table.write_text(table.read_text() + "\n2,Why?,Rachel,sadness,negative,0,1,3,19,0,1")
    with pytest.raises(CorpusError, match=r"test_sent_emo\.csv annotates 2 turns instead of 1"):
        read(root)

    table.write_text("utterance,emotion\nWhy?,sadness")
    with pytest.raises(CorpusError, match="has the columns utterance, emotion; expected at least Utterance, Speaker"):
        read(root)

    table.write_text(f"{HEADER}\n1,Why?,Rachel,bored,negative,0,0,3,19,0,1")
    with pytest.raises(CorpusError, match=r"test_sent_emo\.csv, test_dia0_utt0: unknown label code 'bored'"):
        read(root)

    table.unlink()
    with pytest.raises(CorpusError, match=r"has no test_sent_emo\.csv"):
        read(root)


def test_the_counts_are_the_published_ones_without_the_two_silent_turns():
    assert sum(meld.ROWS.values()) == 13708
    assert sum(meld.COUNTS.values()) == 13706
    assert Counter(meld.LABELS.values()).keys() == meld.COUNTS.keys()
