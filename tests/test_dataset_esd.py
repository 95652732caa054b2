"""ESD: what file names and folders say, and which copies are refused."""

from __future__ import annotations

import pytest
from sertbench.datasets.esd import FOURS, MANDARIN, TEXTS, WOMEN, Esd

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_file_name_is_read(tmp_path):
    path = touch(tmp_path / "Emotion Speech Dataset" / "0011" / "Angry" / "0011_000351.wav")

    assert list(Esd().utterances(tmp_path)) == [
        Utterance(
            id="0011_000351",
            path=path,
            label="angry",
            speaker="0011",
            gender="male",
            text="en-001",
            style="english",
            language="en",
        )
    ]


@pytest.mark.parametrize(
    ("name", "label", "gender", "text"),
    [
        ("0001/Neutral/train/0001_000350.wav", "neutral", "female", "zh-350"),
        ("0010/Happy/evaluation/0010_000701.wav", "happy", "male", "zh-001"),
        ("0015/Sad/test/0015_001071.wav", "sad", "female", "en-021"),
        ("0020_001750.wav", "surprise", "male", "en-350"),
    ],
)
def test_copies_with_a_split_and_flat_ones_are_read(tmp_path, name, label, gender, text):
    touch(tmp_path / name)

    (found,) = Esd().utterances(tmp_path)

    assert (found.label, found.gender, found.text) == (label, gender, text)


def test_every_fold_has_a_woman_and_a_man_of_each_language():
    for group in FOURS.values():
        kinds = {(speaker in MANDARIN, speaker in WOMEN) for speaker in group}

        assert len(kinds) == len(group) == 4


def test_sentences_of_two_languages_are_not_the_same_text():
    texts = [text for group in TEXTS.values() for text in group]

    assert len(texts) == len(set(texts)) == 700


def test_a_file_in_another_emotions_folder_is_refused(tmp_path):
    touch(tmp_path / "0011" / "Happy" / "0011_000351.wav")

    with pytest.raises(CorpusError, match=r"0011_000351\.wav is in another emotion's folder: number 351 is Angry"):
        list(Esd().utterances(tmp_path))


@pytest.mark.parametrize("stem", ["0021_000001", "0011_000000", "0011_001751", "0011_351", "11_000351"])
def test_misnamed_files_are_refused(tmp_path, stem):
    touch(tmp_path / "0011" / f"{stem}.wav")

    with pytest.raises(CorpusError, match=r"is not named like a file of ESD\. Expected: "):
        list(Esd().utterances(tmp_path))
