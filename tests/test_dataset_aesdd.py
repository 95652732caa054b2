"""AESDD: the spellings of its file names, and which copies are refused."""

from __future__ import annotations

from collections import Counter

import pytest
from sertbench.datasets.aesdd import Aesdd

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError
from sertbench.selection import select


def test_a_file_name_is_read(tmp_path):
    path = tmp_path / "anger" / "a03 (3).wav"
    path.parent.mkdir()
    path.touch()

    assert list(Aesdd().utterances(tmp_path)) == [
        Utterance(id="a03 (3)", path=path, label="angry", speaker="3", text="03", language="el")
    ]


@pytest.mark.parametrize(
    ("stem", "name", "speaker", "text"),
    [
        ("f10 (01)", "f10 (1)", "1", "10"),
        ("a06 (5)b", "a06 (5)b", "5", "06"),
        ("s01 (5)a", "s01 (5)a", "5", "01"),
        ("a07 (4) b", "a07 (4)b", "4", "07"),
    ],
)
def test_odd_spellings_are_read(tmp_path, stem, name, speaker, text):
    (tmp_path / f"{stem}.wav").touch()

    (found,) = Aesdd().utterances(tmp_path)

    assert (found.id, found.speaker, found.text) == (name, speaker, text)


def test_the_published_names_have_the_counts_of_what_can_be_decoded():
    ids = Aesdd().expected_ids()

    assert Counter(i[0] for i in ids) == {"a": 121, "d": 122, "f": 120, "h": 119, "s": 122}
    assert Counter(i[5] for i in ids) == {"1": 100, "2": 100, "3": 98, "4": 99, "5": 107, "6": 100}
    assert "s05 (3)" not in ids


@pytest.mark.parametrize("there", [True, False])
def test_the_file_that_cannot_be_decoded_changes_nothing(tmp_path, there):
    names = {*Aesdd().expected_ids(), "s05 (3)"} if there else Aesdd().expected_ids()
    for stem in names:
        (tmp_path / f"{stem}.wav").touch()

    assert len(select(Aesdd(), "aesdd", tmp_path, Aesdd.label_set(None), "all")) == 604


@pytest.mark.parametrize("stem", ["a03 (7)", "a03", "a3 (3)", "a03_(3)"])
def test_misnamed_files_are_refused(tmp_path, stem):
    (tmp_path / f"{stem}.wav").touch()

    with pytest.raises(CorpusError, match=r"is not named like a file of AESDD\. Expected: "):
        list(Aesdd().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    (tmp_path / "n03 (3).wav").touch()

    with pytest.raises(CorpusError, match=r"n03 \(3\)\.wav: unknown label code 'n'"):
        list(Aesdd().utterances(tmp_path))
