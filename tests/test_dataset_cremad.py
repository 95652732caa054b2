"""CREMA-D: what file names and the table of votes say, and which copies are refused."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from sertbench.datasets.cremad import FIVE, MEN, WOMEN, CremaD

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError

HEADER = '"","FileName","VoiceVote","VoiceLevel"\n'


def corpus(root: Path, stems: list[str], rows: dict[str, str]) -> list[Utterance]:
    (root / "AudioWAV").mkdir(parents=True)
    for stem in stems:
        (root / "AudioWAV" / f"{stem}.wav").touch()
    (root / "processedResults").mkdir()
    lines = [f'"{n}","{clip}","{vote}","69.1"\n' for n, (clip, vote) in enumerate(rows.items(), 1)]
    (root / "processedResults" / "summaryTable.csv").write_text(HEADER + "".join(lines))
    return list(CremaD().utterances(root))


def test_a_clip_has_what_was_meant_and_what_was_heard(tmp_path):
    (clip,) = corpus(tmp_path, ["1002_IEO_HAP_LO"], {"1002_IEO_HAP_LO": "N"})

    assert clip == Utterance(
        id="1002_IEO_HAP_LO",
        path=tmp_path / "AudioWAV" / "1002_IEO_HAP_LO.wav",
        label="happy, heard neutral",
        speaker="1002",
        gender="female",
        text="IEO",
        transcript="It's eleven o'clock",
        intensity="low",
        language="en",
    )


@pytest.mark.parametrize(
    ("vote", "intended", "heard"), [("D", "angry", "disgust"), ("A:D", "angry", None), ("A:D:F:N:S", "angry", None)]
)
def test_each_label_set_takes_its_own_reading(tmp_path, vote, intended, heard):
    (clip,) = corpus(tmp_path, ["1001_DFA_ANG_XX"], {"1001_DFA_ANG_XX": vote})

    assert CremaD.label_set("6class").mapping[clip.label] == intended
    assert CremaD.label_set("4class").mapping[clip.label] == intended
    assert CremaD.label_set("6class-voicevote").mapping.get(clip.label) == heard
    assert clip.intensity is None


def test_both_readings_have_the_same_order_of_classes():
    assert CremaD.label_set("6class").classes == CremaD.label_set("6class-voicevote").classes


def test_the_misnamed_file_of_old_copies_is_the_one_it_should_be(tmp_path):
    (clip,) = corpus(tmp_path, ["1040_ITH_SAD_X"], {"1040_ITH_SAD_XX": "S"})

    assert (clip.id, clip.label) == ("1040_ITH_SAD_XX", "sad, heard sad")


def test_the_published_names_are_7442():
    ids = CremaD().expected_ids()

    assert len(ids) == 7442
    assert Counter(i.split("_")[3] for i in ids) == {"XX": 6077, "LO": 455, "MD": 455, "HI": 455}
    assert Counter(i.split("_")[1] for i in ids)["IEO"] == 1456
    assert "1076_MTI_SAD_XX" in ids
    assert not {"1008_WSI_SAD_XX", "1002_TIE_NEU_XX"} & ids


def test_folds_have_women_and_men_as_the_whole():
    assert len(WOMEN) == 43
    for actors in FIVE.values():
        assert len(actors) in (18, 19)
        assert len(set(actors) & set(WOMEN)) in (8, 9)
        assert len(set(actors) & set(MEN)) in (9, 10)
    assert sorted(chain.from_iterable(FIVE.values())) == sorted(WOMEN + MEN)


def test_a_complete_copy_without_the_table_says_which_file_it_lacks(tmp_path, monkeypatch):
    clips = frozenset({"1001_DFA_ANG_XX", "1001_DFA_SAD_XX"})
    monkeypatch.setattr(CremaD, "expected_ids", lambda _: clips)
    for clip in clips:
        (tmp_path / f"{clip}.wav").touch()

    with pytest.raises(CorpusError, match=r"heard in 2 clips: 1001_DFA_ANG_XX.*processedResults/summaryTable\.csv"):
        list(CremaD().utterances(tmp_path))


def test_a_table_of_something_else_is_refused(tmp_path):
    (tmp_path / "1001_DFA_ANG_XX.wav").touch()
    (tmp_path / "summaryTable.csv").write_text('"","clip"\n"1","1001_DFA_ANG_XX"\n')

    with pytest.raises(CorpusError, match=r"summaryTable\.csv has no columns FileName and VoiceVote"):
        list(CremaD().utterances(tmp_path))


def test_an_unknown_vote_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"1001_DFA_ANG_XX\.wav: unknown label code 'ANG/Q'"):
        corpus(tmp_path, ["1001_DFA_ANG_XX"], {"1001_DFA_ANG_XX": "Q"})


@pytest.mark.parametrize("stem", ["1092_DFA_ANG_XX", "1001_DFA_BOR_XX", "1001_ABC_ANG_XX", "1001_DFA_ANG_XX (1)"])
def test_misnamed_files_are_refused(tmp_path, stem):
    with pytest.raises(CorpusError, match=r"is not named like a file of CREMA-D\. Expected: "):
        corpus(tmp_path, [stem], {})
