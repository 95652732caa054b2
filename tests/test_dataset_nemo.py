"""nEMO: what file names and the table say, what was published, and which copies are refused."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from sertbench.datasets.nemo import GROUPS, Nemo

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError


def test_a_file_name_and_its_line_of_the_table_are_read(tmp_path):
    path = tmp_path / "nEMO" / "samples" / "WR0_surprised_64.wav"
    path.parent.mkdir(parents=True)
    path.touch()
    table = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
    table += "WR0_surprised_64.wav\tsurprised\t„Ucho” wykrywa dźwięki.\tucho wykrywa dźwięki\t        WR0\tmale\t23\n"
    (tmp_path / "nEMO" / "data.tsv").write_text(table, encoding="utf-8")

    assert list(Nemo().utterances(tmp_path)) == [
        Utterance(
            id="WR0_surprised_64",
            path=path,
            label="surprise",
            speaker="WR0",
            gender="male",
            text="64",
            transcript="„Ucho” wykrywa dźwięki.",
            language="pl",
        )
    ]


@pytest.mark.parametrize(
    ("code", "label"),
    [("anger", "angry"), ("sadness", "sad"), ("happiness", "happy"), ("fear", "fear"), ("neutral", "neutral")],
)
def test_it_does_without_the_table(tmp_path, code, label):
    (tmp_path / f"MK0_{code}_1.wav").touch()

    (found,) = Nemo().utterances(tmp_path)

    assert (found.label, found.gender, found.transcript) == (label, "female", None)


def test_the_published_names_are_those_of_the_repository():
    ids = Nemo().expected_ids()

    digest = hashlib.sha256(" ".join(sorted(ids)).encode()).hexdigest()  # of the names in data.tsv, without .wav

    assert len(ids) == 4481
    assert digest == "a80678356ef4e1ff6b0270dfa7ce325e2d345dc3f6b7e86ff1e2e455d6190b10"
    assert Counter(i.split("_")[0] for i in ids)["MP0"] == 256


def test_every_fold_has_a_woman_and_a_man_and_all_emotions():
    for group in GROUPS.values():
        ids = [i for i in Nemo().expected_ids() if i.startswith(group)]
        assert len({i.split("_")[1] for i in ids}) == 6
        assert {speaker in ("EB0", "IC0", "KD0", "MK0") for speaker in group} == {True, False}


@pytest.mark.parametrize("stem", ["XX0_anger_1", "WR0_anger_0", "WR0_anger_91", "WR0_anger_01", "WR0-anger-1"])
def test_misnamed_files_are_refused(tmp_path, stem):
    (tmp_path / f"{stem}.wav").touch()

    with pytest.raises(CorpusError, match=r"is not named like a file of nEMO\. Expected: "):
        list(Nemo().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    (tmp_path / "WR0_disgust_1.wav").touch()

    with pytest.raises(CorpusError, match=r"WR0_disgust_1\.wav: unknown label code 'disgust'"):
        list(Nemo().utterances(tmp_path))
