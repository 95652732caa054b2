"""JL-Corpus (2018): 2400 utterances, 4 speakers, New Zealand English.

Two women and two men each speak 15 sentences in five primary and five secondary acted emotions, in two sessions and
with two repetitions: 600 files each. 1.41 h, 44.1 kHz. The archive calls itself raw, unchecked and unannotated. All
speaker folds share the sentences.

A file is `male2_concerned_6b_1.wav`: speaker, emotion, sentence 6, session b, repetition 1. The text beside it
is not read.
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

PRIMARY = ("angry", "sad", "neutral", "happy", "excited")
SECONDARY = ("anxious", "apologetic", "assertive", "concerned", "encouraging")
LABELS = {label: label for label in PRIMARY + SECONDARY}
SPEAKERS = ("female1", "male1", "female2", "male2")
ALONE = {speaker: (speaker,) for speaker in SPEAKERS}
SENTENCES = tuple(str(n) for n in range(1, 16))
TEXTS = {f"{SENTENCES[k]}-{SENTENCES[k + 2]}": SENTENCES[k : k + 3] for k in range(0, 15, 3)}
NAME = re.compile(r"(?P<speaker>(?:fe)?male[12])_(?P<code>[a-z]+)_(?P<text>[1-9]|1[0-5])(?P<session>[ab])_[12]")


class JLCorpus(Corpus):
    """JL-Corpus: 2400 acted New Zealand English utterances, 4 speakers, 10 emotions."""

    citation = (
        "J. James, L. Tian, C. I. Watson: An Open Source Emotional Speech Corpus for Human Robot Interaction "
        "Applications. Interspeech 2018, 2768-2772"
    )
    licence = "open; see the page of the corpus (copies name CC0 1.0, others ODC-By)"
    access = "Download https://www.kaggle.com/datasets/tli725/jl-corpus and unpack it."
    language = "English"
    hours = 1.41
    layout = (
        "a folder `Raw JL corpus (unchecked and unannotated)/JL(wav+txt)` with 2400 files such as "
        "male2_concerned_6b_1.wav"
    )
    labels = LABELS
    label_sets = (
        LabelSet(
            "10class",
            mapping=LABELS,
            counts=dict.fromkeys(LABELS, 240),
            speakers=dict.fromkeys(SPEAKERS, 600),
        ),
        LabelSet(
            "5class",
            mapping={label: label for label in PRIMARY},
            counts=dict.fromkeys(PRIMARY, 240),
            speakers=dict.fromkeys(SPEAKERS, 300),
            note="the primary emotions",
        ),
        LabelSet(
            "4class",
            mapping={label: label for label in ("angry", "sad", "neutral", "happy")},
            counts=dict.fromkeys(("angry", "sad", "neutral", "happy"), 240),
            speakers=dict.fromkeys(SPEAKERS, 240),
            note="the classes of the common IEMOCAP task; excited is left out, not merged with happy",
        ),
    )
    protocols = (
        GroupFolds(
            "speaker4",
            version=1,
            key="speaker",
            groups=ALONE,
            summary="4 folds of one speaker, women and men in turn; the next speaker validates",
        ),
        GroupFolds(
            "text5",
            version=1,
            key="text",
            groups=TEXTS,
            summary="speaker-dependent, never ranked: 5 folds of three sentences; the next three validate",
            keeps=(),
        ),
        BlockFolds(
            "speaker-text20",
            version=1,
            key="speaker",
            groups=ALONE,
            texts=TEXTS,
            summary="20 folds of one speaker saying three sentences; no role shares a speaker or a sentence",
        ),
        RANDOM10,
    )
    channel = "mean"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            if not parts:
                raise CorpusError(f"{path} is not named like a file of JL-Corpus. Expected: {self.layout}")
            yield Utterance(
                id=path.stem,
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=parts["speaker"],
                gender="female" if parts["speaker"].startswith("f") else "male",
                session=parts["speaker"] + parts["session"],  # speakers were recorded one by one
                text=parts["text"],
                language="en",
            )

    def expected_ids(self) -> frozenset[str]:
        """The factorial design: 4 speakers x 10 emotions x 15 sentences x 2 sessions x 2 repetitions."""
        return frozenset(
            f"{speaker}_{code}_{text}{session}_{repetition}"
            for speaker, code, text, session, repetition in product(SPEAKERS, LABELS, SENTENCES, "ab", "12")
        )
