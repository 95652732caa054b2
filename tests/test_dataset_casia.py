"""CASIA: what folders and file names say, and which copies are refused."""

from __future__ import annotations

import pytest
from sertbench.datasets.casia import Casia

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError
from sertbench.selection import select


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_folders_and_file_name_are_read(tmp_path):
    path = touch(tmp_path / "CASIA" / "liuchanhg" / "angry" / "201.wav")

    assert list(Casia().utterances(tmp_path)) == [
        Utterance(
            id="201-angry-liuchanhg",
            path=path,
            label="angry",
            speaker="liuchanhg",
            gender="female",
            text="201",
            language="zh",
        )
    ]


@pytest.mark.parametrize(
    ("name", "id_", "gender"),
    [
        ("ZhaoZuoxiang/surprise/250.wav", "250-surprise-zhaozuoxiang", "male"),
        ("6/sad/201-sad-zhaoquanyin.wav", "201-sad-zhaoquanyin", "female"),
        ("230-neutral-ZhaoZuoxiang.wav", "230-neutral-zhaozuoxiang", "male"),
    ],
)
def test_other_spellings_and_flat_copies_have_the_same_ids(tmp_path, name, id_, gender):
    touch(tmp_path / name)

    (found,) = Casia().utterances(tmp_path)

    assert (found.id, found.gender) == (id_, gender)
    assert found.id in Casia().expected_ids()


def test_the_layout_in_folders_is_the_whole_corpus(tmp_path):
    for name in Casia().expected_ids():
        sentence, emotion, speaker = name.split("-")
        touch(tmp_path / speaker / emotion / f"{sentence}.wav")

    assert len(select(Casia(), "casia", tmp_path, Casia.label_set(None), "all")) == 1200


@pytest.mark.parametrize(
    "name", ["liuchang/angry/201.wav", "angry/201.wav", "liuchanhg/angry/251.wav", "liuchanhg/angry/x201.wav"]
)
def test_misnamed_files_are_refused(tmp_path, name):
    touch(tmp_path / name)

    with pytest.raises(CorpusError, match=r"is not named like a file of CASIA\. Expected: "):
        list(Casia().utterances(tmp_path))


def test_an_unknown_emotion_is_refused(tmp_path):
    touch(tmp_path / "liuchanhg" / "bored" / "201.wav")

    with pytest.raises(CorpusError, match=r"201\.wav: unknown label code 'bored'"):
        list(Casia().utterances(tmp_path))
