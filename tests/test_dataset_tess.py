"""TESS: what file names say, and which copies are refused."""

from __future__ import annotations

import pytest
from sertbench.datasets.tess import WORDS, Tess

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError
from sertbench.selection import select


def test_a_file_name_is_read(tmp_path):
    path = tmp_path / "OAF_Pleasant_surprise" / "OAF_back_ps.wav"
    path.parent.mkdir()
    path.touch()

    assert list(Tess().utterances(tmp_path)) == [
        Utterance(
            id="OAF_back_ps",
            path=path,
            label="surprise",
            speaker="OAF",
            gender="female",
            text="back",
            transcript="Say the word back",
            language="en",
        )
    ]


def test_the_misspelt_name_of_some_copies_is_the_file_it_should_be(tmp_path):
    (tmp_path / "OA_bite_neutral.wav").touch()

    (found,) = Tess().utterances(tmp_path)

    assert (found.id, found.speaker) == ("OAF_bite_neutral", "OAF")


def test_there_are_200_words():
    assert len(set(WORDS)) == 200
    assert list(WORDS) == sorted(WORDS)


def test_speaker_folds_select_on_words_that_were_not_trained(tmp_path):
    for clip in Tess().expected_ids():
        (tmp_path / f"{clip}.wav").touch()
    found = select(Tess(), "tess", tmp_path, Tess.label_set(None), "all")

    for fold in Tess.protocols[0].split(found).folds:
        train, val = ({found[i].text for i in fold.part(role)} for role in ("train", "val"))
        assert train.isdisjoint(val)
        assert len(val) == 40


def test_a_nested_second_copy_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "TESS Toronto emotional speech set data"):
        folder.mkdir(exist_ok=True)
        (folder / "YAF_youth_sad.wav").touch()

    with pytest.raises(CorpusError, match="1 utterance found more than once"):
        select(Tess(), "tess", tmp_path, Tess.label_set(None), "all")


@pytest.mark.parametrize("stem", ["MAF_back_sad", "OAF_zebra_sad", "OAF_back"])
def test_misnamed_files_are_refused(tmp_path, stem):
    (tmp_path / f"{stem}.wav").touch()

    with pytest.raises(CorpusError, match=r"is not named like a file of TESS\. Expected: "):
        list(Tess().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    (tmp_path / "OAF_back_surprised.wav").touch()

    with pytest.raises(CorpusError, match=r"OAF_back_surprised\.wav: unknown label code 'surprised'"):
        list(Tess().utterances(tmp_path))
