"""URDU (2018): 400 utterances of 29 speakers, Urdu, from television talk shows.

100 clips of each of four emotions, cut from talk shows on YouTube. 0.28 h, 44.1 kHz mono, not acted. The authors count
38 speakers (27 men, 11 women), their file names 29 (18 men, 11 women).

Telling the speakers apart is enough: 26 of the 29 have clips of one emotion only, and whoever answers with the
speaker's usual emotion is right for 96 % of the clips. Random folds, the usual ones in the literature, measure just
that. By speakers there are four angry men in all, and 72 of the 100 neutral clips are one man's. Nothing is ranked.

A file is `Neutral/SM5_F61_N089.wav`: speaker SM5 (a man), his clip 61 of this emotion, the emotion's clip 089.
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

LABELS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}
CLIPS = {  # how many each speaker has, in the order of the emotion's numbers
    "A": "SM1 22 SM2 28 SM3 2 SM4 48",
    "H": "SF1 12 SF2 2 SF3 2 SF4 4 SF5 4 SF6 14 SF7 6 SF8 2 SM17 2 SM18 2 SM19 2 SM3 2 SM5 8 SM6 10 SM7 28",
    "N": "SF9 4 SM20 10 SM21 4 SM22 2 SM3 8 SM5 72",
    "S": "SF10 2 SF11 4 SM23 6 SM24 38 SM25 40 SM26 2 SM27 4 SM6 4",
}
FOUR = {  # all emotions in each, as evenly as whole speakers allow
    "1": ("SM4", "SM20", "SM23", "SF11", "SF1", "SF6"),
    "2": ("SM2", "SM21", "SM22", "SM24", "SM6", "SF7"),
    "3": ("SM1", "SF9", "SM25", "SM7"),
    "4": ("SM3", "SM5", "SM26", "SM27", "SF10", "SF2", "SF3", "SF4", "SF5", "SF8", "SM17", "SM18", "SM19"),
}
NAME = re.compile(r"(?P<speaker>S(?P<sex>[FM])\d+)_F\d+_(?P<code>[A-Z])\d+")


def published() -> dict[str, str]:
    """The speaker of each published clip."""
    speaker_of = {}
    for code, listed in CLIPS.items():
        words, number = listed.split(), 0
        for speaker, n in zip(words[::2], words[1::2], strict=True):
            for clip in range(1, int(n) + 1):
                number += 1
                speaker_of[f"{speaker}_F{clip}_{code}0{number}"] = speaker
    return speaker_of


SPEAKER_OF = published()


class Urdu(Corpus):
    """URDU: 400 Urdu utterances from talk shows, 29 speakers, 4 emotions; never ranked."""

    citation = (
        "S. Latif, A. Qayyum, M. Usman, J. Qadir: Cross Lingual Speech Emotion Recognition: Urdu vs. Western "
        "Languages. International Conference on Frontiers of Information Technology 2018, 88-93"
    )
    licence = "for research only"
    access = "Type `git clone https://github.com/siddiquelatif/URDU-Dataset.git`."
    language = "Urdu"
    hours = 0.28
    archives = (
        Archive(
            "https://codeload.github.com/siddiquelatif/URDU-Dataset/tar.gz/4b546d4e0fa36d1c86c53a281631b2ab7ce2fdec",
            "URDU-Dataset.tar.gz",
            "git:fd97cfbdda9d771ca56f7eab5b4c9edfb11edbbf",
            size=88_104_077,
            inside="URDU-Dataset-4b546d4e0fa36d1c86c53a281631b2ab7ce2fdec",
        ),
    )
    layout = "folders Angry, Happy, Neutral and Sad with 100 files each, such as Neutral/SM5_F61_N089.wav"
    labels = LABELS
    label_sets = (
        LabelSet(
            "4class",
            mapping={label: label for label in LABELS.values()},
            counts=dict.fromkeys(LABELS.values(), 100),
            speakers=Counter(SPEAKER_OF.values()),
        ),
    )
    protocols = (
        GroupFolds(
            "speaker4",
            version=1,
            key="speaker",
            groups=FOUR,
            summary="4 folds of 4 to 13 speakers with all emotions; the next fold's speakers validate",
        ),
        RANDOM10,
    )
    unranked = "26 of 29 speakers have one emotion only: knowing the speaker is being right for 96 % of the clips"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            if not parts:
                raise CorpusError(f"{path} is not named like a file of URDU. Expected: {self.layout}")
            yield Utterance(
                id=path.stem,
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=parts["speaker"],
                gender="female" if parts["sex"] == "F" else "male",
                language="ur",
            )

    def expected_ids(self) -> frozenset[str]:
        """The 400 published names."""
        return frozenset(SPEAKER_OF)
