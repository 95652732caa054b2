"""ShEMO, the Sharif emotional speech database (2019): 3000 utterances, 87 speakers, Persian, from radio plays.

31 women and 56 men in radio plays; twelve raters, majority label. 3.4 h, 44.1 kHz, but for some files at 22,050 Hz (121
of 2838, 104 of them neutral: the bandwidth tells something of the emotion). Speakers have 2 to 180 utterances; fear has
38 in all.

The label is the letter in the name of the sound file, as published. 162 files have no transcript of the same name, and
Yazdani and Shekofteh (arXiv 2211.09956) find, by recognising the words, that 163 files have the transcript of another
emotion, 137 of them a neutral one. EmoBox uses the 2838 files whose names agree: its figures are of another test set.

A file is `female/F21N23.wav`: speaker F21, emotion N, number 23. F is a woman as the first letter, fear as the fourth.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sertbench.corpus import Archive, Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError
from sertbench.protocol_rules import RANDOM10
from sertbench.protocols import GroupFolds

LABELS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad", "W": "surprise", "F": "fear"}

# Each speaker, and how many files there are of each emotion; they are numbered from 01.
FILES = """
    F01 A23H7N11S23W6F3  F02 A3H4N5S15W6F1  F03 A10H5N7S18W10F3  F04 A16N2  F05 A3N58S4W3  F06 A2H11N1S9W3F1
    F07 A64H13N11S48W7  F08 N1W1  F09 A13H4N9S19W4F2  F10 A60H1N1W2  F11 A1N9S4W1  F12 A13N13W1F1  F13 A24N1W3
    F14 H2N8S1W1  F15 A6N2  F16 S4W1F2  F17 A3H1N1S10W1  F18 A1N1S2  F19 N39S4  F20 H5N16S2W6  F21 A57H13N25S44W33F2
    F22 A9H4N6S15W3F1  F23 A20H7N12S4W1  F24 A70H26N16S21W25F2  F25 A8N3  F26 N5S3F2  F27 A3H1N1  F28 A27H1N4S8
    F29 H1N10W1  F30 A8H5N6S12W1F2  F31 A11S1  M01 H1N2W1  M02 A28H4N19S2  M03 A48H2N7S21W9F2  M04 A12H2N82S9W2
    M05 A13H2N19S15W3F1  M06 A2N6S7W1  M07 H2N8S1W2F4  M08 H4N11S1  M09 A24N1S1  M10 A2N1F1  M11 H9N6S1
    M12 A70H1N87S13W9  M13 A1H3N1  M14 N5S2  M15 A13N4W1  M16 A33H9N4W2F1  M17 A1H1N8S2W1  M18 A1N15S2F1
    M19 A5N6S3W2F1  M20 A6H2N8S2W5  M21 A4H2N11S1W7F1  M22 A6H1N31S3W4  M23 A2H2W1  M24 A4H1N5S4W4
    M25 A70H5N21S14W10  M26 A40N10S6W4F1  M27 A2N60W4  M28 A47H3N25S24W4  M29 A19N5S2  M30 A7N8W1  M31 A5N13S1W1
    M32 A1H3N3S5W1F1  M33 A2N1  M34 A9H6N4S5  M35 A1N1W1  M36 H1N3S6W1  M37 A1N17S3  M38 A2N13F1  M39 A1H2N1W1
    M40 A5N54S3  M41 A6H7N2W6  M42 A13N1  M43 A18H3N6W8  M44 A1H9N25S5W3F1  M45 A1N5W1  M46 A6N10W1
    M47 A20H1N26S1W2  M48 A5N10S2W1  M49 H1N5  M50 A12N2S1  M51 A1N23S2  M52 N3S4  M53 A28N26S3  M54 A1N3S1
    M55 A4H1N6  M56 A1N5W1
"""
WORDS = FILES.split()
CELLS = re.compile(r"([A-Z])(\d+)")
NAMES = tuple(
    f"{speaker}{code}{number:02d}"
    for speaker, cells in zip(WORDS[::2], WORDS[1::2], strict=True)
    for code, n in CELLS.findall(cells)
    for number in range(1, int(n) + 1)
)
NAME = re.compile(r"(?P<speaker>[FM]\d\d)(?P<code>[A-Z])\d\d")
TALK = Counter(name[:3] for name in NAMES)  # utterances of each speaker


def hands(sex: str) -> list[tuple[str, ...]]:
    """Five hands of speakers, dealt to and fro from who talks most to who talks least."""
    ranked = sorted((speaker for speaker in TALK if speaker.startswith(sex)), key=lambda s: (-TALK[s], s))
    order = (0, 1, 2, 3, 4, 4, 3, 2, 1, 0)
    return [tuple(s for i, s in enumerate(ranked) if order[i % 10] == hand) for hand in range(5)]


FIVE = {str(k + 1): hands("F")[k] + hands("M")[4 - k] for k in range(5)}


def label_set(name: str, codes: str, note: str) -> LabelSet:
    """The classes of some letters, with their published counts."""
    found = [file for file in NAMES if file[3] in codes]
    return LabelSet(
        name,
        mapping={LABELS[code]: LABELS[code] for code in codes},
        counts={LABELS[code]: n for code, n in Counter(file[3] for file in found).items()},
        speakers=Counter(file[:3] for file in found),
        note=note,
    )


class Shemo(Corpus):
    """ShEMO: 3000 Persian utterances from radio plays, 87 speakers, 6 emotions."""

    citation = (
        "O. Mohamad Nezami, P. Jamshid Lou, M. Karami: ShEMO: a large-scale validated database for Persian speech "
        "emotion detection. Language Resources and Evaluation 53(1), 1-16, 2019"
    )
    licence = "free for academic purposes"
    access = "Type `git lfs clone https://github.com/mansourehk/ShEMO.git` and unpack female.zip and male.zip."
    language = "Persian"
    hours = 3.4
    archives = (
        Archive(
            "https://github.com/mansourehk/ShEMO/raw/0db1b9343e08794d66ca2f5c3faa9533c923abcd/female.zip",
            "female.zip",
            "sha256:663d8d7dceb44adbbf87d84be3a080fb691d169fbd972f6941e6302bc39f71e6",
            size=374_368_830,
        ),
        Archive(
            "https://github.com/mansourehk/ShEMO/raw/0db1b9343e08794d66ca2f5c3faa9533c923abcd/male.zip",
            "male.zip",
            "sha256:747670d0d918e59d5e5020cf66610242890b093d42968c467c4f02eb5e6a6b1a",
            size=496_606_401,
        ),
    )
    layout = "folders female and male with 3000 files in all, such as female/F21N23.wav"
    labels = LABELS
    label_sets = (
        label_set("6class", "AHNSWF", "38 of fear: one of them is 2.6 points of its recall"),
        label_set("5class", "AHNSW", "without fear"),
        label_set("4class", "AHSN", "the classes of the common IEMOCAP task"),
    )
    protocols = (
        GroupFolds(
            "speaker5",
            version=1,
            key="speaker",
            groups=FIVE,
            summary="5 folds of 17 or 18 speakers, women and men as in the whole; the next fold's speakers validate",
        ),
        RANDOM10,
    )
    channel = "mean"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            if not parts or parts["speaker"] not in TALK:
                raise CorpusError(f"{path} is not named like a file of ShEMO. Expected: {self.layout}")
            yield Utterance(
                id=path.stem,
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=parts["speaker"],
                gender="female" if parts["speaker"].startswith("F") else "male",
                language="fa",
            )

    def expected_ids(self) -> frozenset[str]:
        """The 3000 published names."""
        return frozenset(NAMES)
