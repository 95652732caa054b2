"""CASIA, the Chinese emotional speech corpus, as it circulates: 1200 utterances, 4 speakers, Mandarin.

Two women and two men each speak 50 sentences in six acted emotions, every cell once: 300 files each. 0.64 h, 16 kHz.
The whole corpus has 9600 utterances (300 sentences said in all emotions and 100 written for each); most figures in
the literature are on these 1200. All speaker folds share the sentences.

A file is `liuchanhg/angry/201.wav`: speaker, emotion, sentence 201; or `201-angry-liuchanhg.wav` in flat copies.
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

LABELS = {label: label for label in ("angry", "fear", "happy", "neutral", "sad", "surprise")}
WOMEN = ("liuchanhg", "zhaoquanyin")
SPEAKERS = ("liuchanhg", "wangzhe", "zhaoquanyin", "zhaozuoxiang")
ALONE = {speaker: (speaker,) for speaker in SPEAKERS}
SENTENCES = tuple(str(n) for n in range(201, 251))
TEXTS = {f"{SENTENCES[k]}-{SENTENCES[k + 9]}": SENTENCES[k : k + 10] for k in range(0, 50, 10)}
NAME = re.compile(r"(?P<text>2\d\d)(?:-(?P<code>[a-z]+)-(?P<speaker>[a-z]+))?")


class Casia(Corpus):
    """CASIA: 1200 acted Mandarin utterances, 4 speakers, 6 emotions."""

    citation = (
        "J. Tao, F. Liu, M. Zhang, H. Jia: Design of speech corpus for Mandarin text to speech. Blizzard Challenge "
        "Workshop, 2008"
    )
    licence = "by agreement (Institute of Automation, Chinese Academy of Sciences); no redistribution"
    access = (
        "Ask the Chinese Linguistic Data Consortium, http://www.chineseldc.org, for the CASIA emotional speech corpus."
    )
    language = "Mandarin"
    release = "request"
    hours = 0.64
    layout = (
        "four folders of speakers, each with six folders of emotions with 50 files, such as liuchanhg/angry/201.wav"
    )
    labels = LABELS
    label_sets = (
        LabelSet(
            "6class",
            mapping=LABELS,
            counts=dict.fromkeys(LABELS, 200),
            speakers=dict.fromkeys(SPEAKERS, 300),
        ),
        LabelSet(
            "4class",
            mapping={label: label for label in ("angry", "happy", "neutral", "sad")},
            counts=dict.fromkeys(("angry", "happy", "neutral", "sad"), 200),
            speakers=dict.fromkeys(SPEAKERS, 200),
            note="the classes of the common IEMOCAP task",
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
            summary="speaker-dependent, never ranked: 5 folds of ten sentences; the next ten validate",
            keeps=(),
        ),
        BlockFolds(
            "speaker-text20",
            version=1,
            key="speaker",
            groups=ALONE,
            texts=TEXTS,
            summary="20 folds of one speaker saying ten sentences; no role shares a speaker or a sentence",
        ),
        RANDOM10,
    )
    channel = "mean"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; speaker and emotion are folders, or in the file name. Letters' case does not count."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem.lower())
            code = parts and (parts["code"] or path.parent.name.lower())
            speaker = parts and (parts["speaker"] or path.parent.parent.name.lower())
            if not parts or not code or speaker not in SPEAKERS or parts["text"] not in SENTENCES:
                raise CorpusError(f"{path} is not named like a file of CASIA. Expected: {self.layout}")
            yield Utterance(
                id=f"{parts['text']}-{code}-{speaker}",
                path=path,
                label=self.label_of(code, path),
                speaker=speaker,
                gender="female" if speaker in WOMEN else "male",
                text=parts["text"],
                language="zh",
            )

    def expected_ids(self) -> frozenset[str]:
        """The 1200 that circulate: 50 sentences x 6 emotions x 4 speakers."""
        return frozenset("-".join(cell) for cell in product(SENTENCES, LABELS, SPEAKERS))
