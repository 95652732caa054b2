"""nEMO (2024): 4481 utterances, 9 actors, Polish.

Four women and five men, 23 to 28 years old, each speak 90 sentences, chosen for the sounds of Polish, in six acted
emotions. 3.07 h, 24 kHz mono, no recording twice. Five cells of 4860 were not published; besides, MK0 has no surprise
and MP0 a third of his emotional utterances (256 files in all). All speaker folds share the sentences.

A file is `samples/WR0_surprised_64.wav`: speaker WR0, emotion, sentence 64; what is said stands in `data.tsv`. The copy
on Hugging Face has the same recordings in parquet files, which are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from sertbench.corpus import Archive, Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError
from sertbench.protocol_rules import RANDOM10, BlockFolds
from sertbench.protocols import GroupFolds

LABELS = {
    "anger": "angry",
    "fear": "fear",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
}
WOMEN = ("EB0", "IC0", "KD0", "MK0")
MEN = ("KS0", "SM0", "TP0", "MP0", "WR0")
SPEAKERS = WOMEN + MEN
GROUPS = {
    "EB0-KS0": ("EB0", "KS0"),
    "IC0-SM0": ("IC0", "SM0"),
    "KD0-TP0": ("KD0", "TP0"),
    "rest": ("MK0", "MP0", "WR0"),
}
SENTENCES = tuple(str(n) for n in range(1, 91))
TEXTS = {f"{SENTENCES[k]}-{SENTENCES[k + 17]}": SENTENCES[k : k + 18] for k in range(0, 90, 18)}
UNPUBLISHED = {"EB0_surprised_40", "SM0_fear_18", "SM0_happiness_31", "TP0_surprised_75", "WR0_neutral_11"}
PARTLY = {  # the sentences that there are
    "MK0_surprised": "",
    "MP0_anger": "2 4 5 6 8 9 10 14 17 18 24 27 32 36 40 41 42 44 46 54 55 56 65 68 69 70 71 73 85",
    "MP0_fear": "1 2 3 4 5 8 12 14 21 23 28 30 33 35 41 47 61",
    "MP0_happiness": "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 37 40 47 52 55 58 61 67 77",
    "MP0_sadness": """
        1 2 5 6 7 8 9 10 11 12 14 15 16 19 20 22 23 42 43 45 46 48 49 50 51 52 53 56 57 60 62 63 64 66 68 69 70 71 72 75
        77 78 79 83 84 86 87 88 89
    """,
    "MP0_surprised": """
        8 12 14 16 17 18 21 23 24 25 27 28 29 30 32 33 34 35 37 39 40 41 44 48 52 53 54 64 66 67 68 69 70 72 73 74 80 84
        85 87 90
    """,
}
NAME = re.compile(rf"(?P<speaker>{'|'.join(SPEAKERS)})_(?P<code>[a-z]+)_(?P<text>[1-9]\d?)")


class Nemo(Corpus):
    """nEMO: 4481 acted Polish utterances, 9 actors, 6 emotions."""

    citation = "I. Christop: nEMO: Dataset of Emotional Speech in Polish. LREC-COLING 2024, 12111-12116"
    licence = "CC BY-NC-SA 4.0"
    access = "Type `git clone https://github.com/amu-cai/nEMO.git`."
    language = "Polish"
    archives = (
        Archive(
            "https://codeload.github.com/amu-cai/nEMO/tar.gz/66de9999a8f2f605eb5f64841790aa5cb0877782",
            "nEMO.tar.gz",
            "git:189389afd08dcd9a5b83a16d8408d7ecff1f87c8",
            size=531_778_143,
            inside="nEMO-66de9999a8f2f605eb5f64841790aa5cb0877782",
        ),
    )
    hours = 3.07
    layout = "a folder `samples` with 4481 files such as WR0_surprised_64.wav, and data.tsv (what is said)"
    labels = LABELS
    label_sets = (
        LabelSet(
            "6class",
            mapping={label: label for label in LABELS.values()},
            counts={"angry": 749, "fear": 736, "happy": 749, "neutral": 809, "sad": 769, "surprise": 669},
            speakers=dict(zip(SPEAKERS, (539, 540, 540, 450, 540, 538, 539, 256, 539), strict=True)),
            note="speaker MK0 has no surprise",
        ),
        LabelSet(
            "4class",
            mapping={label: label for label in ("angry", "happy", "neutral", "sad")},
            counts={"angry": 749, "happy": 749, "neutral": 809, "sad": 769},
            speakers=dict(zip(SPEAKERS, (360, 360, 360, 360, 360, 359, 360, 198, 359), strict=True)),
            note="the classes of the common IEMOCAP task",
        ),
    )
    protocols = (
        GroupFolds(
            "speaker4",
            version=1,
            key="speaker",
            groups=GROUPS,
            summary="4 folds of one woman and one man, the last with both incomplete speakers; the next fold validates",
        ),
        GroupFolds(
            "text5",
            version=1,
            key="text",
            groups=TEXTS,
            summary="speaker-dependent, never ranked: 5 folds of 18 sentences; the next 18 validate",
            keeps=(),
        ),
        BlockFolds(
            "speaker-text20",
            version=1,
            key="speaker",
            groups=GROUPS,
            texts=TEXTS,
            summary="20 folds of two or three speakers saying 18 sentences; no role shares a speaker or a sentence",
        ),
        RANDOM10,
    )

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything but the words is in the file name."""
        said = transcripts(root)
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            if not parts or parts["text"] not in SENTENCES:
                raise CorpusError(f"{path} is not named like a file of nEMO. Expected: {self.layout}")
            yield Utterance(
                id=path.stem,
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=parts["speaker"],
                gender="female" if parts["speaker"] in WOMEN else "male",
                text=parts["text"],
                transcript=said.get(path.name),
                language="pl",
            )

    def expected_ids(self) -> frozenset[str]:
        """The 4481 published names: 9 speakers x 6 emotions x 90 sentences, without what was not published."""
        names = set()
        for speaker, code in product(SPEAKERS, LABELS):
            cell = f"{speaker}_{code}"
            names |= {f"{cell}_{text}" for text in (PARTLY[cell].split() if cell in PARTLY else SENTENCES)}
        return frozenset(names - UNPUBLISHED)


def transcripts(root: Path) -> dict[str, str]:
    """What is said in each file, where a data.tsv is there: the columns file_id, emotion, raw_text and others."""
    tables = sorted(path for path in root.rglob("data.tsv"))
    lines = tables[0].read_text(encoding="utf-8").splitlines() if tables else []
    cells = (line.split("\t") for line in lines)
    return {row[0]: row[2] for row in cells if len(row) > 2}
