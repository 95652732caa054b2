"""EMOVO (2014): 588 utterances, 6 actors, Italian.

Three women and three men each speak 14 sentences in seven acted emotions, every cell once. 0.51 h, 48 kHz, two
channels. Five of the sentences are grammatical nonsense. All speaker folds share the sentences.

A file is `f2/gio-f2-b2.wav`: emotion gio, actress 2, sentence b2.
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

LABELS = {
    "neu": "neutral",
    "dis": "disgust",
    "gio": "happy",
    "pau": "fear",
    "rab": "angry",
    "sor": "surprise",
    "tri": "sad",
}
SPEAKERS = ("f1", "m1", "f2", "m2", "f3", "m3")
ALONE = {speaker: (speaker,) for speaker in SPEAKERS}
TEXTS = {  # each with a short or a long sentence and one of nonsense, the last with the questions
    "b1-n1": ("b1", "l1", "n1"),
    "b2-n2": ("b2", "l2", "n2"),
    "b3-n3": ("b3", "l3", "n3"),
    "l4-n4": ("l4", "n4"),
    "d1-n5": ("d1", "d2", "n5"),
}
NAME = re.compile(r"(?P<code>[a-z]{3})-(?P<speaker>[fm][123])-(?P<text>b[123]|l[1234]|n[12345]|d[12])")


class Emovo(Corpus):
    """EMOVO: 588 acted Italian utterances, 6 actors, 7 emotions."""

    citation = (
        "G. Costantini, I. Iaderola, A. Paoloni, M. Todisco: EMOVO Corpus: an Italian Emotional Speech Database. "
        "LREC 2014, 3501-3504"
    )
    licence = "CC BY-NC-SA 4.0"
    access = "Download EMOVO from http://voice.fub.it (often out of reach; the authors share a copy) and unpack it."
    language = "Italian"
    hours = 0.51
    layout = "six folders f1 to f3 and m1 to m3 with 98 files each, such as f2/gio-f2-b2.wav"
    labels = LABELS
    label_sets = (
        LabelSet(
            "7class",
            mapping={label: label for label in LABELS.values()},
            counts=dict.fromkeys(LABELS.values(), 84),
            speakers=dict.fromkeys(SPEAKERS, 98),
        ),
        LabelSet(
            "4class",
            mapping={label: label for label in ("neutral", "happy", "angry", "sad")},
            counts=dict.fromkeys(("neutral", "happy", "angry", "sad"), 84),
            speakers=dict.fromkeys(SPEAKERS, 56),
            note="the classes of the common IEMOCAP task",
        ),
    )
    protocols = (
        GroupFolds(
            "speaker6",
            version=1,
            key="speaker",
            groups=ALONE,
            summary="6 folds of one speaker, women and men in turn; the next speaker validates",
        ),
        GroupFolds(
            "text5",
            version=1,
            key="text",
            groups=TEXTS,
            summary="speaker-dependent, never ranked: 5 folds of two or three sentences; the next ones validate",
            keeps=(),
        ),
        BlockFolds(
            "speaker-text30",
            version=1,
            key="speaker",
            groups=ALONE,
            texts=TEXTS,
            summary="30 folds of one speaker saying two or three sentences; no role shares a speaker or a sentence",
        ),
        RANDOM10,
    )
    channel = "left"  # the channels are two microphones at two places: their mean would be a comb filter

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            if not parts:
                raise CorpusError(f"{path} is not named like a file of EMOVO. Expected: {self.layout}")
            yield Utterance(
                id=path.stem,
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=parts["speaker"],
                gender="female" if parts["speaker"].startswith("f") else "male",
                text=parts["text"],
                language="it",
            )

    def expected_ids(self) -> frozenset[str]:
        """The factorial design: 7 emotions x 6 speakers x 14 sentences."""
        texts = [text for group in TEXTS.values() for text in group]
        return frozenset("-".join(cell) for cell in product(LABELS, SPEAKERS, texts))
