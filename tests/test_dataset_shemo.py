"""ShEMO: what file names say, and which copies are refused."""

from __future__ import annotations

from collections import Counter

import pytest
from sertbench.datasets.shemo import FIVE, NAMES, TALK, Shemo

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError


def test_f_is_a_woman_in_front_and_fear_behind(tmp_path):
    path = tmp_path / "female" / "F21F01.wav"
    path.parent.mkdir()
    path.touch()

    assert list(Shemo().utterances(tmp_path)) == [
        Utterance(id="F21F01", path=path, label="fear", speaker="F21", gender="female", language="fa")
    ]


@pytest.mark.parametrize(
    ("stem", "label", "gender"),
    [("F21N23", "neutral", "female"), ("M02F01", "fear", "male"), ("M36S02", "sad", "male")],
)
def test_names_are_read(tmp_path, stem, label, gender):
    (tmp_path / f"{stem}.wav").touch()

    (found,) = Shemo().utterances(tmp_path)

    assert (found.label, found.gender, found.speaker) == (label, gender, stem[:3])


def test_the_published_names_have_the_published_counts():
    assert len(set(NAMES)) == 3000
    assert Counter(name[3] for name in NAMES) == {"A": 1059, "N": 1028, "S": 449, "W": 225, "H": 201, "F": 38}
    assert Counter(speaker[0] for speaker in TALK) == {"F": 31, "M": 56}


def test_folds_are_of_like_size_and_test_all_emotions():
    for speakers in FIVE.values():
        names = [name for name in NAMES if name[:3] in speakers]
        assert 540 <= len(names) <= 660
        assert len({name[3] for name in names}) == 6
        assert sum(speaker.startswith("F") for speaker in speakers) in (6, 7)


@pytest.mark.parametrize("stem", ["X21N23", "F32N23", "F21N2", "21N23"])
def test_misnamed_files_are_refused(tmp_path, stem):
    (tmp_path / f"{stem}.wav").touch()

    with pytest.raises(CorpusError, match=r"is not named like a file of ShEMO\. Expected: "):
        list(Shemo().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    (tmp_path / "F21D01.wav").touch()

    with pytest.raises(CorpusError, match=r"F21D01\.wav: unknown label code 'D'"):
        list(Shemo().utterances(tmp_path))
