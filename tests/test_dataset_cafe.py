"""CaFE: what file names say in both archives, and which copies are refused."""

from __future__ import annotations

from collections import Counter

import pytest
from sertbench.datasets.cafe import Cafe

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError
from sertbench.selection import select


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root / names[0]


def test_a_file_name_is_read(tmp_path):
    path = touch(tmp_path, "CaFE_48k/Peur/Fort/12-P-2-5.wav")

    assert list(Cafe().utterances(tmp_path)) == [
        Utterance(
            id="12-P-2-5",
            path=path,
            label="fear",
            speaker="12",
            gender="female",
            text="5",
            transcript="Cinq pumas fiers et passionnés",
            intensity="strong",
            language="fr",
        )
    ]


@pytest.mark.parametrize(
    ("name", "label", "gender", "intensity"),
    [
        ("Colère/Faible/01-C-1-1.wav", "angry", "male", "mild"),
        ("D‚go–t/Fort/02-D-2-6.wav", "disgust", "female", "strong"),
        ("Joie/Fort/03-J-2-2.aiff", "happy", "male", "strong"),
        ("Tristesse/Faible/04-T-1-3.aiff", "sad", "female", "mild"),
        ("Neutre/11-N-1-4.wav", "neutral", "male", None),
    ],
)
def test_both_archives_are_read_whatever_became_of_the_accents(tmp_path, name, label, gender, intensity):
    touch(tmp_path, name)

    (found,) = Cafe().utterances(tmp_path)

    assert (found.label, found.gender, found.intensity) == (label, gender, intensity)


def test_both_archives_together_are_refused_not_counted_twice(tmp_path):
    touch(tmp_path, "CaFE_48k/Peur/Fort/12-P-2-5.wav", "CaFE_192k_2/Peur/Fort/12-P-2-5.aiff")

    with pytest.raises(CorpusError, match=r"1 utterance found more than once .*Point --data at one"):
        select(Cafe(), "cafe", tmp_path, Cafe.label_set(None), "all")


def test_the_published_names_are_936_and_neutral_has_one_intensity():
    ids = Cafe().expected_ids()

    assert Counter(i[3] for i in ids) == {"C": 144, "D": 144, "J": 144, "N": 72, "P": 144, "S": 144, "T": 144}
    assert not [i for i in ids if "N-2" in i]


@pytest.mark.parametrize("stem", ["13-P-2-5", "12-P-0-5", "12-P-2-7", "12P25", "12-P-2-5 (1)"])
def test_misnamed_files_are_refused(tmp_path, stem):
    touch(tmp_path, f"{stem}.wav")

    with pytest.raises(CorpusError, match=r"is not named like a file of CaFE\. Expected: "):
        list(Cafe().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    touch(tmp_path, "12-B-2-5.wav")

    with pytest.raises(CorpusError, match=r"12-B-2-5\.wav: unknown label code 'B'"):
        list(Cafe().utterances(tmp_path))
