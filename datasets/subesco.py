"""SUBESCO, the SUST Bangla emotional speech corpus (2021): 7000 utterances, 20 actors, Bangla.

Ten women and ten men each speak ten sentences in seven acted emotions, five takes of every cell: 350 files each.
7.83 h; 4555 files have 44.1 kHz and 2445 have 48 kHz: most actors have one rate alone, four have both. All speaker
folds share the sentences.

A file is `F_10_FAHMEE_S_6_FEAR_5.wav`: woman 10, called Fahmee, sentence 6, emotion, take 5. One name of the archive
has a stray bracket, F_02_MONIKA_S_2_SURPRISE_3].wav; the ids here are without it.
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
    "ANGRY": "angry",
    "DISGUST": "disgust",
    "FEAR": "fear",
    "HAPPY": "happy",
    "NEUTRAL": "neutral",
    "SAD": "sad",
    "SURPRISE": "surprise",
}
WOMEN = ("OISHI", "MONIKA", "SMITA", "SWARNALI", "MOUNI", "SIMI", "TITHI", "JOYEETA", "CHAITY", "FAHMEE")
MEN = ("BASHIR", "NIPUN", "ILIAS", "BIBHAS", "DURANTO", "SHUKANTO", "SIBLY", "PRASUN", "SHUMANTA", "EVAN")
SPEAKERS = tuple(
    f"{sex}_{n:02d}_{name}" for sex, names in (("F", WOMEN), ("M", MEN)) for n, name in enumerate(names, 1)
)
FOURS = {f"{k + 1:02d}-{k + 6:02d}": SPEAKERS[k::5] for k in range(5)}  # both sample rates in each
SENTENCES = tuple(str(n) for n in range(1, 11))
TEXTS = {f"{SENTENCES[k]}-{SENTENCES[k + 1]}": SENTENCES[k : k + 2] for k in range(0, 10, 2)}
NAME = re.compile(r"(?P<id>(?P<speaker>[FM]_\d\d_[A-Z]+)_S_(?P<text>[1-9]|10)_(?P<code>[A-Z]+)_[1-5])\]?")


class Subesco(Corpus):
    """SUBESCO: 7000 acted Bangla utterances, 20 actors, 7 emotions."""

    citation = (
        "S. Sultana, M. S. Rahman, M. R. Selim, M. Z. Iqbal: SUST Bangla Emotional Speech Corpus (SUBESCO): An "
        "audio-only emotional speech corpus for Bangla. PLoS ONE 16(4): e0250173, 2021"
    )
    licence = "CC BY 4.0"
    access = "Download SUBESCO.zip from https://zenodo.org/records/4526477 and unpack it."
    language = "Bangla"
    hours = 7.83
    archives = (
        Archive(
            "https://zenodo.org/records/4526477/files/SUBESCO.zip",
            "SUBESCO.zip",
            "md5:13d702cf944bf54d70d66bffc036ed7a",
            size=1_664_512_929,
        ),
    )
    layout = "7000 files such as F_10_FAHMEE_S_6_FEAR_5.wav"
    labels = LABELS
    label_sets = (
        LabelSet(
            "7class",
            mapping={label: label for label in LABELS.values()},
            counts=dict.fromkeys(LABELS.values(), 1000),
            speakers=dict.fromkeys(SPEAKERS, 350),
        ),
        LabelSet(
            "4class",
            mapping={label: label for label in ("angry", "happy", "sad", "neutral")},
            counts=dict.fromkeys(("angry", "happy", "sad", "neutral"), 1000),
            speakers=dict.fromkeys(SPEAKERS, 200),
            note="the classes of the common IEMOCAP task",
        ),
    )
    protocols = (
        GroupFolds(
            "speaker5",
            version=1,
            key="speaker",
            groups=FOURS,
            summary="5 folds of two women and two men; the next four validate",
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
            groups=FOURS,
            texts=TEXTS,
            summary="25 folds of four speakers saying two sentences; no role shares a speaker or a sentence",
        ),
        RANDOM10,
    )
    channel = "mean"

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield all utterances; everything is in the file name."""
        for path in wav_files(root):
            parts = NAME.fullmatch(path.stem)
            if not parts or parts["speaker"] not in SPEAKERS:
                raise CorpusError(f"{path} is not named like a file of SUBESCO. Expected: {self.layout}")
            yield Utterance(
                id=parts["id"],
                path=path,
                label=self.label_of(parts["code"], path),
                speaker=parts["speaker"],
                gender="female" if parts["speaker"].startswith("F") else "male",
                text=parts["text"],
                language="bn",
            )

    def expected_ids(self) -> frozenset[str]:
        """The factorial design: 20 speakers x 10 sentences x 7 emotions x 5 takes."""
        return frozenset(
            f"{speaker}_S_{text}_{code}_{take}"
            for speaker, text, code, take in product(SPEAKERS, SENTENCES, LABELS, range(1, 6))
        )
