"""SAVEE: both published layouts, and which copies are refused."""

from __future__ import annotations

from collections import Counter

import pytest
from sertbench.datasets.savee import Savee

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError


def test_the_speaker_is_the_folder_where_the_name_has_none(tmp_path):
    path = tmp_path / "AudioData" / "JK" / "sa07.wav"
    path.parent.mkdir(parents=True)
    path.touch()

    assert list(Savee().utterances(tmp_path)) == [
        Utterance(id="JK_sa07", path=path, label="sad", speaker="JK", gender="male", language="en")
    ]


@pytest.mark.parametrize(
    ("stem", "label", "speaker"),
    [
        ("DC_a01", "angry", "DC"),
        ("JE_su15", "surprise", "JE"),
        ("KL_n30", "neutral", "KL"),
        ("KL_sa01", "sad", "KL"),
    ],
)
def test_flat_copies_give_the_same_ids(tmp_path, stem, label, speaker):
    (tmp_path / "ALL").mkdir()
    (tmp_path / "ALL" / f"{stem}.wav").touch()

    (found,) = Savee().utterances(tmp_path)

    assert (found.id, found.label, found.speaker) == (stem, label, speaker)


def test_the_published_names_are_480():
    counts = Counter(name.rstrip("0123456789") for name in Savee().expected_ids())

    assert sum(counts.values()) == 480
    assert counts["DC_n"] == 30
    assert {n for cell, n in counts.items() if not cell.endswith("_n")} == {15}


@pytest.mark.parametrize("name", ["XX_a01", "a01", "DC_a1", "DC/b_01"])
def test_misnamed_files_are_refused(tmp_path, name):
    path = tmp_path / f"{name}.wav"
    path.parent.mkdir(exist_ok=True)
    path.touch()

    with pytest.raises(CorpusError, match=r"is not named like a file of SAVEE\. Expected: "):
        list(Savee().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    (tmp_path / "DC_s01.wav").touch()

    with pytest.raises(CorpusError, match=r"DC_s01\.wav: unknown label code 's'"):
        list(Savee().utterances(tmp_path))
