"""ASED: what file names say, what was kept of each speaker, and which copies are refused."""

from __future__ import annotations

from collections import Counter

import pytest
from sertbench.datasets.ased import FIVE, SPEAKERS, TEXTS, Ased

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError


def test_a_file_name_is_read(tmp_path):
    path = tmp_path / "05Angry" / "a5-03-01-02-50.wav"
    path.parent.mkdir()
    path.touch()

    assert list(Ased().utterances(tmp_path)) == [
        Utterance(
            id="a5-03-01-02-50",
            path=path,
            label="angry",
            speaker="50",
            gender="male",
            text="angry-03",
            style="written",
            language="am",
        )
    ]


@pytest.mark.parametrize(
    ("stem", "id_", "gender", "text"),
    [
        ("n1-02-02-01-01", "n1-02-02-01-01", "female", "02"),
        ("S4-04-02-01-29", "s4-04-02-01-29", "female", "sad-04"),  # a capital, as published
        ("f2-07-02-02-21", "f2-07-02-02-21", "female", "fear-07"),  # a woman, in spite of the 02
    ],
)
def test_odd_names_are_read(tmp_path, stem, id_, gender, text):
    (tmp_path / f"{stem}.wav").touch()

    (found,) = Ased().utterances(tmp_path)

    assert (found.id, found.gender, found.text) == (id_, gender, text)
    assert found.id in Ased().expected_ids()


def test_the_published_names_are_2474_with_the_published_counts():
    ids = Ased().expected_ids()

    assert Counter(i[0] for i in ids) == {"n": 522, "f": 510, "h": 486, "s": 470, "a": 486}
    assert Counter(i[-2:] for i in ids)["47"] == 18
    assert Counter(kept[0] for kept in SPEAKERS.values()) == {"w": 25, "m": 40}


def test_every_fold_has_five_women_and_eight_men_and_a_sentence_of_each_emotion():
    for group in FIVE.values():
        assert Counter(SPEAKERS[speaker][0] for speaker in group) == {"w": 5, "m": 8}
    assert [len(texts) for texts in TEXTS.values()] == [6, 6, 5, 5, 5]


@pytest.mark.parametrize(
    "stem", ["a5-03-01-02-66", "a5-08-01-02-50", "a5-03-03-02-50", "a5-03-01-50", "05-03-01-02-50"]
)
def test_misnamed_files_are_refused(tmp_path, stem):
    (tmp_path / f"{stem}.wav").touch()

    with pytest.raises(CorpusError, match=r"is not named like a file of ASED\. Expected: "):
        list(Ased().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    (tmp_path / "d6-03-01-02-50.wav").touch()

    with pytest.raises(CorpusError, match=r"d6-03-01-02-50\.wav: unknown label code 'd6'"):
        list(Ased().utterances(tmp_path))
