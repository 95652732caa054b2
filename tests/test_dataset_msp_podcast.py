"""MSP-Podcast: rows to turns, the names that releases give the same thing, and what a release must have."""

from __future__ import annotations

from pathlib import Path

import pytest
from sertbench.datasets import msp_podcast

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError
from sertbench.selection import select

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"


def make(root: Path, *rows: str, table: str = "labels_consensus.csv", header: str = HEADER) -> Path:
    """A release with these rows, and a wav file for each."""
    for folder in ("Audios", "Labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "Labels" / table).write_text("\n".join([header, *rows]))
    for row in rows:
        (root / "Audios" / row.split(",")[0]).touch()
    return root


def row(
    name: str = "0001_0008", code: str = "N", speaker: str = "127", gender: str = "Male", split: str = "Train"
) -> str:
    return f"MSP-PODCAST_{name}.wav,{code},2.2,4.0,2.6,{speaker},{gender},{split}"


def read(root: Path) -> dict[str, Utterance]:
    return {u.id: u for u in msp_podcast.MspPodcast().utterances(root)}


def test_a_turn_is_told_by_its_row(tmp_path):
    make(tmp_path, row(split="Test1"))

    assert list(read(tmp_path).values()) == [
        Utterance(
            id="MSP-PODCAST_0001_0008",
            path=tmp_path / "Audios/MSP-PODCAST_0001_0008.wav",
            label="neutral",
            speaker="127",
            gender="male",
            session="0001",
            style="test1",
            partition="test",
            language="en",
            arousal=2.2,
            valence=4.0,
            dominance=2.6,
        )
    ]


def test_unknown_talkers_stay_unknown(tmp_path):
    make(tmp_path, row(speaker="Unknown", gender="Unknown"))

    (turn,) = read(tmp_path).values()

    assert (turn.speaker, turn.gender, turn.style) == ("unknown", None, None)


@pytest.mark.parametrize("table", ["labels_consensus.csv", "labels_concensus.csv"])
@pytest.mark.parametrize("split", ["Validation", "Development"])
def test_both_spellings_of_the_table_and_of_the_part_are_read(tmp_path, table, split):
    make(tmp_path / "MSP-PODCAST-Publish-1.8", row(split=split), table=table)

    assert [u.partition for u in read(tmp_path).values()] == ["val"]


def test_both_test_sets_are_tested_in_the_official_fold(tmp_path):
    corpus = msp_podcast.MspPodcast()
    splits = ("Development", "Test1", "Test2", "Train")
    make(tmp_path, *(row(f"000{n}_0001", split=split) for n, split in enumerate(splits)))

    found = select(corpus, "msp_podcast", tmp_path, corpus.label_set("4class"), "all")
    (fold,) = corpus.protocols[0].split(found).folds

    assert (fold.train, fold.val, fold.test) == ((3,), (0,), (1, 2))
    assert [found[i].style for i in fold.test] == ["test1", "test2"]


def test_turns_with_hidden_labels_are_not_used(tmp_path):
    make(tmp_path, row(), row("0002_0001", split="Test3"))
    (tmp_path / "Audios/MSP-PODCAST_0003_0001.wav").touch()
    (tmp_path / "Partitions.txt").write_text(
        "Train; MSP-PODCAST_0001_0008.wav\nTest3; MSP-PODCAST_0002_0001.wav\nTest3; MSP-PODCAST_0003_0001.wav\n"
    )

    assert list(read(tmp_path)) == ["MSP-PODCAST_0001_0008"]


def test_files_of_older_releases_are_not_read(tmp_path):
    make(tmp_path, row())
    old = tmp_path / "Previous_releases_information/files_removed_from_prev_versions/MSP-PODCAST_0009_0001.wav"
    old.parent.mkdir(parents=True)
    old.touch()

    assert list(read(tmp_path)) == ["MSP-PODCAST_0001_0008"]


def test_labels_without_audio_and_audio_without_a_label_are_both_named(tmp_path):
    make(tmp_path, row(), row("0001_0009"))
    wav = tmp_path / "Audios/MSP-PODCAST_0001_0009.wav"
    wav.rename(wav.with_name("MSP-PODCAST_0001_0010.wav"))

    with pytest.raises(
        CorpusError,
        match=r"no wav file: MSP-PODCAST_0001_0009\.wav; 1 wav files have no label: MSP-PODCAST_0001_0010\.wav",
    ):
        read(tmp_path)


def test_a_release_that_is_not_whole_is_refused(tmp_path, monkeypatch):
    make(tmp_path, row(), row("0001_0009", split="Test2"))
    (tmp_path / "readme.txt").write_text("#  Release 1.11 (May 1, 2023)  #\n")

    with pytest.raises(CorpusError, match=r"release 1\.11 has 151654 audio files, here are 2"):
        read(tmp_path)

    monkeypatch.setattr(msp_podcast, "FILES", {"1.11": 2})
    with pytest.raises(CorpusError, match=r"train: 1 instead of 84030, val: 0 instead of 19815, test1: 0 .*test2: 1"):
        read(tmp_path)

    monkeypatch.setattr(msp_podcast, "TURNS", {"1.11": {"train": 1, "test2": 1}})
    assert len(read(tmp_path)) == 2


def test_the_counts_of_a_release_agree_with_each_other():
    assert sum(msp_podcast.TURNS["1.11"].values()) + 2_347 == msp_podcast.FILES["1.11"]  # and Test3, without labels


def test_other_releases_are_read_without_counts(tmp_path):
    make(tmp_path, row())
    (tmp_path / "readme.txt").write_text("Release 1.8\n")

    assert len(read(tmp_path)) == 1


@pytest.mark.parametrize(
    ("line", "header", "fault"),
    [
        (row(split="Test4"), HEADER, r"MSP-PODCAST_0001_0008\.wav: no part is called 'Test4'\. Did you mean 'Test"),
        (row(split="development"), HEADER, r"no part is called 'development'\. Did you mean 'Development'"),
        (row(code="Q"), HEADER, r"MSP-PODCAST_0001_0008\.wav: unknown label code 'Q'"),
        (row(), HEADER.replace("SpkrID", "Speaker"), r"has no column SpkrID"),
        ("PODCAST_1.wav,N,1,1,1,1,Male,Train", HEADER, r"PODCAST_1\.wav is not named like a file of MSP-Podcast"),
    ],
)
def test_what_no_release_has_is_refused_not_dropped(tmp_path, line, header, fault):
    make(tmp_path, line, header=header)

    with pytest.raises(CorpusError, match=fault):
        read(tmp_path)
