"""JL-Corpus: what file names say, and which copies are refused."""

from __future__ import annotations

import pytest
from sertbench.datasets.jlcorpus import JLCorpus

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError


def test_a_file_name_is_read_and_its_text_file_is_passed_over(tmp_path):
    path = tmp_path / "Raw JL corpus (unchecked and unannotated)" / "JL(wav+txt)" / "male2_concerned_6b_1.wav"
    path.parent.mkdir(parents=True)
    path.touch()
    path.with_suffix(".txt").touch()

    assert list(JLCorpus().utterances(tmp_path)) == [
        Utterance(
            id="male2_concerned_6b_1",
            path=path,
            label="concerned",
            speaker="male2",
            gender="male",
            session="male2b",
            text="6",
            language="en",
        )
    ]


def test_both_sessions_of_a_sentence_are_one_text(tmp_path):
    for stem in ("female1_angry_15a_1", "female1_angry_15b_2"):
        (tmp_path / f"{stem}.wav").touch()

    found = list(JLCorpus().utterances(tmp_path))

    assert [(u.text, u.gender, u.session) for u in found] == [
        ("15", "female", "female1a"),
        ("15", "female", "female1b"),
    ]


def test_the_secondary_emotions_are_in_the_default_classes_alone():
    sizes = {label_set.name: len(label_set.classes) for label_set in JLCorpus.label_sets}

    assert sizes == {"10class": 10, "5class": 5, "4class": 4}
    assert "concerned" not in JLCorpus.label_set("5class").mapping


@pytest.mark.parametrize(
    "stem", ["male3_angry_1a_1", "male1_angry_16a_1", "male1_angry_1c_1", "male1_angry_1a_3", "male1-angry-1a-1"]
)
def test_misnamed_files_are_refused(tmp_path, stem):
    (tmp_path / f"{stem}.wav").touch()

    with pytest.raises(CorpusError, match=r"is not named like a file of JL-Corpus\. Expected: "):
        list(JLCorpus().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    (tmp_path / "male1_bored_1a_1.wav").touch()

    with pytest.raises(CorpusError, match=r"male1_bored_1a_1\.wav: unknown label code 'bored'"):
        list(JLCorpus().utterances(tmp_path))
