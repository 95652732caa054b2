"""MSP-IMPROV: talker, kind and text from the turn's name, the label from its line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sertbench.datasets.msp_improv import COUNTS, MspImprov

from sertbench.corpus import Utterance
from sertbench.errors import CorpusError

RATER = "WORKER_09; Angry; Angry,Frustrated,Annoyed; A:2.000000; V:2.000000; D:2.000000; N:4.000000;"
FIGURES = "A:3.100000; V:2.200000; D:2.700000 ; N:4.000000;"  # with a blank before `; N`, as in the release


def make(root: Path, *lines: str, table: str = "Evalution.txt") -> Path:
    """A table with these lines, and a wav file for each."""
    (root / table).write_text("\n".join(f"{line}\n{RATER}\n" for line in lines))
    for line in lines:
        scene, talker, kind = line.split("-")[2:5]
        path = root / f"session{talker[-1]}" / scene / kind / f"{line.split('.avi')[0].replace('UTD', 'MSP')}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def read(root: Path) -> dict[str, Utterance]:
    return {u.id: u for u in MspImprov().utterances(root)}


def test_a_turn_is_told_by_its_name_and_its_line(tmp_path):
    make(tmp_path, f"UTD-IMPROV-S08A-F05-S-FM02.avi; H; {FIGURES}")

    assert list(read(tmp_path).values()) == [
        Utterance(
            id="MSP-IMPROV-S08A-F05-S-FM02",
            path=tmp_path / "session5/S08A/S/MSP-IMPROV-S08A-F05-S-FM02.wav",
            label="happy",
            speaker="F05",
            gender="female",
            session="5",
            dialogue="5-S08A",
            text="scenario 08A",
            style="improvised",
            language="en",
            arousal=3.1,
            valence=2.2,
            dominance=2.7,
        )
    ]


@pytest.mark.parametrize(
    ("turn", "style", "text"),
    [
        ("S01A-F02-R-FF01", "read", "01"),
        ("S01H-M02-T-FM03", "target", "01"),
        ("S01H-M02-S-FM04", "improvised", "scenario 01H"),
        ("S01H-M02-P-FM01", "natural", None),
    ],
)
def test_target_sentences_are_one_text_however_they_are_meant(tmp_path, turn, style, text):
    make(tmp_path, f"UTD-IMPROV-{turn}.avi; N; {FIGURES}")

    (utterance,) = read(tmp_path).values()

    assert (utterance.style, utterance.text, utterance.gender) == (style, text, {"F": "female", "M": "male"}[turn[5]])


def test_the_talker_is_the_third_part_of_the_name_not_the_roles(tmp_path):
    make(tmp_path, f"UTD-IMPROV-S08A-M05-S-FM02.avi; H; {FIGURES}")

    assert [(u.speaker, u.gender, u.session) for u in read(tmp_path).values()] == [("M05", "male", "5")]


def test_the_other_spelling_of_the_table_and_ratings_that_nobody_gave_are_read(tmp_path):
    line = "UTD-IMPROV-S01A-F01-P-FM01.avi; X; A:3.000000; V:NaN; D:NaN ; N:NaN;"
    make(tmp_path, line, table="Evaluation.txt")

    (utterance,) = read(tmp_path).values()

    assert (utterance.label, utterance.arousal, utterance.valence, utterance.dominance) == (
        "no agreement",
        3,
        None,
        None,
    )


def test_the_counts_are_those_of_the_paper():
    (label_set,) = MspImprov.label_sets

    assert label_set.counts == {"neutral": 3477, "happy": 2644, "sad": 885, "angry": 792}
    assert {style: sum(counts.values()) for style, counts in COUNTS.items()} == {
        "improvised": 4381,
        "natural": 2785,
        "target": 652,
        "read": 620,
    }


def test_each_fold_tests_one_woman_and_one_man_of_one_session():
    turns = [
        Utterance(f"{n}{sex}", Path("x.wav"), "sad", f"{sex}0{n}", gender=sex, session=str(n))
        for n in range(1, 7)
        for sex in "FM"
    ]

    folds = MspImprov.protocols[0].split(turns).folds

    assert [{turns[i].speaker for i in fold.test} for fold in folds] == [{f"F0{n}", f"M0{n}"} for n in range(1, 7)]
    assert Counter(turns[i].session for i in folds[5].val) == {"1": 2}


def test_labels_without_audio_and_audio_without_a_label_are_both_named(tmp_path):
    make(tmp_path, f"UTD-IMPROV-S01A-F01-P-FM01.avi; N; {FIGURES}", f"UTD-IMPROV-S01A-F01-P-FM02.avi; N; {FIGURES}")
    wav = tmp_path / "session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav"
    wav.rename(wav.with_name("MSP-IMPROV-S01A-F01-P-FM77.wav"))

    with pytest.raises(
        CorpusError, match=r"1 labelled turns have no wav file: S01A-F01-P-FM01; 1 wav files have no"
    ) as c:
        read(tmp_path)

    assert "MSP-IMPROV-S01A-F01-P-FM77.wav" in str(c.value)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (f"UTD-IMPROV-S01A-F01-P-FM01.avi; Q; {FIGURES}", r"S01A-F01-P-FM01 in Evalution.txt: unknown label code 'Q'"),
        (f"UTD-IMPROV-S01A-F07-P-FM01.avi; N; {FIGURES}", r"'S01A-F07-P-FM01' is not a turn of MSP-IMPROV"),
        (f"UTD-IMPROV-S01A-F01-Z-FM01.avi; N; {FIGURES}", r"'S01A-F01-Z-FM01' is not a turn of MSP-IMPROV"),
        ("UTD-IMPROV-S01A-F01-P-FM01.avi; N; high", r"Evalution\.txt: cannot read the line 'UTD-IMPROV-S01A"),
    ],
)
def test_codes_names_and_lines_that_do_not_exist_are_refused(tmp_path, line, fault):
    make(tmp_path, line)

    with pytest.raises(CorpusError, match=fault):
        read(tmp_path)
