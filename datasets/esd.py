"""ESD, the emotional speech dataset (2021): 35,000 utterances, 20 speakers, Mandarin and English.

Ten native speakers of each language read 350 sentences of their language in four acted emotions and neutral, every
cell once: 1750 files each. 29.07 h, 16 kHz. It was made for voice conversion. All speaker folds share the sentences.
The two languages share nothing but the emotions: take a subset, `mandarin` or `english`; a score on all utterances is
about both.

A file is `0011/Angry/0011_000351.wav`: speaker 0011 (0001 to 0010 speak Mandarin), and a number that tells emotion and
sentence: 1 to 350 neutral, 351 to 700 angry, and so on. Some copies have folders `train`, `evaluation` and `test` in
that of the emotion: a split by sentences, in which all speakers are in all parts. The transcripts, such as 0011.txt,
are in several encodings and partly wrong, and are not read: the number tells which sentences are the same.
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

LABELS = {"Neutral": "neutral", "Angry": "angry", "Happy": "happy", "Sad": "sad", "Surprise": "surprise"}  # by number
SENTENCES = 350
MANDARIN = tuple(f"{n:04d}" for n in range(1, 11))
ENGLISH = tuple(f"{n:04d}" for n in range(11, 21))
WOMEN = ("0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019")
MEN = ("0004", "0005", "0006", "0008", "0010", "0011", "0012", "0013", "0014", "0020")
FOURS = {str(k + 1): (WOMEN[k], MEN[k], WOMEN[k + 5], MEN[k + 5]) for k in range(5)}  # a pair of each language
TEXTS = {
    f"{first}-{first + 69}": tuple(f"{code}-{n:03d}" for code in ("zh", "en") for n in range(first, first + 70))
    for first in range(1, SENTENCES, 70)
}
NAME = re.compile(r"(?P<speaker>\d{4})_(?P<number>\d{6})")


class Esd(Corpus):
    """ESD: 35,000 acted utterances, 10 speakers of Mandarin and 10 of English, 5 emotions."""

    citation = (
        "K. Zhou, B. Sisman, R. Liu, H. Li: Emotional voice conversion: Theory, databases and ESD. "
        "Speech Communication 137, 1-18, 2022"
    )
    licence = "signed licence (sent to the authors, National University of Singapore); research only"
    access = (
        "Sign the licence of https://github.com/HLTSingapore/Emotional-Speech-Data, download the archive that the page "
        "links to and unpack it."
    )
    language = "Mandarin, English"
    release = "form"
    hours = 29.07
    layout = "20 folders 0001 to 0020, each with five folders of 350 files, such as 0011/Angry/0011_000351.wav"
    labels = LABELS
    label_sets = (
        LabelSet(
            "5class",
            mapping={label: label for label in LABELS.values()},
            counts=dict.fromkeys(LABELS.values(), 7000),
            speakers=dict.fromkeys(MANDARIN + ENGLISH, 1750),
            subset_counts={language: dict.fromkeys(LABELS.values(), 3500) for language in ("english", "mandarin")},
        ),
        LabelSet(
            "4class",
            mapping={label: label for label in ("neutral", "angry", "happy", "sad")},
            counts=dict.fromkeys(("neutral", "angry", "happy", "sad"), 7000),
            speakers=dict.fromkeys(MANDARIN + ENGLISH, 1400),
            subset_counts={
                language: dict.fromkeys(("neutral", "angry", "happy", "sad"), 3500)
                for language in ("english", "mandarin")
            },
            note="the classes of the common IEMOCAP task",
        ),
    )
    protocols = (
        GroupFolds(
            "speaker5",
            version=1,
            key="speaker",
            groups=FOURS,
            summary="5 folds of one woman and one man of each language; the next fold's speakers validate",
        ),
        GroupFolds(
            "text5",
            version=1,
            key="text",
            groups=TEXTS,
            summary="speaker-dependent, never ranked: 5 folds of 70 sentences; the next 70 validate",
            keeps=(),
        ),
        BlockFolds(
            "speaker-text25",
            version=1,
            key="speaker",
            groups=FOURS,
            texts=TEXTS,
            summary="25 folds of a woman and a man saying 70 sentences; no role shares a speaker or a sentence",
        ),
        RANDOM10,
    )
    subsets = ("english", "mandarin")

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; the number tells everything, and a folder that is named after an emotion must agree."""
        codes = tuple(LABELS)
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            speaker, number = (parts["speaker"], int(parts["number"])) if parts else ("", 0)
            if speaker not in MANDARIN + ENGLISH or not 1 <= number <= SENTENCES * len(LABELS):
                raise CorpusError(f"{path} is not named like a file of ESD. Expected: {self.layout}")
            emotion, sentence = divmod(number - 1, SENTENCES)
            if any(folder in LABELS and folder != codes[emotion] for folder in path.relative_to(root).parts[:-1]):
                raise CorpusError(f"{path} is in another emotion's folder: number {number} is {codes[emotion]}")
            mandarin = speaker in MANDARIN
            yield Utterance(
                id=path.stem,
                path=path,
                label=self.label_of(codes[emotion], path),
                speaker=speaker,
                gender="female" if speaker in WOMEN else "male",
                text=f"{'zh' if mandarin else 'en'}-{sentence + 1:03d}",
                style="mandarin" if mandarin else "english",
                language="zh" if mandarin else "en",
            )

    def expected_ids(self) -> frozenset[str]:
        """20 speakers x 5 emotions x 350 sentences."""
        numbers = range(1, SENTENCES * len(LABELS) + 1)
        return frozenset(f"{speaker}_{number:06d}" for speaker, number in product(MANDARIN + ENGLISH, numbers))
