"""SUBESCO: what file names say, and which copies are refused."""

from __future__ import annotations

import pytest
from sertbench.datasets.subesco import FOURS, Subesco

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError


def test_a_file_name_is_read(tmp_path):
    path = tmp_path / "SUBESCO" / "F_10_FAHMEE_S_6_FEAR_5.wav"
    path.parent.mkdir()
    path.touch()

    assert list(Subesco().utterances(tmp_path)) == [
        Utterance(
            id="F_10_FAHMEE_S_6_FEAR_5",
            path=path,
            label="fear",
            speaker="F_10_FAHMEE",
            gender="female",
            text="6",
            language="bn",
        )
    ]


@pytest.mark.parametrize(
    ("stem", "label", "gender", "text"),
    [
        ("M_10_EVAN_S_10_DISGUST_2", "disgust", "male", "10"),
        ("M_01_BASHIR_S_1_HAPPY_1", "happy", "male", "1"),
        ("F_06_SIMI_S_9_SURPRISE_3", "surprise", "female", "9"),
    ],
)
def test_other_names_are_read(tmp_path, stem, label, gender, text):
    (tmp_path / f"{stem}.wav").touch()

    (found,) = Subesco().utterances(tmp_path)

    assert (found.id, found.label, found.gender, found.text) == (stem, label, gender, text)


def test_the_stray_bracket_of_one_published_name_is_not_part_of_its_id(tmp_path):
    (tmp_path / "F_02_MONIKA_S_2_SURPRISE_3].wav").touch()

    (found,) = Subesco().utterances(tmp_path)

    assert found.id == "F_02_MONIKA_S_2_SURPRISE_3"
    assert found.id in Subesco().expected_ids()


def test_every_fold_has_two_women_and_two_men():
    sexes = ["".join(sorted(speaker[0] for speaker in group)) for group in FOURS.values()]

    assert sexes == ["FFMM"] * 5
    assert len({speaker for group in FOURS.values() for speaker in group}) == 20


@pytest.mark.parametrize(
    "stem",
    ["F_10_EVAN_S_6_FEAR_5", "F_11_FAHMEE_S_6_FEAR_5", "F_10_FAHMEE_S_11_FEAR_5", "F_10_FAHMEE_S_6_FEAR_6", "F_10_S_6"],
)
def test_misnamed_files_are_refused(tmp_path, stem):
    (tmp_path / f"{stem}.wav").touch()

    with pytest.raises(CorpusError, match=r"is not named like a file of SUBESCO\. Expected: "):
        list(Subesco().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    (tmp_path / "F_10_FAHMEE_S_6_BORED_5.wav").touch()

    with pytest.raises(CorpusError, match=r"F_10_FAHMEE_S_6_BORED_5\.wav: unknown label code 'BORED'"):
        list(Subesco().utterances(tmp_path))
