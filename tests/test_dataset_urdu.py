"""URDU: what file names say, and which copies are refused."""

from __future__ import annotations

from collections import Counter

import pytest
from sertbench.datasets.urdu import SPEAKER_OF, Urdu

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError


def test_a_file_name_is_read(tmp_path):
    path = tmp_path / "Neutral" / "SM5_F61_N089.wav"
    path.parent.mkdir()
    path.touch()

    assert list(Urdu().utterances(tmp_path)) == [
        Utterance(id="SM5_F61_N089", path=path, label="neutral", speaker="SM5", gender="male", language="ur")
    ]


@pytest.mark.parametrize(
    "name",
    ["SM1_F1_A01", "SM4_F48_A0100", "SF1_F9_H09", "SM18_F1_H049", "SM3_F3_N023", "SM6_F4_S0100"],
)
def test_names_of_the_repository_are_among_the_published_ones(name):
    assert name in Urdu().expected_ids()


def test_speakers_give_the_emotion_away():
    emotions = {
        speaker: Counter(clip.split("_")[2][0] for clip, s in SPEAKER_OF.items() if s == speaker)
        for speaker in SPEAKER_OF.values()
    }

    assert len(emotions) == 29
    assert sum(len(counts) == 1 for counts in emotions.values()) == 26
    assert sum(max(counts.values()) for counts in emotions.values()) == 384


def test_every_fold_tests_all_emotions():
    for speakers in Urdu.protocols[0].groups.values():
        assert {clip.split("_")[2][0] for clip, s in SPEAKER_OF.items() if s in speakers} == set("AHNS")


@pytest.mark.parametrize("stem", ["SM5_N089", "SX5_F61_N089", "M5_F61_N089", "SM5_F61_N089_"])
def test_misnamed_files_are_refused(tmp_path, stem):
    (tmp_path / f"{stem}.wav").touch()

    with pytest.raises(CorpusError, match=r"is not named like a file of URDU\. Expected: "):
        list(Urdu().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    (tmp_path / "SM5_F61_F089.wav").touch()

    with pytest.raises(CorpusError, match=r"SM5_F61_F089\.wav: unknown label code 'F'"):
        list(Urdu().utterances(tmp_path))
