"""EMOVO: what file names say, and which copies are refused."""

from __future__ import annotations

import pytest
from sertbench.datasets.emovo import Emovo

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError


def test_a_file_name_is_read(tmp_path):
    path = tmp_path / "EMOVO" / "f2" / "gio-f2-b2.wav"
    path.parent.mkdir(parents=True)
    path.touch()

    assert list(Emovo().utterances(tmp_path)) == [
        Utterance(id="gio-f2-b2", path=path, label="happy", speaker="f2", gender="female", text="b2", language="it")
    ]


@pytest.mark.parametrize(
    ("code", "label"),
    [("rab", "angry"), ("tri", "sad"), ("pau", "fear"), ("sor", "surprise"), ("dis", "disgust"), ("neu", "neutral")],
)
def test_italian_codes_are_the_common_words(tmp_path, code, label):
    (tmp_path / f"{code}-m3-d1.wav").touch()

    (found,) = Emovo().utterances(tmp_path)

    assert (found.label, found.gender) == (label, "male")


def test_the_published_names_are_588_with_14_sentences():
    ids = Emovo().expected_ids()

    assert len(ids) == 588
    assert len({i.split("-")[2] for i in ids}) == 14


def test_one_microphone_of_the_two_is_heard():
    assert Emovo.channel == "left"


@pytest.mark.parametrize("stem", ["gio-f4-b2", "gio-f2-b4", "gio_f2_b2", "gio-f2-b2 (1)"])
def test_misnamed_files_are_refused(tmp_path, stem):
    (tmp_path / f"{stem}.wav").touch()

    with pytest.raises(CorpusError, match=r"is not named like a file of EMOVO\. Expected: "):
        list(Emovo().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    (tmp_path / "noi-f2-b2.wav").touch()

    with pytest.raises(CorpusError, match=r"noi-f2-b2\.wav: unknown label code 'noi'"):
        list(Emovo().utterances(tmp_path))
