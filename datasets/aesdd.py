"""AESDD, the acted emotional speech dynamic database (2018 and later): 604 utterances, 6 actors, Greek.

Each actor speaks 19 sentences in five acted emotions (no neutral), and one more of his own for each emotion, about 20
files for each; some sentences have two takes. 0.69 h, 44.1 kHz. The first version had three women and two men, a sixth
actor was added; who is who is not told. All speaker folds share the sentences.

A file is `anger/a03 (3).wav`: emotion a, sentence 03, speaker 3. Speaker 1 is `(01)` in some names, a second take is
`a06 (5)b.wav`; the ids here are without the 0 and the space before a take. `s05 (3).wav` of the archive cannot be
decoded and is passed over, whether it is there or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from sertbench.corpus import Corpus, LabelSet, Utterance, wav_files
from sertbench.errors import CorpusError
from sertbench.protocol_rules import RANDOM10, BlockFolds
from sertbench.protocols import GroupFolds

LABELS = {"a": "angry", "d": "disgust", "f": "fear", "h": "happy", "s": "sad"}
SPEAKERS = ("1", "2", "3", "4", "5", "6")
ALONE = {speaker: (speaker,) for speaker in SPEAKERS}
SENTENCES = tuple(f"{n:02d}" for n in range(1, 21))
TEXTS = {f"{SENTENCES[k]}-{SENTENCES[k + 3]}": SENTENCES[k : k + 4] for k in range(0, 20, 4)}
UNREADABLE = "s05 (3)"
UNPUBLISHED = {"d18 (5)", "f02 (4)", "h11 (3)", "s01 (5)"}
TAKES = {
    "a06 (5)b",
    "d01 (5)b",
    "d03 (5)b",
    "d04 (5)b",
    "f18 (5)b",
    "s01 (5)a",
    "s01 (5)b",
    "s02 (5)b",
    "s04 (5)b",
}
NAME = re.compile(r"(?P<code>[a-z])(?P<text>\d\d) \(0?(?P<speaker>[1-6])\) ?(?P<take>[a-z]?)")


class Aesdd(Corpus):
    """AESDD: 604 acted Greek utterances, 6 actors, 5 emotions."""

    citation = (
        "N. Vryzas, R. Kotsakis, A. Liatsou, C. A. Dimoulas, G. Kalliris: Speech Emotion Recognition for Performance "
        "Interaction. Journal of the Audio Engineering Society 66(6), 457-467, 2018"
    )
    licence = "see the page of the publisher; copies elsewhere say CC BY 4.0"
    access = "Download it from http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/ and unpack it."
    language = "Greek"
    hours = 0.69
    layout = "folders anger, disgust, fear, happiness and sadness with files such as anger/a03 (3).wav"
    labels = LABELS
    label_sets = (
        LabelSet(
            "5class",
            mapping={label: label for label in LABELS.values()},
            counts={"angry": 121, "disgust": 122, "fear": 120, "happy": 119, "sad": 122},
            speakers={"1": 100, "2": 100, "3": 98, "4": 99, "5": 107, "6": 100},
            note="no neutral; without s05 (3).wav, which cannot be decoded",
        ),
    )
    protocols = (
        GroupFolds(
            "speaker6",
            version=1,
            key="speaker",
            groups=ALONE,
            summary="6 folds of one speaker; the next speaker validates",
        ),
        GroupFolds(
            "text5",
            version=1,
            key="text",
            groups=TEXTS,
            summary="speaker-dependent, never ranked: 5 folds of four sentences; the next four validate",
            keeps=(),
        ),
        BlockFolds(
            "speaker-text30",
            version=1,
            key="speaker",
            groups=ALONE,
            texts=TEXTS,
            summary="30 folds of one speaker saying four sentences; no role shares a speaker or a sentence",
        ),
        RANDOM10,
    )
    channel = "mean"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances but the one that cannot be decoded; everything is in the file name."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            if not parts:
                raise CorpusError(f"{path} is not named like a file of AESDD. Expected: {self.layout}")
            name = f"{parts['code']}{parts['text']} ({parts['speaker']}){parts['take']}"
            if name == UNREADABLE:
                continue
            yield Utterance(
                id=name,
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=parts["speaker"],
                text=parts["text"],
                language="el",
            )

    def expected_ids(self) -> frozenset[str]:
        """The 604 published names that can be decoded: the design, with what was not published and the second takes."""
        design = {f"{code}{text} ({speaker})" for code, text, speaker in product(LABELS, SENTENCES, SPEAKERS)}
        return frozenset((design - UNPUBLISHED - {UNREADABLE}) | TAKES)
