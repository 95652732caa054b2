"""EMO-DB, the Berlin database of emotional speech, release 1 (1999): 535 utterances, 10 actors, German.

Five women and five men each speak ten everyday sentences in seven acted emotions; takes that listeners did not
recognise or find natural were removed by the authors, so the classes and sentences are uneven. 0.41 h, 16 kHz mono.
Every sentence is spoken by every actor: all speaker folds share the texts between training and test.

A file is `03a01Fa.wav`: speaker 03, sentence a01, emotion F, take a. (The archive called 2.0 has other files.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertbench.corpus import Archive, Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError
from sertbench.protocol_rules import RANDOM10, BlockFolds
from sertbench.protocols import GroupFolds

LABELS = {
    "W": "angry",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
WOMEN = ("08", "09", "13", "14", "16")
MEN = ("03", "10", "11", "12", "15")
AGES = {"03": 31, "08": 34, "09": 21, "10": 32, "11": 26, "12": 30, "13": 32, "14": 35, "15": 25, "16": 31}  # years
SHORT = ("a01", "a02", "a04", "a05", "a07")  # sentences
LONG = ("b01", "b02", "b03", "b09", "b10")
PAIRS = {f"{w}-{m}": (w, m) for w, m in zip(WOMEN, ("15", "03", "10", "11", "12"), strict=True)}
TEXTS = {f"{a}-{b}": (a, b) for a, b in zip(SHORT, LONG, strict=True)}
NAME = re.compile(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<code>[A-Z])(?P<take>[a-z])")

# Every published name: speaker, then for each sentence the emotion letter and the take of each file.
NAMES = """
    03 a01FaNcWa a02FcNcTaWbWc a04AdFdLcNcTaWc a05AaFcNdTcWaWb a07FaFbLaNcWc
       b01FaLbNbTdWaWc b02AaLaNaTbWb b03NbTcWc b09LaNcTcWa b10AbEcNaNcWbWc
    08 a01AbFdLcNaWaWc a02AbAcFeLaNaTbWc a04FfLaNcTbWc a05FeLcNbTaWa a07FdLaNaTaTbWc
       b01AaFdFeLbNaWa b02FfLaNbTcWd b03FeLcNbTcWd b09AbFdLcNbTbWaWc b10AaFdLaNcTcWa
    09 a01EaFaNbWb a02EaEbLaWb a04FdLaNbWa a05EdLcNbTbWbWc a07EbNaTaWbWd
       b01EaNaWb b02NaTbWcWd b03EdFaFdLbNbTaWb b09EaNdWa b10AaNdWa
    10 a01AcNbWa a02AbFaLbNaWa a04FdNbWaWb a05AaLdTbWb a07AaAdLaTaWb
       b01AaEaFaLb b02AaLaNaWb b03LaTbWb b09AdLbWb b10FcLcWa
    11 a01AaAbLdNdWc a02EcFbLdNcTcWc a04AcFdNdWc a05AdFbFcLcNaTdWd a07AcLdTaWc
       b01AbEbFcLbNcWd b02AbFdNaTdWb b03FcLcNbTdWaWb b09AdFdLdNaTdWa b10AdAeLdNcTdWa
    12 a01FbLbNbWc a02AcEcNbWaWc a04Wc a05AbLbNdTaWb a07AcLaWa
       b01TaWa b02AdEaFbNaWaWbWd b03LaTa b09AcTdWc b10AcLdWa
    13 a01AcEaEcFdLbNbWb a02AdEcFaLcNcTaWa a04AcFcLbTaWc a05AaEaLcNbTcWaWc a07FdLbNaTcWb
       b01AbEcFcLdNcWa b02FbLcNbWa b03AcEdFdLbNaTdWc b09AbEcFbFcLaNaWa b10EcFaLaNcWaWc
    14 a01AaAcEaNaWaWc a02AbEaFdLaNcTbWaWc a04AaEdLbTbTcWbWc a05AaAcFaFbLbNaTaTcWaWb a07AaEbFdLcLdNaTcWc
       b01AcEbFaFcNaWc b02AaFbNaTcWbWd b03AdEdLbTaWb b09AcEaFcLbTdWaWc b10AdEbLbNbTcWc
    15 a01EaFbLaNbWa a02AcEaLaNaTaWbWd a04AbAcFdNcWaWb a05EbFbLbNaWa a07AcEbFaFbLdNc
       b01EcLbNaWc b02AaLbNdTcWaWc b03AaLcNbTcWaWb b09AcFaLaNbTaWb b10AcLcNbNcWa
    16 a01EcFcLbNcTbWb a02EaEcLbNbTcWb a04AbEaFaLaLcNcTcWbWc a05AbEaFcLaTbWbWc a07EaFaFbLaLbNbTdWa
       b01AaEbFaLaLcTbWaWb b02AaEbFdLbWb b03AdEaFaFdLaNbTaWb b09AbEbFbLaLbWb b10AaEbFbLbTbTdWaWb
"""


class EmoDB(Corpus):
    """EMO-DB: 535 acted German utterances, 10 actors, 7 emotions."""

    citation = (
        "F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier, B. Weiss: A database of German emotional speech. "
        "Interspeech 2005, 1517-1520"
    )
    licence = "free for research (emodb.bilderbar.info); redistributed by audEERING (CC BY 4.0; its tables say CC0 1.0)"
    access = "Download http://emodb.bilderbar.info/download/download.zip and unpack it."
    language = "German"
    hours = 0.41
    archives = (
        Archive(  # audEERING's emodb 1.3.0: release 1 with tables beside the folder `wav`
            "https://zenodo.org/records/7447302/files/emodb.zip",
            "emodb.zip",
            "md5:9d21362dbc5676ef3ab4745d83ced0db",
            size=39_981_818,
            inside="emodb",
        ),
    )
    layout = "a folder `wav` with 535 files such as 03a01Fa.wav"
    labels = LABELS
    label_sets = (
        LabelSet(
            "7class",
            mapping={label: label for label in LABELS.values()},
            counts={"angry": 127, "boredom": 81, "disgust": 46, "fear": 69, "happy": 71, "sad": 62, "neutral": 79},
            speakers={
                "03": 49,
                "08": 58,
                "09": 43,
                "10": 38,
                "11": 55,
                "12": 35,
                "13": 61,
                "14": 69,
                "15": 56,
                "16": 71,
            },
            note="speaker 08 has no disgust, 03 and 10 one each",
        ),
        LabelSet(
            "4class",
            mapping={label: label for label in ("angry", "happy", "sad", "neutral")},
            counts={"angry": 127, "happy": 71, "sad": 62, "neutral": 79},
            speakers={
                "03": 39,
                "08": 42,
                "09": 30,
                "10": 21,
                "11": 35,
                "12": 22,
                "13": 36,
                "14": 41,
                "15": 34,
                "16": 39,
            },
            note="the classes of the common IEMOCAP task",
        ),
    )
    protocols = (
        GroupFolds(
            "speaker5",
            version=1,
            key="speaker",
            groups=PAIRS,
            summary="5 folds of one woman and one man; the next pair validates; every fold has all emotions",
        ),
        GroupFolds(
            "speaker10",
            version=1,
            key="speaker",
            groups={s: (s,) for pair in zip(WOMEN, MEN, strict=True) for s in pair},
            summary="10 folds of one speaker, women and men in turn; the next speaker validates",
        ),
        GroupFolds(
            "text5",
            version=1,
            key="text",
            groups=TEXTS,
            summary="speaker-dependent, never ranked: 5 folds of two sentences; the next two validate",
            keeps=(),
        ),
        BlockFolds(
            "speaker-text25",
            version=1,
            key="speaker",
            groups=PAIRS,
            texts=TEXTS,
            summary="25 folds of one woman and one man saying two sentences; no role shares a speaker or a sentence",
        ),
        RANDOM10,
    )

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            if not parts or parts["speaker"] not in WOMEN + MEN:
                raise CorpusError(f"{path} is not named like a file of EMO-DB. Expected: {self.layout}")
            yield Utterance(
                id=path.stem,
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=parts["speaker"],
                gender="female" if parts["speaker"] in WOMEN else "male",
                text=parts["text"],
                language="de",
            )

    def ages(self, root: Path) -> dict[str, int]:  # noqa: ARG002 - as emodb.bilderbar.info has them
        """Years of each speaker."""
        return AGES

    def expected_ids(self) -> frozenset[str]:
        """The 535 published names."""
        names, speaker = set(), ""
        for word in NAMES.split():
            if word.isdigit():
                speaker = word
            else:
                names |= {speaker + word[:3] + word[i : i + 2] for i in range(3, len(word), 2)}
        return frozenset(names)
